//! The layers of a network that are wrong.

use crate::report::{Report, Verdict};

/// Returns the layers of a network that are wrong by themselves, or `None` if none is.
pub fn layers(report: &Report) -> Option<String> {
    let checks = report.checks.iter();
    let wrong = checks.filter(|check| check.verdict == Verdict::Fail);
    let mut names: Vec<&str> = Vec::new();
    for name in wrong.filter_map(|check| check.layer.as_deref()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let themselves = match names.len() {
        0 => return None,
        1 => "itself",
        _ => "themselves",
    };
    Some(format!(
        "Wrong by {themselves}: {}. Every other layer is right, given the gradient that it was \
         handed.",
        names.join(", ")
    ))
}
