//! A gradient under test beside the right one. Undoing a cause makes a new pair.

use crate::{
    loss::compensated_sum,
    rounding::{Given, Tolerance},
    tensor::Dtype,
};

/// Largest relative uncertainty at which a scale still counts as one factor. Chosen.
const LARGEST_UNCERTAINTY: f64 = 0.25;

/// The gradient under test and the right gradient at the chosen rows, after the findings so far.
/// Formulas call them a and g.
///
/// An entry is masked if a finding has explained it or if its bound is not finite. The others are
/// live. Every statistic below runs over the live entries.
#[derive(Clone)]
pub(super) struct Pair {
    /// a: the gradient under test, with the causes found so far undone.
    pub(super) a: Vec<f64>,
    /// g: the right gradient, or the gradient that a cause found so far makes of it.
    pub(super) g: Vec<f64>,
    /// Bound on |a - g| in a correct gradient.
    allowed: Vec<f64>,
    /// False for masked entries.
    live: Vec<bool>,
    /// Entries per row.
    pub(super) columns: usize,
    /// Type whose rounding `allowed` covers.
    pub(super) dtype: Dtype,
    /// Unit roundoff of a narrower type that the gradient was stored in; 0 if there was none.
    pub(super) storage: f64,
    /// Largest magnitude that underflow in the gradient's type may have removed.
    floor: f64,
    /// Relative rounding that all entries share.
    shared: f64,
}

/// A live entry of a [`Pair`].
#[derive(Clone, Copy)]
pub(super) struct Live {
    pub(super) entry: usize,
    pub(super) a: f64,
    pub(super) g: f64,
    pub(super) allowed: f64,
}

