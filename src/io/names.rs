//! The names of tensors and settings in a file, as users write them.
//!
//! Letter case, and hyphens for underscores, make no difference: a setting that is spelt
//! `label-smoothing` must not be dropped. A name that is still unknown is reported in a note, with
//! the known name that is closest.

use super::archive::Archive;
use crate::{
    error::{Result, list},
    problem::Wrt,
    tensor::Tensor,
};

/// Names that a file may hold beside gradients. The last three are settings.
const KNOWN: [&str; 8] = [
    "input",
    "weight",
    "bias",
    "target",
    "class_weight",
    "reduction",
    "label_smoothing",
    "ignore_index",
];

/// Metadata that no loss depends on: the framework that saved the file, and its version.
const FOREIGN: [&str; 2] = ["format", "torch"];

/// The least similarity of a misspelt name to the known one: 1 less the share of letters to change
/// (Damerau and Levenshtein). Chosen: `label_smooting` reaches 0.93, `inputs` 0.83, `labels` 0.4.
const LEAST_SIMILARITY: f64 = 0.75;

/// Returns all names that gradprobe reads.
fn known() -> impl Iterator<Item = &'static str> {
    KNOWN.into_iter().chain(Wrt::ALL.map(Wrt::grad_name))
}

/// Returns the name that a file uses for the known name `name`, if it holds one: the same name, or
/// the first of `names` that differs only in case and separators.
fn stored<'a>(names: &'a [String], name: &str) -> Option<&'a String> {
    let is_alike = |other: &&String| other.to_lowercase().replace('-', "_") == name;
    let same = names.iter().find(|other| *other == name);
    same.or_else(|| names.iter().find(is_alike))
}

/// An archive whose names may be spelt with capitals and hyphens.
pub(super) struct Spelled<'a>(pub(super) &'a mut dyn Archive);

impl Archive for Spelled<'_> {
    fn names(&self) -> Vec<String> {
        spelled(self.0.names())
    }

    fn metadata(&self) -> Vec<String> {
        spelled(self.0.metadata())
    }

    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        match stored(&self.0.names(), name) {
            Some(stored) => self.0.tensor(stored),
            None => Ok(None),
        }
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        let metadata = self.0.metadata();
        let names = if metadata.is_empty() {
            self.0.names()
        } else {
            metadata
        };
        self.0.setting(stored(&names, name)?)
    }
}

/// Replaces the spellings of known names by these names.
fn spelled(mut names: Vec<String>) -> Vec<String> {
    for known in known() {
        if let Some(index) = stored(&names, known).map(|stored| position(&names, stored)) {
            names[index] = known.to_owned();
        }
    }
    names.sort();
    names
}

fn position(names: &[String], name: &String) -> usize {
    let found = names.iter().position(|other| other == name);
    found.expect("the name is one of the names")
}

/// Returns notes on the tensors and settings with unknown names, which may be misspelt.
pub(super) fn notes(archive: &dyn Archive) -> Vec<String> {
    let mut notes = Vec::new();
    let mut tensors = archive.names();
    tensors.retain(|name| !known().any(|known| known == name));
    if let Some(note) = note("tensor", &tensors) {
        notes.push(note);
    }
    let mut settings = archive.metadata();
    settings.retain(|name| !KNOWN.contains(&&**name) && !FOREIGN.contains(&&**name));
    if let Some(note) = note("setting", &settings) {
        notes.push(note);
    }
    notes
}

fn note(kind: &str, names: &[String]) -> Option<String> {
    let were = match names.len() {
        0 => return None,
        1 => "was",
        _ => "were",
    };
    let plural = if names.len() == 1 { "" } else { "s" };
    let gradients = if names.iter().any(|name| is_like_a_gradient(name)) {
        format!(
            "; gradients are named {}",
            Wrt::ALL.map(Wrt::grad_name).join(", ")
        )
    } else {
        String::new()
    };
    let meant = names.iter().filter_map(|name| {
        let nearest = nearest(name)?;
        Some(if names.len() == 1 {
            nearest.to_owned()
        } else {
            format!("{nearest} for {name}")
        })
    });
    let meant: Vec<String> = meant.take(3).collect();
    let meant = if meant.is_empty() || !gradients.is_empty() {
        String::new()
    } else {
        format!("; perhaps it should be {}", meant.join(", "))
    };
    let names = list(names);
    Some(format!(
        "unknown {kind}{plural} {names} {were} not read{gradients}{meant}"
    ))
}

/// Returns the known name that `name` is most similar to, if it is similar to one.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase().replace('-', "_");
    let similarity = |known: &str| strsim::normalized_damerau_levenshtein(&name, known);
    let nearest = known().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(nearest) >= LEAST_SIMILARITY).then_some(nearest)
}

/// Returns true if a tensor of this name is probably a gradient.
pub(super) fn is_like_a_gradient(name: &str) -> bool {
    name.to_lowercase().contains("grad")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_has_a_nearest_one_and_others_do_not() {
        let near = [
            ("label_smooting", "label_smoothing"),
            ("ignoreindex", "ignore_index"),
            ("Class-Weights", "class_weight"),
            ("targets", "target"),
            ("inputs", "input"),
        ];
        for (name, expected) in near {
            assert_eq!(nearest(name), Some(expected), "{name}");
        }
        for name in ["labels", "epoch", "learning_rate", "y", "model_state"] {
            assert_eq!(nearest(name), None, "{name}");
        }
    }

    #[test]
    fn an_exact_name_comes_before_another_spelling() {
        let names = ["Bias", "bias", "GRAD-WEIGHT"].map(str::to_owned);
        assert_eq!(stored(&names, "bias").unwrap(), "bias");
        assert_eq!(stored(&names, "grad_weight").unwrap(), "GRAD-WEIGHT");
        assert_eq!(stored(&names, "grad"), None);
        let known = ["Bias", "bias", "grad_weight"].map(str::to_owned);
        assert_eq!(spelled(names.to_vec()), known);
    }
}
