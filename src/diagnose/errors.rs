//! Statistics that distinguish random errors from patterns.

use super::pair::{Live, Pair};

/// Least number of entries for the statistics. Chosen.
const LEAST_ENTRIES: f64 = 16.0;

/// Statistics of a - g over the live entries, each error divided by its own unit.
pub(super) struct Errors {
    /// Root mean square.
    pub(super) rms: f64,
    /// Fourth moment over the squared second: 3 for normal errors.
    pub(super) kurtosis: f64,
    /// [`unevenness`] of the rows' mean squares.
    pub(super) rows: f64,
    /// [`unevenness`] of the columns' mean squares.
    pub(super) columns: f64,
}

impl Errors {
    /// Computes the statistics, with each error divided by `unit`. Skips entries whose unit is 0.
    /// Returns `None` if there are no errors or too few entries.
    pub(super) fn of(pair: &Pair, unit: impl Fn(Live) -> f64) -> Option<Self> {
        let rows = pair.rows();
        let (mut by_row, mut by_column) = (vec![(0.0, 0.0); rows], vec![(0.0, 0.0); pair.columns]);
        let (mut count, mut squares, mut fourths) = (0.0, 0.0, 0.0);
        for it in pair.live() {
            let unit = unit(it);
            if !(unit > 0.0) {
                continue;
            }
            let square = ((it.a - it.g) / unit).powi(2);
            count += 1.0;
            squares += square;
            fourths += square * square;
            for sums in [
                &mut by_row[it.entry / pair.columns],
                &mut by_column[it.entry % pair.columns],
            ] {
                sums.0 += square;
                sums.1 += 1.0;
            }
        }
        let mean = squares / count;
        if !(count >= LEAST_ENTRIES && mean > 0.0) {
            return None;
        }
        // The mean of n squares of standard normals has a variance of 2/n.
        let of_groups = |sums: &[(f64, f64)]| {
            let known = sums.iter().filter(|(_, count)| *count > 0.0);
            unevenness(known.map(|(sum, count)| (sum / count / mean - 1.0).powi(2) * count / 2.0))
        };
        Some(Self {
            rms: mean.sqrt(),
            kurtosis: fourths / count / (mean * mean),
            rows: of_groups(&by_row),
            columns: of_groups(&by_column),
        })
    }
}

/// Returns the mean of the groups' squared deviations, divided by the largest mean that chance
/// explains. Each deviation is in units of its expected variance.
///
/// The square of a standard normal has a variance of 2, so the mean of n of them is 1 with a
/// standard deviation of sqrt(2/n). The largest mean allows for five of these.
pub(super) fn unevenness(deviations: impl Iterator<Item = f64>) -> f64 {
    let (total, number) = deviations.fold((0.0, 0.0), |(total, number), term| {
        (total + term, number + 1.0)
    });
    total / number / (1.0 + 5.0 * (2.0f64 / number).sqrt())
}
