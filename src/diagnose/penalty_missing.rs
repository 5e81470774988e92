//! `penalty-missing`: a quadratic term on one side only.

use super::{
    evidence::{Datum, Evidence},
    hypothesis::{Hypothesis, number},
    model::regress,
    pair::Pair,
    words::variable,
};
use crate::{problem::Wrt, report::Code};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let own = own_values(evidence);
    let fit = regress(pair, &pair.g, &own)?;
    if !(fit.share > 0.5) {
        return None;
    }
    let u = pair.dtype.unit_roundoff();
    let term = |entry: usize| fit.beta * own[entry];
    let mut after = pair.with(
        pair.a
            .iter()
            .enumerate()
            .map(|(e, a)| a - term(e))
            .collect(),
    );
    // The term is rounded too, as is the sum; and a logit is itself a sum, of terms as large as its row's largest.
    for row in 0..pair.rows() {
        let largest = pair.row(row).map(|e| term(e).abs()).fold(0.0, f64::max);
        for entry in pair.row(row) {
            let rounded = match evidence.wrt {
                Wrt::Logits => 4.0 * largest,
                _ => term(entry).abs(),
            };
            after.allowed[entry] += 64.0 * u * rounded;
        }
    }
    if !after.is_informative() || !(after.is_explained() || after.is_scaled()) {
        return None;
    }
    let lambda = fit.beta / fit.alpha;
    let (name, variable, text) = (evidence.name(), variable(evidence.wrt), number(lambda));
    let (decay, size) = match (evidence.wrt.is_parameter(), lambda > 0.0) {
        (true, true) => ("weight decay, or an L2 penalty", number(lambda)),
        (false, true) => ("an L2 penalty", number(lambda)),
        (_, false) => ("minus a quadratic penalty", number(-lambda)),
    };
    Some(
        Hypothesis::new(
            Code::PenaltyMissing,
            after,
            format!("without {text}·{variable}"),
            format!("{name} is the derivative plus {text} times {variable} itself: {decay} of {size}/2·|{variable}|² is in the gradient and not in the loss"),
            format!("take the penalty out of the loss that you differentiate (weight_decay=0 while checking), or subtract {text}·{variable} before you save the gradient"),
        )
        .evidence("lambda", lambda),
    )
}

/// What the gradient is taken with respect to, at the entries that are looked at.
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
