//! `class-weights-missing`: class weights on one side only.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        losses::target,
        pair::Pair,
        words::{Words, number},
    },
    loss::{CrossEntropy, Target},
    report::Code,
};

/// Least number of rows beyond the first of their class: one factor per row fits anything.
const LEAST_REPEATED: usize = 2;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if evidence.is_weighted() {
        missing(evidence, pair)
    } else {
        undeclared(evidence, pair)
    }
}

/// Tests a gradient without the class weights that the file has.
fn missing(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let plain = evidence.problem.with_loss(CrossEntropy {
        class_weight: None,
        ..evidence.problem.loss().clone()
    })?;
    let ratio = evidence.problem.normalizer() / plain.normalizer();
    let after = evidence.explains(pair, &evidence.layer, &|sample, soft, hard| {
        let total = target(&plain, sample.index, hard);
        for ((soft, hard), p) in soft.iter_mut().zip(hard).zip(sample.softmax) {
            *soft = ratio * total * p;
            *hard *= ratio;
        }
    })?;
    let words = words_of_missing(evidence);
    Some(Hypothesis::new(Code::ClassWeightsMissing, after, words))
}

/// Tests a gradient with class weights that the file does not have: all rows of a class are off by
/// the same factor.
fn undeclared(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if evidence.wrt.is_parameter() || !matches!(evidence.problem.target(), Target::Classes(_)) {
        return None;
    }
    let k = evidence.problem.k();
    let label = |entry: usize| evidence.problem.label(evidence.rows[entry / pair.columns]);
    let mut rows = vec![0; k];
    for row in (0..pair.rows()).filter(|&row| pair.row(row).any(|e| pair.is_live(e))) {
        if let Some(class) = label(row * pair.columns) {
            rows[class] += 1;
        }
    }
    let factors = pair.scales(k, label);
    let known: Vec<usize> = (0..k).filter(|&class| factors[class].is_finite()).collect();
    let uncertainty = pair.scale_uncertainty();
    let is_off = |class: &&usize| (factors[**class] - 1.0).abs() > uncertainty;
    let off: Vec<usize> = known.iter().filter(is_off).copied().collect();
    let met: usize = off.iter().map(|&class| rows[class]).sum();
    let is_positive = known.iter().all(|&class| factors[class] > 0.0);
    if off.len() < 2 || met < off.len() + LEAST_REPEATED || !is_positive {
        return None;
    }
    let after = pair.divided_by(|entry| {
        let factor = label(entry).map_or(1.0, |class| factors[class]);
        if factor.is_finite() { factor } else { 1.0 }
    });
    if !after.is_explained() {
        return None;
    }
    let off_factors = || off.iter().map(|&class| factors[class]);
    let smallest = off_factors().fold(f64::INFINITY, f64::min);
    let largest = off_factors().fold(0.0, f64::max);
    let which = if off.len() == known.len() {
        "each class".to_owned()
    } else {
        format!("each of {} classes", off.len())
    };
    let words = words_of_undeclared(evidence, &which, [smallest, largest]);
    Some(
        Hypothesis::new(Code::ClassWeightsMissing, after, words)
            .classes(off)
            .evidence("smallest factor", smallest)
            .evidence("largest factor", largest),
    )
}

fn words_of_missing(evidence: &Evidence) -> Words {
    let name = evidence.name();
    Words {
        message: format!("{name} is the gradient without class weights, but the loss has them"),
        correction: "compared without class weights".into(),
        fix: "pass the weights to the loss, cross_entropy(..., weight=class_weight): it \
              multiplies each row by class_weight[target], and a mean divides by \
              class_weight[target].sum()"
            .into(),
        ..Words::default()
    }
}

fn words_of_undeclared(evidence: &Evidence, which: &str, range: [f64; 2]) -> Words {
    let (name, [smallest, largest]) = (evidence.name(), range.map(number));
    Words {
        message: format!(
            "the rows of {which} in {name} are off by one factor, from {smallest} to {largest}: \
             the gradient has class weights that the file does not declare"
        ),
        correction: "with each class's rows divided by one factor".into(),
        fix: "save the class weights of the loss in the file, as class_weight, or remove them \
              from the loss"
            .into(),
        ..Words::default()
    }
}
