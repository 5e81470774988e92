//! `bias-missing`: the layer without its bias.

use super::{
    case::Case,
    evidence::{Evidence, Layer, cross_entropy},
    hypothesis::Hypothesis,
};

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    let bias = &evidence.layer.bias;
    // A constant moves no softmax.
    if bias.iter().all(|b| *b == bias[0]) {
        return None;
    }
    let without = Layer {
        bias: vec![0.0; bias.len()],
        ..evidence.layer.clone()
    };
    let after = evidence.explains(case, &without, &cross_entropy)?;
    let name = evidence.name();
    Some(Hypothesis::new(
        "bias-missing",
        after,
        "compared without the bias",
        format!("{name} is the gradient of the layer without its bias"),
        "add the bias in the forward pass that made it (x @ weight.T + bias), or leave it out of the file if the layer has none",
    ))
}
