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
    let consequences = report.checks.iter().filter(|check| check.consequence);
    let consequences: Vec<&str> = consequences.map(|check| check.name()).collect();
    let consequences = match consequences.as_slice() {
        [] => String::new(),
        [one] => format!("; {one} is wrong as a consequence"),
        all => format!("; wrong as a consequence: {}", list(all)),
    };
    Some(format!(
        "Wrong by {themselves}: {}. Every other layer is right, given the gradient that it was \
         handed{consequences}.",
        names.join(", ")
    ))
}

/// Returns names with commas between them, at most some of them.
fn list(names: &[&str]) -> String {
    const SHOWN: usize = 6;
    match names.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
