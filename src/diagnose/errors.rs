//! What errors without structure look like.

use super::pair::Pair;

/// a - g, in some unit for each entry, over the entries that are live.
pub(super) struct Errors {
    /// Their root mean square.
    pub(super) rms: f64,
    /// The fourth moment over the second squared: 3 if they are normal.
    pub(super) kurtosis: f64,
    /// The variance of the rows' mean squares over what it may be if all are normal and alike.
    pub(super) rows: f64,
    /// The same of the columns.
    pub(super) columns: f64,
}

impl Errors {
    /// None where there are none, or too few.
    pub(super) fn of(pair: &Pair, unit: impl Fn(usize, f64, f64) -> f64) -> Option<Self> {
        let rows = pair.rows();
        let (mut by_row, mut by_column) = (vec![(0.0, 0.0); rows], vec![(0.0, 0.0); pair.columns]);
        let (mut count, mut squares, mut fourths) = (0.0, 0.0, 0.0);
        for (entry, a, g, allowed) in pair.live() {
            let unit = unit(entry, g, allowed);
            if !(unit > 0.0) {
                continue;
            }
            let square = ((a - g) / unit).powi(2);
            count += 1.0;
            squares += square;
            fourths += square * square;
            for sums in [
                &mut by_row[entry / pair.columns],
                &mut by_column[entry % pair.columns],
            ] {
                sums.0 += square;
                sums.1 += 1.0;
            }
        }
        let mean = squares / count;
        if !(count >= 16.0 && mean > 0.0) {
            return None;
        }
        Some(Self {
            rms: mean.sqrt(),
            kurtosis: fourths / count / (mean * mean),
            rows: spread(&by_row, mean),
            columns: spread(&by_column, mean),
        })
    }
}

/// Of (sum, count) pairs with that mean, all alike.
fn spread(sums: &[(f64, f64)], mean: f64) -> f64 {
    let known = sums.iter().filter(|(_, count)| *count > 0.0);
    let terms = known.map(|(sum, count)| (sum / count / mean - 1.0).powi(2) * count / 2.0);
    let (total, number) = terms.fold((0.0, 0.0), |(total, number), term| {
        (total + term, number + 1.0)
    });
    // A mean of so many squares of normals is 1, give or take sqrt(2/number).
    total / number / (1.0 + 5.0 * (2.0f64 / number).sqrt())
}
