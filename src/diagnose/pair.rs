//! A gradient under test beside the one that it should be, as far as the findings so far go: each correction makes a new pair.

use crate::{
    loss::compensated_sum,
    rounding::{Given, Tolerance},
    tensor::Dtype,
};

/// A scale that is not even known to this is none.
const LARGEST_UNCERTAINTY: f64 = 0.25;

/// a and g at the rows that are looked at.
#[derive(Clone)]
pub(super) struct Pair {
    /// The gradient under test, corrected for what was found.
    pub(super) a: Vec<f64>,
    /// What it is compared with: the right gradient, or what a bug that was found makes of it.
    pub(super) g: Vec<f64>,
    /// How far a may be from g; infinite where an entry says nothing any more.
    pub(super) allowed: Vec<f64>,
    /// Entries a row.
    pub(super) columns: usize,
    /// The type whose rounding is allowed for.
    pub(super) dtype: Dtype,
    /// Relative: a rounding to fewer bits at the end, where there was one.
    pub(super) storage: f64,
    /// The largest finite magnitude that a type may have lost to underflow.
    floor: f64,
    /// Relative: roundings that all entries share.
    shared: f64,
}

/// How well a is one factor times g.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// Entries that are farther off than allowed.
    pub(super) wrong: usize,
    /// Entries that say something.
    pub(super) entries: usize,
    /// The root mean square of the errors in units of what is allowed.
    pub(super) severity: f64,
    /// |a / factor - g| / |g|.
    pub(super) remainder: f64,
}

impl Pair {
    pub(super) fn new(
        a: Vec<f64>,
        g: Vec<f64>,
        allowed: Vec<f64>,
        columns: usize,
        dtype: Dtype,
        tolerance: Tolerance,
    ) -> Self {
        Self {
            a,
            g,
            allowed,
            columns,
            dtype,
            storage: 0.0,
            floor: tolerance.floor,
            shared: tolerance.shared,
        }
    }

    /// The same gradient against another one.
    pub(super) fn against(&self, g: Vec<f64>, allowed: Vec<f64>) -> Self {
        // What was left out stays out.
        let allowed = allowed.into_iter().zip(&self.allowed).zip(&g);
        let allowed = allowed.map(|((new, old), g)| {
            if old.is_finite() {
                new + self.storage * g.abs()
            } else {
                *old
            }
        });
        Self {
            allowed: allowed.collect(),
            g,
            ..self.clone()
        }
    }

    /// The same, after a rounding to a type of fewer bits.
    pub(super) fn stored_in(&self, dtype: Dtype) -> Self {
        let storage = dtype.unit_roundoff() * 1.001;
        let pair = Self {
            storage,
            ..self.clone()
        };
        let floor = dtype.smallest_kept();
        let allowed = pair.allowed.iter().map(|allowed| allowed + floor).collect();
        pair.against(pair.g.clone(), allowed)
    }

    /// Another gradient against the same.
    pub(super) fn with(&self, a: Vec<f64>) -> Self {
        Self { a, ..self.clone() }
    }

    /// Without the entries that `dead` names.
    pub(super) fn without(&self, dead: impl Fn(usize) -> bool) -> Self {
        let mut pair = self.clone();
        for (entry, allowed) in pair.allowed.iter_mut().enumerate() {
            if dead(entry) {
                *allowed = f64::INFINITY;
            }
        }
        pair
    }

    /// What underflow took from a gradient before it is divided by a factor, beyond what is allowed for as it is.
    fn lost_before(&self, factor: f64) -> f64 {
        self.floor * (1.0 / factor.abs() - 1.0).max(0.0)
    }

    /// The gradient divided by a factor. What underflow took from a small gradient weighs more then.
    pub(super) fn divided(&self, factor: f64) -> Self {
        let mut pair = self.clone();
        pair.a.iter_mut().for_each(|a| *a /= factor);
        let more = self.lost_before(factor);
        pair.allowed.iter_mut().for_each(|allowed| *allowed += more);
        pair
    }

    /// With nothing allowed but rounding, where the user gave a tolerance.
    pub(super) fn without_given(&self, given: Given) -> Self {
        let mut pair = self.clone();
        for (allowed, g) in pair.allowed.iter_mut().zip(&self.g) {
            *allowed -= given.rtol * g.abs() + given.atol;
        }
        pair
    }

    /// |a| / |g| over the live entries.
    pub(super) fn norm_ratio(&self) -> f64 {
        let (aa, gg) = self.live().fold((0.0, 0.0), |(aa, gg), (_, a, g, _)| {
            (aa + a * a, gg + g * g)
        });
        (aa / gg).sqrt()
    }

    /// Whether an entry still says something.
    pub(super) fn is_live(&self, entry: usize) -> bool {
        self.allowed[entry].is_finite()
    }

