//! The layers of a network that are wrong.

use crate::report::{Check, Report, Verdict};

/// Returns the layers of a network that are wrong by themselves, or `None` if none is.
pub fn layers(report: &Report) -> Option<String> {
    let checks = report.checks.iter();
    let wrong = checks.filter(|check| check.verdict == Verdict::Fail && check.layer.is_some());
    let mut all: Vec<Vec<&str>> = Vec::new();
    for suspects in wrong.map(suspects) {
        if !all.contains(&suspects) {
            all.push(suspects);
        }
    }
    // A tensor is explained by a fault among fewer layers, which its own include.
    let is_explained = |suspects: &Vec<&str>| {
        let is_within = |fewer: &&Vec<&str>| {
            fewer.len() < suspects.len() && fewer.iter().all(|it| suspects.contains(it))
        };
        all.iter().any(|fewer| is_within(&fewer))
    };
    let least: Vec<&Vec<&str>> = all.iter().filter(|it| !is_explained(it)).collect();
    let (alone, among): (Vec<&Vec<&str>>, Vec<&Vec<&str>>) =
        least.into_iter().partition(|suspects| suspects.len() == 1);
    let mut sentences = Vec::new();
    if !alone.is_empty() {
        let names: Vec<&str> = alone.into_iter().flatten().copied().collect();
        let themselves = if names.len() == 1 {
            "itself"
        } else {
            "themselves"
        };
        let consequences = consequences(report);
        sentences.push(format!(
            "Wrong by {themselves}: {}. Every other layer is right, given the gradient that it was \
             handed{consequences}.",
            names.join(", ")
        ));
    }
    for suspects in among {
        sentences.push(format!(
            "Wrong: one of {}. No gradient between them is given; save them, and the layer is \
             named.",
            suspects.join(", ")
        ));
    }
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// Returns the layers that may be wrong.
fn suspects(check: &Check) -> Vec<&str> {
    if check.suspects.is_empty() {
        return check.layer.as_deref().into_iter().collect();
    }
    check.suspects.iter().map(String::as_str).collect()
}

fn consequences(report: &Report) -> String {
    let all = report.checks.iter().filter(|check| check.consequence);
    let all: Vec<&str> = all.map(|check| check.name()).collect();
    match all.as_slice() {
        [] => String::new(),
        [one] => format!("; {one} is wrong as a consequence"),
        all => format!("; wrong as a consequence: {}", list(all)),
    }
}

/// Returns names with commas between them, at most some of them.
fn list(names: &[&str]) -> String {
    const SHOWN: usize = 6;
    match names.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
