//! A sum of f64 values without rounding error, so that it does not depend on the order or the grouping of its terms.

/// Bits of a digit. Digits are kept in i64, so that 2^31 terms fit before a carry must be passed on.
const DIGIT: u32 = 32;
/// The span of f64, 2^-1074 to 2^1024, and room for 2^64 terms at its top.
const DIGITS: usize = 68;
/// Terms after which carries are passed on; two sums with fewer may be added.
const MOST_PENDING: u32 = 1 << 29;
/// 2^-1074, the unit of the lowest digit.
const LOWEST: i32 = -1074;

/// Digits that a sum has room for without another allocation: those of terms whose sizes are within 2^160 of each other.
const WINDOW: usize = 8;

/// A fixed-point number wide enough for every f64 (Kulisch's long accumulator): the sum of a few digits and, where terms lie outside
/// of those, of all.
#[derive(Clone, Default)]
pub struct ExactSum {
    window: [i64; WINDOW],
    /// Which digit is the first of the window; set by its first term.
    base: u8,
    all: Option<Box<Digits>>,
    /// Terms since carries were last passed on.
    pending: u32,
    /// The sum of the terms that are not finite; 0 where all are.
    not_finite: f64,
}

/// The lowest comes first.
type Digits = [i64; DIGITS];

impl std::fmt::Debug for ExactSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:e}", self.value())
    }
}

impl ExactSum {
    /// Adds a term.
    pub fn add(&mut self, term: f64) {
        if !term.is_finite() {
            self.not_finite += term;
            return;
        }
        let bits = term.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as u32;
        let fraction = bits & ((1 << 52) - 1);
        // Subnormals have the exponent of the smallest normals, and no leading bit.
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

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.move_to(usize::from(other.base));
        // Digits have room for so many terms, whoever added them.
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
        // What was carried counts as one term.
        self.pending += other.pending + 1;
        self.not_finite += other.not_finite;
    }

    /// The sum, rounded to nearest.
    pub fn value(&self) -> f64 {
        if self.not_finite != 0.0 {
            return self.not_finite;
        }
        let base = usize::from(self.base);
        let mut digits = self.digits();
        // Carries come two digits beyond what was used.
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
        // What lies below only decides ties: one sticky bit.
        let sticky = u128::from(digits[..bottom].iter().any(|&digit| digit != 0));
        let magnitude = scale(
            (head << 1 | sticky) as f64,
            (first + bottom) as i32 * DIGIT as i32 + LOWEST - 1,
        );
        if negative { -magnitude } else { magnitude }
    }

    /// Puts the window there, if it is empty.
    fn move_to(&mut self, base: usize) {
        if self.window == [0; WINDOW] {
            self.base = base.min(DIGITS - WINDOW) as u8;
        }
    }

    /// All of them, carries not passed on.
    fn digits(&self) -> Digits {
        let mut digits = self.all.as_deref().copied().unwrap_or([0; DIGITS]);
        let places = digits[usize::from(self.base)..].iter_mut();
        places
            .zip(self.window)
            .for_each(|(digit, other)| *digit += other);
        digits
    }

    /// Passes all carries on.
    fn carry(&mut self) {
        let mut digits = self.digits();
        carry(&mut digits);
        self.window = [0; WINDOW];
        self.all = Some(Box::new(digits));
        self.pending = 0;
    }
}

/// The window's digits below the three of its first term, less one for what is smaller more often than larger.
const MIDDLE: usize = (WINDOW - 3) / 2 + 1;

fn zeros() -> Box<Digits> {
    Box::new([0; DIGITS])
}

/// Brings every digit but the highest into 0..2^32.
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
        // With all carries passed on the form is unique.
        let [a, b] = [self, other].map(|sum| {
            let mut digits = sum.digits();
            carry(&mut digits);
            digits
        });
        a == b && self.not_finite.to_bits() == other.not_finite.to_bits()
    }
}

/// value · 2^exponent, in steps that do not overflow on the way.
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
    fn single_terms_come_back() {
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
    fn nothing_is_lost_to_cancellation() {
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
        // What carries leave behind is still the sum.
        let mut carried = sum(&terms[..400]);
        carried.carry();
        terms[400..].iter().for_each(|&term| carried.add(term));
        assert_eq!(carried, forward);
    }

    #[test]
    fn what_is_not_finite_shows() {
        assert!(sum(&[1.0, f64::NAN]).value().is_nan());
        assert_eq!(sum(&[f64::INFINITY, -1e300]).value(), f64::INFINITY);
    }
}
