//! `penalty-missing`: a quadratic term on one side only.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        least_squares::regress,
        losses::Datum,
        pair::Pair,
        words::{Words, number, variable},
    },
    problem::Wrt,
    report::Code,
};

/// Least share of the errors that the term must explain. Chosen.
const LEAST_SHARE: f64 = 0.5;
/// Smallest factor that counts as two passes. Chosen.
const TWO_PASSES: f64 = 1.5;
/// Number of roundings of the term that the bounds allow for. Chosen.
const ROUNDINGS: f64 = 64.0;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let own = own_values(evidence);
    let fit = regress(pair, &pair.g, &own)?;
    if !(fit.share > LEAST_SHARE) {
        return None;
    }
    let term: Vec<f64> = own.iter().map(|own| fit.beta * own).collect();
    let mut after = pair.less(1.0, &term);
    allow_rounding(&mut after, &term, evidence.wrt);
    if !after.leaves_one_factor() {
        return None;
    }
    let lambda = fit.beta / fit.alpha;
    // Passes summed while the weights descended look like this: over one sample, the change of the
    // input's gradient is nearly a multiple of the input.
    if lambda < 0.0 && fit.alpha > TWO_PASSES {
        return None;
    }
    let words = words(evidence, lambda);
    Some(Hypothesis::new(Code::PenaltyMissing, after, words).evidence("lambda", lambda))
}

/// Widens the bounds by the rounding of the term and of the sum with it. A logit is itself a sum,
/// whose terms are taken to be as large as the largest logit of its row.
fn allow_rounding(after: &mut Pair, term: &[f64], wrt: Wrt) {
    let u = after.dtype.unit_roundoff();
    for row in 0..after.rows() {
        let entries = after.row(row);
        let largest = entries.clone().map(|e| term[e].abs()).fold(0.0, f64::max);
        for entry in entries {
            let rounded = match wrt {
                Wrt::Logits => 4.0 * largest,
                _ => term[entry].abs(),
            };
            after.allow_more(entry, ROUNDINGS * u * rounded);
        }
    }
}

/// Returns the values of the differentiated variable at the chosen rows.
fn own_values(evidence: &Evidence) -> Vec<f64> {
    match evidence.wrt {
        Wrt::Weight => {
            let d = evidence.problem.d();
            let row = |&class: &usize| &evidence.layer.weight[class * d..][..d];
            evidence.rows.iter().flat_map(row).copied().collect()
        }
        Wrt::Bias => evidence
            .rows
            .iter()
            .map(|&class| evidence.layer.bias[class])
            .collect(),
        Wrt::Input => {
            let input = evidence.problem.input();
            evidence
                .rows
                .iter()
                .flat_map(|&row| input.rows::<f64>(row..row + 1))
                .collect()
        }
        Wrt::Logits => {
            let z = evidence.problem.normalizer();
            let own = |sample: &Datum, soft: &mut [f64], _: &mut [f64]| {
                soft.iter_mut()
                    .zip(sample.logits)
                    .for_each(|(soft, logit)| *soft = z * logit);
            };
            evidence.predict(&evidence.layer, &own)
        }
    }
}

fn words(evidence: &Evidence, lambda: f64) -> Words {
    let (name, variable, text) = (evidence.name(), variable(evidence.wrt), number(lambda));
    let (penalty, size) = match (evidence.wrt.is_parameter(), lambda > 0.0) {
        (true, true) => ("weight decay, or an L2 penalty", number(lambda)),
        (false, true) => ("an L2 penalty", number(lambda)),
        (_, false) => ("minus a quadratic penalty", number(-lambda)),
    };
    Words {
        message: format!(
            "{name} is the correct gradient plus {text} times {variable}: {penalty} of \
             {size}/2·|{variable}|² is in the gradient but not in the loss"
        ),
        correction: format!("without {text}·{variable}"),
        fix: format!(
            "remove the penalty from the loss that you differentiate (weight_decay=0 while \
             checking), or subtract {text}·{variable} before saving the gradient"
        ),
        ..Words::default()
    }
}
