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
    if wrt.is_parameter() { "class" } else { "row" }
}

/// `row 3`, `rows 3 and 7`.
pub(super) fn counted(noun: &str, set: &crate::report::Ranges) -> String {
    match set.len() {
        1 => format!("{noun} {set}"),
        _ => format!("{} {set}", plural(noun)),
    }
}

/// `rows`, `classes`.
pub(super) fn plural(noun: &str) -> String {
    match noun {
        "class" => "classes".to_owned(),
        noun => format!("{noun}s"),
    }
}

impl Evidence<'_> {
    /// The gradient's name in the file.
    pub(super) fn name(&self) -> &'static str {
        self.wrt.grad_name()
    }
}
