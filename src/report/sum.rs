//! A sum of f64 values without rounding error, which depends neither on the order nor on the
//! grouping of its terms.
//!
//! The method is Kulisch's long accumulator: a fixed-point number as wide as the range of f64.
//!
//! 1. A term is an integer of 53 bits times a power of two. It is added to the three digits of 32
//!    bits that it overlaps.
//! 2. A digit is kept in an i64, so that 2^31 terms fit before its carry must be passed on.
//! 3. Terms of similar size all lie in a window of a few digits. The full number is allocated only
//!    for terms outside it.
//! 4. Reading the sum passes the carries on and rounds the leading bits once, to nearest.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Bits of a digit.
const DIGIT: u32 = 32;
/// Digits of the full number: the span of f64, 2^-1074 to 2^1024, and room for 2^64 terms above.
const DIGITS: usize = 68;
/// Terms after which carries are passed on. Two sums with fewer may be added.
const MOST_PENDING: u32 = 1 << 29;
/// The exponent of the lowest digit's unit, 2^-1074.
const LOWEST: i32 = -1074;

/// Digits of the window. They hold terms whose sizes are within 2^160 of each other.
const WINDOW: usize = 8;
/// Digits of the window below the three of its first term: the middle, plus one because later
/// terms are smaller more often than larger.
const MIDDLE: usize = (WINDOW - 3) / 2 + 1;

/// The exact sum of f64 values.
#[derive(Clone, Default)]
pub struct ExactSum {
    window: [i64; WINDOW],
    /// The index of the window's first digit in the full number; set by its first term.
    base: u8,
    /// The full number without the window.
    all: Option<Box<Digits>>,
    /// Terms added since carries were last passed on.
    pending: u32,
    not_finite: NotFinite,
}

/// The terms that are not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct NotFinite {
    nan: bool,
    infinity: bool,
    negative_infinity: bool,
}

impl NotFinite {
    fn add(&mut self, term: f64) {
        self.nan |= term.is_nan();
        self.infinity |= term == f64::INFINITY;
        self.negative_infinity |= term == f64::NEG_INFINITY;
    }

    fn merge(&mut self, other: Self) {
        self.nan |= other.nan;
        self.infinity |= other.infinity;
        self.negative_infinity |= other.negative_infinity;
    }

    fn bits(self) -> u8 {
        let of = |flag: bool, bit: u8| u8::from(flag) << bit;
        of(self.nan, 0) | of(self.infinity, 1) | of(self.negative_infinity, 2)
    }

    /// Returns the sum of these terms, or `None` if there are none.
    fn value(self) -> Option<f64> {
        match (self.nan, self.infinity, self.negative_infinity) {
            (false, false, false) => None,
            (false, true, false) => Some(f64::INFINITY),
            (false, false, true) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }
}

/// The digits of the full number, the lowest first.
type Digits = [i64; DIGITS];

/// The terms that are not finite as bits, the place of the lowest digit that is not 0, and the
/// digits from there on. Without pending carries they are unique.
impl Serialize for ExactSum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = self.digits();
        carry(&mut digits);
        let first = digits.iter().position(|digit| *digit != 0);
        let first = first.unwrap_or(DIGITS);
        let end = digits.iter().rposition(|digit| *digit != 0);
        let end = end.map_or(first, |last| last + 1);
        let head = [i64::from(self.not_finite.bits()), first as i64];
        serializer.collect_seq(head.iter().chain(&digits[first..end]))
    }
}

impl<'de> Deserialize<'de> for ExactSum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let numbers = Vec::<i64>::deserialize(deserializer)?;
        let sum = match numbers.as_slice() {
            [bits, first, digits @ ..] => Self::of_digits(*bits, *first, digits),
            _ => None,
        };
        sum.ok_or_else(|| D::Error::custom("it is no exact sum"))
    }
}

impl std::fmt::Debug for ExactSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:e}", self.value())
    }
}

