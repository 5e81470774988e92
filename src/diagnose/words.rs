//! Words that several rules use.

use super::evidence::Evidence;
use crate::problem::Wrt;

/// The variable that the gradient belongs to, as a PyTorch program calls it.
pub(super) fn variable(wrt: Wrt) -> &'static str {
    match wrt {
        Wrt::Input => "x",
        Wrt::Logits => "logits",
        Wrt::Weight => "layer.weight",
        Wrt::Bias => "layer.bias",
    }
}

/// What a row of the gradient stands for.
pub(super) fn row(wrt: Wrt) -> &'static str {
    match wrt.is_parameter() {
        true => "class",
        false => "row",
    }
}

/// `row 3`, `rows 3 and 7`.
pub(super) fn counted(noun: &str, set: &crate::report::Ranges) -> String {
    match (set.len(), noun) {
        (1, _) => format!("{noun} {set}"),
        (_, "class") => format!("classes {set}"),
        _ => format!("{noun}s {set}"),
    }
}

impl Evidence<'_> {
    /// The gradient's name in the file.
    pub(super) fn name(&self) -> &'static str {
        self.wrt.grad_name()
    }
}
