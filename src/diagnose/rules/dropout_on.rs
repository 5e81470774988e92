//! `dropout-on`: zeros at random, with the other entries scaled up.

use crate::{
    diagnose::{
        errors::unevenness,
        evidence::Evidence,
        hypothesis::Hypothesis,
        pair::Pair,
        words::{Words, number},
    },
    problem::Wrt,
    report::Code,
};

/// Least number of zeros. Chosen.
const LEAST: usize = 4;
/// Largest share of zeros. Chosen.
const LARGEST_SHARE: f64 = 0.95;
/// Largest unevenness of random zeros over rows and columns. Chosen.
const ALIKE: f64 = 2.5;
/// Least mean magnitude of the right entries at the zeros, relative to that of all. Chosen: entries
/// that became zero because they are small have less.
const LEAST_SIZE: f64 = 0.7;
/// Ratio of rows or columns that are all zero to those that are zero in part, above which the zeros
/// count as whole rows or columns. Chosen.
const WHOLE: usize = 4;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let zeros = Zeros::of(pair);
    let share = zeros.count as f64 / zeros.all as f64;
    if zeros.count < LEAST || share > LARGEST_SHARE || !zeros.are_random(share) {
        return None;
    }
    let rest = pair.without(|entry| pair.a[entry] == 0.0);
    if !rest.is_scaled() || zeros_are_of_input(evidence, pair) {
        return None;
    }
    // Dropout with probability p scales by 1/(1 - p). The share drawn is p within five standard
    // deviations.
    let probability = 1.0 - 1.0 / rest.scale();
    let by_chance = 5.0 * (share * (1.0 - share) / zeros.all as f64).sqrt();
    let is_scaled = (probability - share).abs() <= by_chance;
    if !is_scaled && pair.columns == 1 {
        return None;
    }
    let (after, factor) = if is_scaled {
        (rest.divided(rest.scale()), rest.scale())
    } else {
        (rest, 1.0)
    };
    let words = words(evidence, share, is_scaled, factor);
    Some(
        Hypothesis::new(Code::DropoutOn, after, words)
            .confidence(if is_scaled { 0.95 } else { 0.6 })
            .evidence("share of zeros", share)
            .evidence("scale", factor),
    )
}

/// Zeros among the entries that should not be zero.
struct Zeros {
    count: usize,
    /// Entries that should not be zero.
    all: usize,
    /// Zeros and entries of each row.
    by_row: Vec<[f64; 2]>,
    /// Zeros and entries of each column.
    by_column: Vec<[f64; 2]>,
    /// Sum of |g| over the zeros, and over all.
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
        for it in pair.live().filter(|it| !(it.g.abs() <= it.allowed)) {
            let is_zero = f64::from(u8::from(it.a == 0.0));
            zeros.count += usize::from(it.a == 0.0);
            zeros.all += 1;
            let counts = [
                &mut zeros.by_row[it.entry / pair.columns],
                &mut zeros.by_column[it.entry % pair.columns],
            ];
            for count in counts {
                *count = [count[0] + is_zero, count[1] + 1.0];
            }
            let size = it.g.abs();
            zeros.size = [zeros.size[0] + is_zero * size, zeros.size[1] + size];
        }
        zeros
    }

    /// Returns true if rows, columns and large entries have the expected share of zeros.
    fn are_random(&self, share: f64) -> bool {
        let (rows, columns) = (&self.by_row, &self.by_column);
        if (columns.len() > 1 && come_whole(rows)) || (rows.len() > 1 && come_whole(columns)) {
            return false;
        }
        // Zeros that are drawn with a probability of `share` have a binomial count.
        let variance = share * (1.0 - share);
        let is_even = |counts: &[[f64; 2]]| {
            let known = counts.iter().filter(|[_, all]| *all > 0.0);
            let deviations =
                known.map(|[zeros, all]| (zeros - share * all).powi(2) / (all * variance));
            counts.len() == 1 || unevenness(deviations) < ALIKE
        };
        is_even(rows) && is_even(columns) && self.size[0] >= LEAST_SIZE * share * self.size[1]
    }
}

/// Returns true if zeros come in whole rows or columns, which has another cause.
fn come_whole(counts: &[[f64; 2]]) -> bool {
    let with_zeros = counts.iter().filter(|[zeros, _]| *zeros > 0.0);
    let (whole, parts): (Vec<&[f64; 2]>, Vec<&[f64; 2]>) =
        with_zeros.partition(|[zeros, all]| zeros == all);
    whole.len() > WHOLE * parts.len()
}

/// Returns true if nine zeros in ten lie where the input is zero: an activation causes such zeros.
fn zeros_are_of_input(evidence: &Evidence, pair: &Pair) -> bool {
    if evidence.wrt != Wrt::Input {
        return false;
    }
    let input = evidence.problem.input();
    let rows = evidence.rows.iter();
    let values = rows.flat_map(|&row| input.rows::<f64>(row..row + 1));
    let zeros = values.zip(&pair.a).filter(|(_, a)| **a == 0.0);
    let (same, all) = zeros.fold((0, 0), |(same, all), (x, _)| {
        (same + usize::from(x == 0.0), all + 1)
    });
    10 * same > 9 * all
}

fn words(evidence: &Evidence, share: f64, is_scaled: bool, factor: f64) -> Words {
    let (name, factor) = (evidence.name(), number(factor));
    let percent = number((1000.0 * share).round() / 10.0);
    let rest = if is_scaled {
        format!("{factor} times the correct gradient: dropout was active in the backward pass")
    } else {
        "right up to one factor: a random mask, such as dropout without its scaling".to_owned()
    };
    Words {
        message: format!(
            "{percent} % of the entries of {name} are zero without a pattern, and the others are \
             {rest}"
        ),
        correction: format!("without the zeros, the rest divided by {factor}"),
        fix: "call model.eval() before the pass that you check (train=False or deterministic=True \
              in JAX libraries), or apply the same mask to the file's input"
            .into(),
        ..Words::default()
    }
}