/// Agreement of a with one factor times g.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// Live entries that are farther off than allowed.
    pub(super) wrong: usize,
    /// Live entries.
    pub(super) entries: usize,
    /// Root mean square of the entries' severities.
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
            live: allowed.iter().map(|allowed| allowed.is_finite()).collect(),
            allowed,
            columns,
            dtype,
            storage: 0.0,
            floor: tolerance.floor,
            shared: tolerance.shared,
        }
    }

    /// Returns the same gradient against another right one. Masked entries stay masked.
    pub(super) fn against(&self, g: Vec<f64>, allowed: Vec<f64>) -> Self {
        let mut pair = Self { g, ..self.clone() };
        for (entry, allowed) in allowed.into_iter().enumerate() {
            pair.allow(entry, allowed + pair.storage * pair.g[entry].abs());
        }
        pair
    }

    /// Returns the pair with bounds that allow for rounding to a narrower type.
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

    /// Returns another gradient under test against the same right one.
    pub(super) fn with(&self, a: Vec<f64>) -> Self {
        Self { a, ..self.clone() }
    }

    /// Returns the pair with the entries masked for which `is_explained` returns true.
    pub(super) fn without(&self, is_explained: impl Fn(usize) -> bool) -> Self {
        let mut pair = self.clone();
        for (entry, live) in pair.live.iter_mut().enumerate() {
            *live &= !is_explained(entry);
        }
        pair
    }

    /// Returns the pair with a divided by `factor`.
    pub(super) fn divided(&self, factor: f64) -> Self {
        let mut pair = self.clone();
        pair.a.iter_mut().for_each(|a| *a /= factor);
        let more = self.lost_before(factor);
        for entry in 0..pair.a.len() {
            pair.allow_more(entry, more);
        }
        pair
    }

    /// Returns the pair with beta times `other` subtracted from a.
    pub(super) fn less(&self, beta: f64, other: &[f64]) -> Self {
        let entries = self.a.iter().zip(other);
        self.with(entries.map(|(a, other)| a - beta * other).collect())
    }

    /// Returns the pair with each entry of a divided by its own factor.
    pub(super) fn divided_by(&self, factor: impl Fn(usize) -> f64) -> Self {
        let entries = self.a.iter().enumerate();
        self.with(entries.map(|(entry, a)| a / factor(entry)).collect())
    }

    /// Returns the pair with bounds that allow for rounding only, without the user's tolerances.
    pub(super) fn without_given(&self, given: Given) -> Self {
        let mut pair = self.clone();
        for (entry, g) in self.g.iter().enumerate() {
            pair.allow_more(entry, -(given.rtol * g.abs() + given.atol));
        }
        pair
    }

    /// Widens the bound of an entry.
    pub(super) fn allow_more(&mut self, entry: usize, more: f64) {
        self.allow(entry, self.allowed[entry] + more);
    }

    /// Sets the bound of an entry, and masks the entry if the bound is not finite.
    fn allow(&mut self, entry: usize, allowed: f64) {
        self.allowed[entry] = allowed;
        self.live[entry] &= allowed.is_finite();
    }

    /// Returns the additional error that underflow may cause after a division by `factor`.
    /// Underflow in a small gradient grows when the gradient is scaled back up.
    fn lost_before(&self, factor: f64) -> f64 {
        self.floor * (1.0 / factor.abs() - 1.0).max(0.0)
    }

    /// Returns the bounds on |a - g|, masked entries included.
    pub(super) fn allowed(&self) -> &[f64] {
        &self.allowed
    }

    /// Returns true unless the entry is masked.
    pub(super) fn is_live(&self, entry: usize) -> bool {
        self.live[entry]
    }

    /// Returns true if the entry is live and farther off than allowed. NaN is wrong.
    pub(super) fn is_wrong(&self, entry: usize) -> bool {
        self.live[entry] && !((self.a[entry] - self.g[entry]).abs() <= self.allowed[entry])
    }

    /// Returns true if the entry is live and zero would be wrong in its place.
    pub(super) fn is_visible(&self, entry: usize) -> bool {
        self.live[entry] && self.g[entry].abs() > self.allowed[entry]
    }

    /// Returns the live entries in order.
    pub(super) fn live(&self) -> impl Iterator<Item = Live> + '_ {
        let live = (0..self.a.len()).filter(|&entry| self.live[entry]);
        live.map(|entry| Live {
            entry,
            a: self.a[entry],
            g: self.g[entry],
            allowed: self.allowed[entry],
        })
    }

    /// Returns the number of rows.
    pub(super) fn rows(&self) -> usize {
        self.a.len() / self.columns
    }

    /// Returns the entries of a row.
    pub(super) fn row(&self, row: usize) -> std::ops::Range<usize> {
        row * self.columns..(row + 1) * self.columns
    }

    /// Returns |a| / |g|.
    pub(super) fn norm_ratio(&self) -> f64 {
        let (aa, gg) = self.live().fold((0.0, 0.0), |(aa, gg), it| {
            (aa + it.a * it.a, gg + it.g * it.g)
        });
        (aa / gg).sqrt()
    }

    /// Returns the scale s = <a,g> / <g,g>, or NaN if g is 0. The sums are compensated, because in
    /// f64 the error of an entry may be smaller than the rounding of plain sums.
    pub(super) fn scale(&self) -> f64 {
        let ag = compensated_sum(self.live().map(|it| it.a * it.g));
        let gg = compensated_sum(self.live().map(|it| it.g * it.g));
        ag / gg
    }

    /// Returns the scale of each of `groups` groups of entries, or NaN if g is 0 in the group.
    /// Skips entries without a group.
    pub(super) fn scales(&self, groups: usize, group: impl Fn(usize) -> Option<usize>) -> Vec<f64> {
        let mut sums = vec![[0.0; 2]; groups];
        for it in self.live() {
            if let Some(group) = group(it.entry) {
                let [ag, gg] = &mut sums[group];
                *ag += it.a * it.g;
                *gg += it.g * it.g;
            }
        }
        sums.into_iter().map(|[ag, gg]| ag / gg).collect()
    }

    /// Returns the relative error that s may have if a is s·g up to rounding. Independent errors
    /// count with three times the root of the sum of their squared bounds, which allows for one or
    /// two standard deviations. Errors that all entries share count in full.
    pub(super) fn scale_uncertainty(&self) -> f64 {
        let (mut squares, mut gg) = (0.0, 0.0);
        for it in self.live() {
            squares += (it.allowed * it.g) * (it.allowed * it.g);
            gg += it.g * it.g;
        }
        3.0 * squares.sqrt() / gg + self.shared
    }

    /// Returns the cosine of the angle between a and g.
    pub(super) fn cosine(&self) -> f64 {
        self.cosine_with(&self.g)
    }

    /// Returns the cosine of the angle between a and another gradient.
    pub(super) fn cosine_with(&self, g: &[f64]) -> f64 {
        let (mut aa, mut ag, mut gg) = (0.0, 0.0, 0.0);
        for Live { entry, a, .. } in self.live() {
            let g = g[entry];
            aa += a * a;
            ag += a * g;
            gg += g * g;
        }
        ag / (aa * gg).sqrt()
    }

    /// Returns true if the errors are nearly orthogonal to g, as errors independent of g are.
    pub(super) fn is_unbiased(&self) -> bool {
        let fit = self.fit(1.0);
        let by_chance = 3.0 / (fit.entries as f64).sqrt();
        (self.scale() - 1.0).abs() <= fit.remainder * (0.03 + by_chance) + self.shared
    }

    /// Compares a / factor with g.
    pub(super) fn fit(&self, factor: f64) -> Fit {
        let more = self.lost_before(factor);
        let (mut wrong, mut entries, mut severities) = (0, 0, 0.0);
        let (mut errors, mut squares) = (0.0, 0.0);
        for Live { a, g, allowed, .. } in self.live() {
            let error = a / factor - g;
            let severity = error.abs() / (allowed + more);
            entries += 1;
            // The negation makes NaN wrong.
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

    /// Returns true if no error is left.
    pub(super) fn is_explained(&self) -> bool {
        self.fit(1.0).wrong == 0 && !((self.scale() - 1.0).abs() > self.scale_uncertainty())
    }

    /// Returns true if no error but one factor is left.
    pub(super) fn is_scaled(&self) -> bool {
        let scale = self.scale();
        scale != 0.0 && self.scale_uncertainty() < LARGEST_UNCERTAINTY && self.fit(scale).wrong == 0
    }

    /// Returns true if no error is left except for one factor, which may be 1.
    pub(super) fn is_explained_up_to_factor(&self) -> bool {
        self.is_explained() || self.is_scaled()
    }

    /// Returns true if the pair is informative, and no error is left except for one factor.
    pub(super) fn leaves_one_factor(&self) -> bool {
        self.is_informative() && self.is_explained_up_to_factor()
    }

    /// Returns true if g is well above its bounds in 1 % of the live entries, at least three. With
    /// fewer, a may agree with g by chance.
    pub(super) fn is_informative(&self) -> bool {
        let (mut count, mut entries) = (0, 0);
        for Live { g, allowed, .. } in self.live() {
            entries += 1;
            count += usize::from(g.abs() > 3.0 * allowed);
        }
        count >= 3 && count * 100 >= entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns three rows of two with a = factor·g, plus `error` in the last entry. The bounds are
    /// `allowed`.
    fn pair(factor: f64, error: f64, allowed: f64) -> Pair {
        let g = vec![1.0, -2.0, 0.5, 4.0, -1.0, 3.0];
        let mut a: Vec<f64> = g.iter().map(|g| factor * g).collect();
        a[5] += error;
        let tolerance = Tolerance {
            alike: 1.0,
            lost: 0.0,
            rounding: 0.0,
            floor: 0.0,
            drift: 0.0,
            shared: 0.0,
            given: None,
        };
        Pair::new(a, g, vec![allowed; 6], 2, Dtype::F64, tolerance)
    }

    #[test]
    fn one_factor_is_distinguished_from_an_error() {
        assert!(pair(1.0, 5e-4, 1e-3).is_explained() && !pair(1.0, 5e-3, 1e-3).is_explained());
        let scaled = pair(-3.0, 0.0, 1e-3);
        assert!(!scaled.is_explained() && scaled.is_scaled());
        assert_eq!(scaled.scale(), -3.0);
        assert!(scaled.divided(-3.0).is_explained());
        assert!(!pair(2.0, 1.0, 1e-3).is_scaled());
    }

    #[test]
    fn masked_entries_take_no_part() {
        let wrong = pair(1.0, 1.0, 1e-3);
        assert_eq!((wrong.fit(1.0).wrong, wrong.fit(1.0).entries), (1, 6));
        let rest = wrong.without(|entry| entry == 5);
        assert!(rest.is_explained() && rest.fit(1.0).entries == 5);
        // Another reference does not unmask them.
        assert!(rest.against(rest.g.clone(), vec![1e-3; 6]).is_explained());
    }

    #[test]
    fn an_entry_without_a_finite_bound_is_masked() {
        let mut rest = pair(1.0, 1.0, 1e-3);
        rest.allow_more(5, f64::INFINITY);
        assert!(!rest.is_live(5) && rest.is_explained());
    }

    #[test]
    fn wide_bounds_make_a_pair_uninformative() {
        assert!(!pair(1.0, 0.0, 10.0).is_informative() && pair(1.0, 0.0, 1e-3).is_informative());
    }
}
