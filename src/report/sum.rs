//! A sum of f64 values without rounding error, so that it does not depend on the order or the grouping of its terms.

/// Bits of a digit. Digits are kept in i64, so that 2^31 terms fit before a carry must be passed on.
const DIGIT: u32 = 32;
/// The span of f64, 2^-1074 to 2^1024, and room for 2^64 terms at its top.
const DIGITS: usize = 68;
/// Terms after which carries are passed on; two sums with fewer may be added.
const MOST_PENDING: u32 = 1 << 29;
/// 2^-1074, the unit of the lowest digit.
const LOWEST: i32 = -1074;

/// A fixed-point number wide enough for every f64 (Kulisch's long accumulator).
#[derive(Clone)]
pub struct ExactSum {
    digits: [i64; DIGITS],
    /// Digits outside of this range are 0.
    used: (u8, u8),
    /// Terms since carries were last passed on.
    pending: u32,
    /// The sum of the terms that are not finite; 0 where all are.
    not_finite: f64,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self {
            digits: [0; DIGITS],
            used: (DIGITS as u8, 0),
            pending: 0,
            not_finite: 0.0,
        }
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
        let (first, end) = self.used;
        self.used = (first.min(digit as u8), end.max(digit as u8 + 3));
        for (i, digit) in self.digits[digit..digit + 3].iter_mut().enumerate() {
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
        let (first, end) = other.used;
        for digit in usize::from(first)..usize::from(end) {
            self.digits[digit] += other.digits[digit];
        }
        self.used = (self.used.0.min(first), self.used.1.max(end));
        // What was carried counts as one term.
        self.pending += other.pending + 1;
        self.not_finite += other.not_finite;
    }

    /// The sum, rounded to nearest.
    pub fn value(&self) -> f64 {
        if self.not_finite != 0.0 {
            return self.not_finite;
        }
        // Carries come two digits beyond what was used.
        let (first, end) = (usize::from(self.used.0), usize::from(self.used.1) + 2);
        let mut digits = self.digits;
        let Some(digits) = digits.get_mut(first..end.min(DIGITS)) else {
            return 0.0;
        };
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

    /// Passes all carries on, which makes the form unique.
    fn carry(&mut self) {
        carry(&mut self.digits);
        self.used = (0, DIGITS as u8);
        self.pending = 0;
    }
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
        let (mut a, mut b) = (self.clone(), other.clone());
        a.carry();
        b.carry();
        a.digits == b.digits && a.not_finite.to_bits() == b.not_finite.to_bits()
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
    fn what_is_not_finite_shows() {
        assert!(sum(&[1.0, f64::NAN]).value().is_nan());
        assert_eq!(sum(&[f64::INFINITY, -1e300]).value(), f64::INFINITY);
    }
}