impl ExactSum {
    /// Adds a term.
    pub fn add(&mut self, term: f64) {
        if !term.is_finite() {
            self.not_finite.add(term);
            return;
        }
        let bits = term.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as u32;
        let fraction = bits & ((1 << 52) - 1);
        // Subnormals have the exponent of the smallest normal numbers, but no leading bit.
        let (significand, shift) = if exponent == 0 {
            (fraction, 0)
        } else {
            (fraction | 1 << 52, exponent - 1)
        };
        let (digit, offset) = ((shift / DIGIT) as usize, shift % DIGIT);
        let wide = u128::from(significand) << offset;
        let place = |base: u8| {
            digit
                .checked_sub(usize::from(base))
                .filter(|it| it + 3 <= WINDOW)
        };
        if place(self.base).is_none() {
            self.move_to(digit.saturating_sub(MIDDLE));
        }
        let places = match place(self.base) {
            Some(place) => &mut self.window[place..place + 3],
            None => &mut self.all.get_or_insert_with(zeros)[digit..digit + 3],
        };
        for (i, digit) in places.iter_mut().enumerate() {
            let part = (wide >> (DIGIT * i as u32)) as i64 & 0xffff_ffff;
            *digit += if term < 0.0 { -part } else { part };
        }
        self.pending += 1;
        if self.pending >= MOST_PENDING {
            self.carry();
        }
    }

    /// Returns the sum with these digits from `first` on.
    fn of_digits(bits: i64, first: i64, digits: &[i64]) -> Option<Self> {
        let first = usize::try_from(first).ok()?;
        let is_set = |bit: u32| bits >> bit & 1 == 1;
        let mut sum = Self {
            not_finite: NotFinite {
                nan: is_set(0),
                infinity: is_set(1),
                negative_infinity: is_set(2),
            },
            ..Self::default()
        };
        if digits.len() <= WINDOW && first <= DIGITS {
            let base = first.min(DIGITS - WINDOW);
            let places = sum.window.get_mut(first - base..)?;
            places.get_mut(..digits.len())?.copy_from_slice(digits);
            sum.base = base as u8;
        } else {
            let places = sum.all.insert(zeros()).get_mut(first..)?;
            places.get_mut(..digits.len())?.copy_from_slice(digits);
        }
        Some(sum)
    }

    /// Adds another sum, exactly.
    pub fn merge(&mut self, other: &Self) {
        self.move_to(usize::from(other.base));
        if self.pending + other.pending >= MOST_PENDING {
            self.carry();
            let mut other = other.clone();
            other.carry();
            return self.add_digits(&other);
        }
        self.add_digits(other);
    }

    fn add_digits(&mut self, other: &Self) {
        let places = if self.base == other.base {
            &mut self.window[..]
        } else {
            &mut self.all.get_or_insert_with(zeros)[usize::from(other.base)..]
        };
        for (digit, other) in places.iter_mut().zip(other.window) {
            *digit += other;
        }
        if let Some(others) = &other.all {
            let all = self.all.get_or_insert_with(zeros);
            for (digit, other) in all.iter_mut().zip(others.iter()) {
                *digit += other;
            }
        }
        // A digit after its carry counts as one term.
        self.pending += other.pending + 1;
        self.not_finite.merge(other.not_finite);
    }

    /// Returns the sum, rounded to nearest. NaN and infinities count as in f64.
    pub fn value(&self) -> f64 {
        if let Some(value) = self.not_finite.value() {
            return value;
        }
        let base = usize::from(self.base);
        let mut digits = self.digits();
        // Carries reach two digits beyond the window.
        let (first, end) = match self.all {
            Some(_) => (0, DIGITS),
            None => (base, DIGITS.min(base + WINDOW + 2)),
        };
        let digits = &mut digits[first..end];
        carry(digits);
        let negative = digits.last().is_some_and(|&highest| highest < 0);
        if negative {
            digits.iter_mut().for_each(|digit| *digit = -*digit);
            carry(digits);
        }
        let Some(top) = digits.iter().rposition(|&digit| digit != 0) else {
            return 0.0;
        };
        let bottom = top.saturating_sub(2);
        let head = digits[bottom..=top]
            .iter()
            .rev()
            .fold(0u128, |head, &d| head << DIGIT | d as u128);
        // The digits below only decide ties: one sticky bit.
        let sticky = u128::from(digits[..bottom].iter().any(|&digit| digit != 0));
        let magnitude = scale(
            (head << 1 | sticky) as f64,
            (first + bottom) as i32 * DIGIT as i32 + LOWEST - 1,
        );
        if negative { -magnitude } else { magnitude }
    }

    /// Moves the window to the digit `base` if it is empty.
    fn move_to(&mut self, base: usize) {
        if self.window == [0; WINDOW] {
            self.base = base.min(DIGITS - WINDOW) as u8;
        }
    }