    /// The entries that do, with their index, a, g and what is allowed.
    pub(super) fn live(&self) -> impl Iterator<Item = (usize, f64, f64, f64)> + '_ {
        let entries = self.a.iter().zip(&self.g).zip(&self.allowed).enumerate();
        entries
            .filter(|(_, (_, allowed))| allowed.is_finite())
            .map(|(entry, ((&a, &g), &allowed))| (entry, a, g, allowed))
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.a.len() / self.columns
    }

    /// The entries of a row.
    pub(super) fn row(&self, row: usize) -> std::ops::Range<usize> {
        row * self.columns..(row + 1) * self.columns
    }

    /// s = <a,g> / <g,g>; NaN where there is nothing to divide by. In f64 an entry may show what plain sums lose.
    pub(super) fn scale(&self) -> f64 {
        let ag = compensated_sum(self.live().map(|(_, a, g, _)| a * g));
        let gg = compensated_sum(self.live().map(|(_, _, g, _)| g * g));
        ag / gg
    }

    /// s of each of so many groups of entries; NaN of a group in which there is nothing to divide by.
    pub(super) fn scales(&self, groups: usize, group: impl Fn(usize) -> Option<usize>) -> Vec<f64> {
        let mut sums = vec![[0.0; 2]; groups];
        for (entry, a, g, _) in self.live() {
            if let Some(group) = group(entry) {
                let [ag, gg] = &mut sums[group];
                *ag += a * g;
                *gg += g * g;
            }
        }
        sums.into_iter().map(|[ag, gg]| ag / gg).collect()
    }

    /// Each entry divided by a factor of its own.
    pub(super) fn divided_by(&self, factor: impl Fn(usize) -> f64) -> Self {
        let entries = self.a.iter().enumerate();
        self.with(entries.map(|(entry, a)| a / factor(entry)).collect())
    }

    /// How far s may be off, relative to it, if a is s·g up to rounding: of independent errors a standard deviation or two, of
    /// errors that have a sign in common what they share.
    pub(super) fn scale_uncertainty(&self) -> f64 {
        let (mut squares, mut gg) = (0.0, 0.0);
        for (_, _, g, allowed) in self.live() {
            squares += (allowed * g) * (allowed * g);
            gg += g * g;
        }
        3.0 * squares.sqrt() / gg + self.shared
    }

    /// cos of the angle between a and g.
    pub(super) fn cosine(&self) -> f64 {
        self.cosine_with(&self.g)
    }

    /// cos of the angle between a and another gradient.
    pub(super) fn cosine_with(&self, g: &[f64]) -> f64 {
        let (mut aa, mut ag, mut gg) = (0.0, 0.0, 0.0);
        for (entry, a, _, _) in self.live() {
            let g = g[entry];
            aa += a * a;
            ag += a * g;
            gg += g * g;
        }
        ag / (aa * gg).sqrt()
    }

    /// Whether what is left has no part along g: errors that know nothing of g have little.
    pub(super) fn is_unbiased(&self) -> bool {
        let fit = self.fit(1.0);
        let by_chance = 3.0 / (fit.entries as f64).sqrt();
        (self.scale() - 1.0).abs() <= fit.remainder * (0.03 + by_chance) + self.shared
    }

    /// a / factor against g.
    pub(super) fn fit(&self, factor: f64) -> Fit {
        let more = self.lost_before(factor);
        let (mut wrong, mut entries, mut severities) = (0, 0, 0.0);
        let (mut errors, mut squares) = (0.0, 0.0);
        for (_, a, g, allowed) in self.live() {
            let error = a / factor - g;
            let severity = error.abs() / (allowed + more);
            entries += 1;
            // NaN is wrong.
            wrong += usize::from(!(severity <= 1.0));
            severities += severity * severity;
            errors += error * error;
            squares += g * g;
        }
        Fit {
            wrong,
            entries,
            severity: (severities / entries.max(1) as f64).sqrt(),
            remainder: if errors == 0.0 {
                0.0
            } else {
                (errors / squares).sqrt()
            },
        }
    }

    /// Whether nothing is left to explain.
    pub(super) fn is_explained(&self) -> bool {
        self.fit(1.0).wrong == 0 && !((self.scale() - 1.0).abs() > self.scale_uncertainty())
    }

    /// Whether nothing is left but one factor.
    pub(super) fn is_scaled(&self) -> bool {
        let scale = self.scale();
        scale != 0.0 && self.scale_uncertainty() < LARGEST_UNCERTAINTY && self.fit(scale).wrong == 0
    }

    /// Whether g stands out of what rounding explains, so that agreement with it means something.
    pub(super) fn is_informative(&self) -> bool {
        let (mut count, mut entries) = (0, 0);
        for (_, _, g, allowed) in self.live() {
            entries += 1;
            count += usize::from(g.abs() > 3.0 * allowed);
        }
        count >= 3 && count * 100 >= entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three rows of two, a = factor·g but for `error` in the last entry; an error of 1e-3 is allowed.
    fn pair(factor: f64, error: f64) -> Pair {
        let g = vec![1.0, -2.0, 0.5, 4.0, -1.0, 3.0];
        let mut a: Vec<f64> = g.iter().map(|g| factor * g).collect();
        a[5] += error;
        let tolerance = Tolerance {
            rounding: 0.0,
            floor: 0.0,
            drift: 0.0,
            shared: 0.0,
            given: None,
        };
        Pair::new(a, g, vec![1e-3; 6], 2, Dtype::F64, tolerance)
    }

    #[test]
    fn one_factor_is_told_from_an_error() {
        assert!(pair(1.0, 5e-4).is_explained() && !pair(1.0, 5e-3).is_explained());
        let scaled = pair(-3.0, 0.0);
        assert!(!scaled.is_explained() && scaled.is_scaled());
        assert_eq!(scaled.scale(), -3.0);
        assert!(scaled.divided(-3.0).is_explained());
        assert!(!pair(2.0, 1.0).is_scaled());
    }

    #[test]
    fn entries_that_are_left_out_say_nothing() {
        let wrong = pair(1.0, 1.0);
        assert_eq!((wrong.fit(1.0).wrong, wrong.fit(1.0).entries), (1, 6));
        let rest = wrong.without(|entry| entry == 5);
        assert!(rest.is_explained() && rest.fit(1.0).entries == 5);
        // They stay out when the reference changes.
        assert!(rest.against(rest.g.clone(), vec![1e-3; 6]).is_explained());
    }

    #[test]
    fn what_is_allowed_bounds_what_can_be_said() {
        let mut vague = pair(1.0, 0.0);
        vague.allowed.fill(10.0);
        assert!(!vague.is_informative() && pair(1.0, 0.0).is_informative());
    }
}
