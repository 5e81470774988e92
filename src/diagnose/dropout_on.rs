//! `dropout-on`: zeros at random, the rest larger for it.

use super::{
    evidence::Evidence,
    hypothesis::{Hypothesis, number},
    pair::Pair,
};
use crate::{problem::Wrt, report::Code};

/// Zeros that make a share.
const LEAST: usize = 4;

/// How uneven zeros may be over rows and columns, as a multiple of what chance has.
const ALIKE: f64 = 2.5;
/// Zeros that are much smaller than the rest were chosen for that.
const LEAST_SIZE: f64 = 0.7;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let zeros = Zeros::of(pair);
    let share = zeros.count as f64 / zeros.all as f64;
    if zeros.count < LEAST || share > 0.95 || !zeros.are_spread(share) {
        return None;
    }
    let rest = pair.without(|entry| pair.a[entry] == 0.0);
    if !rest.is_scaled() || zeros_of_input(evidence, pair) {
        return None;
    }
    // The share that was asked for is near the share that was drawn.
    let asked = 1.0 - 1.0 / rest.scale();
    let spread = 5.0 * (share * (1.0 - share) / zeros.all as f64).sqrt();
    let matches = (asked - share).abs() <= spread;
    if !matches && pair.columns == 1 {
        return None;
    }
    let (after, factor) = if matches {
        (rest.divided(rest.scale()), rest.scale())
    } else {
        (rest, 1.0)
    };
    let (name, percent) = (evidence.name(), number((1000.0 * share).round() / 10.0));
    let message = if matches {
        format!(
            "{percent} % of the entries of {name} are zero without a pattern, and the others are {} times the derivative: dropout was on in the backward pass",
            number(factor)
        )
    } else {
        format!(
            "{percent} % of the entries of {name} are zero without a pattern, and the others are right up to one factor: a random mask, such as dropout's without its factor"
        )
    };
    Some(
        Hypothesis::new(
            Code::DropoutOn,
            after,
            format!("without the zeros, the rest divided by {}", number(factor)),
            message,
            "call model.eval() before the pass that you check (train=False or deterministic=True in JAX's libraries), or put the same mask into the file's input",
        )
        .confidence(if matches { 0.95 } else { 0.6 })
        .evidence("zeros", share)
        .evidence("scale", factor),
    )
}

/// The entries that should not be zero: how many there are and are zero, in all and by row and column, and how large they should be.
struct Zeros {
    count: usize,
    all: usize,
    by_row: Vec<[f64; 2]>,
    by_column: Vec<[f64; 2]>,
    /// The sum of |g| over the zeros, and over all.
    size: [f64; 2],
}

impl Zeros {
    fn of(pair: &Pair) -> Self {
        let mut zeros = Self {
            count: 0,
            all: 0,
            by_row: vec![[0.0; 2]; pair.rows()],
            by_column: vec![[0.0; 2]; pair.columns],
            size: [0.0; 2],
        };
        for (entry, a, g, allowed) in pair.live() {
            if g.abs() <= allowed {
                continue;
            }
            let is_zero = f64::from(u8::from(a == 0.0));
            zeros.count += usize::from(a == 0.0);
            zeros.all += 1;
            let counts = [
                &mut zeros.by_row[entry / pair.columns],
                &mut zeros.by_column[entry % pair.columns],
            ];
            for count in counts {
                *count = [count[0] + is_zero, count[1] + 1.0];
            }
            zeros.size = [zeros.size[0] + is_zero * g.abs(), zeros.size[1] + g.abs()];
        }
        zeros
    }

    /// Whether rows and columns have their share of zeros, as chance has it, and large entries have theirs.
    fn are_spread(&self, share: f64) -> bool {
        // What comes in whole rows or columns has another cause, however few they are.
        let comes_whole = |counts: &[[f64; 2]]| {
            let with = counts.iter().filter(|[zeros, _]| *zeros > 0.0);
            let (whole, parts): (Vec<&[f64; 2]>, Vec<&[f64; 2]>) =
                with.partition(|[zeros, all]| zeros == all);
            whole.len() > 4 * parts.len()
        };
        let (rows, columns) = (&self.by_row, &self.by_column);
        if (columns.len() > 1 && comes_whole(rows)) || (rows.len() > 1 && comes_whole(columns)) {
            return false;
        }
        let unevenness = |counts: &[[f64; 2]]| {
            let known = counts.iter().filter(|[_, all]| *all > 0.0);
            let variance = share * (1.0 - share);
            let terms = known.map(|[zeros, all]| (zeros - share * all).powi(2) / (all * variance));
            let (total, number) = terms.fold((0.0, 0.0), |(total, number), term| {
                (total + term, number + 1.0)
            });
            total / number / (1.0 + 5.0 * (2.0f64 / number).sqrt())
        };
        let rows = self.by_row.len() == 1 || unevenness(&self.by_row) < ALIKE;
        let columns = self.by_column.len() == 1 || unevenness(&self.by_column) < ALIKE;
        rows && columns && self.size[0] >= LEAST_SIZE * share * self.size[1]
    }
}

/// Whether the zeros are where the input is zero: an activation's derivative, not chance.
fn zeros_of_input(evidence: &Evidence, pair: &Pair) -> bool {
    if evidence.wrt != Wrt::Input {
        return false;
    }
    let input = evidence.problem.input();
    let values = evidence
        .rows
        .iter()
        .flat_map(|&row| input.rows::<f64>(row..row + 1));
    let zeros = values.zip(&pair.a).filter(|(_, a)| **a == 0.0);
    let (same, all) = zeros.fold((0, 0), |(same, all), (x, _)| {
        (same + usize::from(x == 0.0), all + 1)
    });
    10 * same > 9 * all
}