    /// Returns all digits, with carries pending.
    fn digits(&self) -> Digits {
        let mut digits = self.all.as_deref().copied().unwrap_or([0; DIGITS]);
        let places = digits[usize::from(self.base)..].iter_mut();
        places
            .zip(self.window)
            .for_each(|(digit, other)| *digit += other);
        digits
    }

    /// Passes all carries on, which empties the window.
    fn carry(&mut self) {
        let mut digits = self.digits();
        carry(&mut digits);
        self.window = [0; WINDOW];
        self.all = Some(Box::new(digits));
        self.pending = 0;
    }
}

fn zeros() -> Box<Digits> {
    Box::new([0; DIGITS])
}

/// Passes carries on: afterwards every digit but the highest is in 0..2^32.
fn carry(digits: &mut [i64]) {
    let Some((highest, digits)) = digits.split_last_mut() else {
        return;
    };
    let mut carry = 0;
    for digit in digits {
        let value = *digit + carry;
        *digit = value & 0xffff_ffff;
        carry = value >> DIGIT;
    }
    *highest += carry;
}

impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        // Without pending carries the digits are unique.
        let [a, b] = [self, other].map(|sum| {
            let mut digits = sum.digits();
            carry(&mut digits);
            digits
        });
        a == b && self.not_finite == other.not_finite
    }
}

/// Returns value·2^exponent, in steps that do not overflow.
fn scale(mut value: f64, mut exponent: i32) -> f64 {
    while exponent != 0 {
        let step = exponent.clamp(-1000, 1000);
        value *= 2f64.powi(step);
        exponent -= step;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(terms: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        terms.iter().for_each(|&term| sum.add(term));
        sum
    }

    #[test]
    fn a_single_term_is_its_own_sum() {
        for term in [
            0.0,
            1.0,
            -1.0,
            0.1,
            -1e300,
            1e-300,
            5e-324,
            f64::MAX,
            f64::MIN_POSITIVE,
            -3.7e-310,
        ] {
            assert_eq!(sum(&[term]).value(), term);
        }
    }

    #[test]
    fn cancellation_loses_no_bit() {
        assert_eq!(sum(&[1e100, 1.0, -1e100, 1e-100]).value(), 1.0);
        assert_eq!(sum(&[1e100, 1e-100, -1e100]).value(), 1e-100);
        assert_eq!(
            sum(&[1.0, 2f64.powi(-53), 2f64.powi(-120)]).value(),
            1.0 + f64::EPSILON
        );
        assert_eq!(sum(&[0.1; 10]).value(), 1.0);
    }

    #[test]
    fn terms_of_all_sizes_add_up_in_any_order() {
        let terms: Vec<f64> = (-300..300)
            .map(|e| f64::from(e % 7 - 3) * 10f64.powi(e))
            .collect();
        let forward = sum(&terms);
        let backward = sum(&terms.iter().rev().copied().collect::<Vec<_>>());
        assert_eq!(forward, backward);
        assert_eq!(forward.value().to_bits(), backward.value().to_bits());
        for cut in [1, 100, 299, 301, 599] {
            let (mut left, right) = (sum(&terms[..cut]), sum(&terms[cut..]));
            let mut other = right.clone();
            left.merge(&right);
            other.merge(&sum(&terms[..cut]));
            assert_eq!((&left, &other), (&forward, &forward));
            let mut empty = ExactSum::default();
            empty.merge(&left);
            assert_eq!(empty, forward);
        }
        // Passing carries on does not change the sum.
        let mut carried = sum(&terms[..400]);
        carried.carry();
        terms[400..].iter().for_each(|&term| carried.add(term));
        assert_eq!(carried, forward);
    }

    #[test]
    fn nan_and_infinities_add_up_as_in_f64() {
        assert!(sum(&[1.0, f64::NAN]).value().is_nan());
        assert_eq!(sum(&[f64::INFINITY, -1e300]).value(), f64::INFINITY);
        assert_eq!(sum(&[f64::NEG_INFINITY, 1e300]).value(), f64::NEG_INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).value().is_nan());
    }

    #[test]
    fn nan_and_infinities_merge_in_any_order() {
        let terms = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN, 1.0];
        let merged = |order: &mut dyn Iterator<Item = &f64>| {
            let mut all = ExactSum::default();
            order.for_each(|&term| all.merge(&sum(&[term])));
            all
        };
        let (forward, backward) = (merged(&mut terms.iter()), merged(&mut terms.iter().rev()));
        assert_eq!(forward, backward);
        assert_eq!(forward.value().to_bits(), backward.value().to_bits());
    }
}
