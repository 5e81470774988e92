//! `class-weights-missing`: class weights on one side only.

use super::{
    evidence::{Evidence, target},
    hypothesis::{Hypothesis, number},
    pair::Pair,
};
use crate::{
    loss::{CrossEntropy, Target},
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if evidence.is_weighted() {
        missing(evidence, pair)
    } else {
        undeclared(evidence, pair)
    }
}

/// The file has them, the gradient does not.
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
    let name = evidence.name();
    Some(Hypothesis::new(
        Code::ClassWeightsMissing,
        after,
        "compared without class weights",
        format!("{name} is the gradient without class weights, and the loss has them"),
        "multiply each row by class_weight[target], and divide by class_weight[target].sum() where the loss is a mean: cross_entropy(..., weight=class_weight)",
    ))
}

/// The gradient has them, the file does not: every row of a class is off by that class's own factor.
fn undeclared(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if evidence.wrt.is_parameter() || !matches!(evidence.problem.target(), Target::Classes(_)) {
        return None;
    }
    let k = evidence.problem.k();
    let mut rows = vec![0; k];
    let label = |entry: usize| evidence.problem.label(evidence.rows[entry / pair.columns]);
    for row in (0..pair.rows()).filter(|&row| pair.row(row).any(|e| pair.is_live(e))) {
        if let Some(class) = label(row * pair.columns) {
            rows[class] += 1;
        }
    }
    let factors = pair.scales(k, label);
    let known = || {
        factors
            .iter()
            .zip(&rows)
            .filter(|(factor, _)| factor.is_finite())
    };
    // A factor a row explains anything; classes that are off must have several rows.
    let uncertainty = pair.scale_uncertainty();
    let off = || known().filter(|(factor, _)| (**factor - 1.0).abs() > uncertainty);
    let (classes, met) = (off().count(), off().map(|(_, rows)| rows).sum::<usize>());
    if classes < 2 || met < classes + 2 || known().any(|(factor, _)| !(*factor > 0.0)) {
        return None;
    }
    let after = pair.divided_by(|entry| {
        let factor = label(entry).map_or(1.0, |class| factors[class]);
        if factor.is_finite() { factor } else { 1.0 }
    });
    if !after.is_explained() {
        return None;
    }
    let largest = off().map(|(factor, _)| *factor).fold(0.0, f64::max);
    let smallest = off()
        .map(|(factor, _)| *factor)
        .fold(f64::INFINITY, f64::min);
    let is_off = |class: &usize| (factors[*class] - 1.0).abs() > uncertainty;
    let which = if classes == known().count() {
        "each class".to_owned()
    } else {
        format!("each of {classes} classes")
    };
    let name = evidence.name();
    Some(
        Hypothesis::new(
            Code::ClassWeightsMissing,
            after,
            "with each class's rows divided by a factor of their own",
            format!("the rows of {which} of {name} are off by a factor of their own, from {} to {}: the gradient has class weights, and none are declared", number(smallest), number(largest)),
            "put the class weights of the loss among the tensors as class_weight, or take them out of the program",
        )
        .classes((0..k).filter(is_off))
        .evidence("smallest factor", smallest)
        .evidence("largest factor", largest),
    )
}
