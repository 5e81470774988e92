//! The names of tensors and settings in a file, as users write them.
//!
//! Letter case, and hyphens for underscores, make no difference: a setting that is spelt
//! `label-smoothing` must not be dropped. A name that is still unknown is reported in a note, with
//! the known name that is closest.

use std::collections::{BTreeMap, btree_map::Entry};

use super::archive::Archive;
use crate::{
    error::{Result, list},
    problem::Wrt,
    tensor::Tensor,
};

/// Names that a file may hold beside gradients. Those from `reduction` on are settings.
const KNOWN: [&str; 13] = [
    "input",
    "weight",
    "bias",
    "logits",
    "target",
    "class_weight",
    "sample_weight",
    "reduction",
    "label_smoothing",
    "ignore_index",
    "normalizer",
    "weight_layout",
    "computed_in",
];

/// Metadata that no loss depends on: the framework that saved the file, and its version.
const FOREIGN: [&str; 2] = ["format", "torch"];

/// The least similarity of a misspelt name to the known one: 1 less the share of letters to change
/// (Damerau and Levenshtein). Chosen: `label_smooting` reaches 0.93, `inputs` 0.83, `labels` 0.4.
const LEAST_SIMILARITY: f64 = 0.75;
/// The longest name, in bytes, that is compared with the known ones: strangers may send names of
/// megabytes. Chosen: the longest known name has 15 letters, so one of more than 20 cannot be
/// similar, and a letter in UTF-8 has at most 4 bytes.
const LONGEST: usize = 80;
/// Unknown names that are compared with the known ones, of maybe a hundred thousand. Chosen.
const MOST_COMPARED: usize = 1000;

/// Returns all names that gradprobe reads.
fn known() -> impl Iterator<Item = &'static str> {
    KNOWN.into_iter().chain(Wrt::ALL.map(Wrt::grad_name))
}

/// Returns a name in the letter case and with the separators of the known names.
fn canonical(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// The names of one kind in a file, and the spellings of the known ones.
struct Spellings {
    /// All names, sorted; a known name stands for its spelling.
    names: Vec<String>,
    /// The spelling of each known name that the file holds.
    stored: BTreeMap<&'static str, String>,
}

impl Spellings {
    /// A name that equals a known one comes before other spellings of it, and those count in the
    /// order of `names`.
    fn new(mut names: Vec<String>) -> Self {
        let same = known().filter(|known| names.iter().any(|name| name == known));
        let mut stored: BTreeMap<_, _> = same.map(|known| (known, known.to_owned())).collect();
        for name in &mut names {
            let canonical = canonical(name);
            if let Some(known) = known().find(|known| *known == canonical)
                && let Entry::Vacant(place) = stored.entry(known)
            {
                place.insert(std::mem::replace(name, canonical));
            }
        }
        names.sort();
        Self { names, stored }
    }
}

/// An archive whose names may be spelt with capitals and hyphens.
pub(super) struct Spelled<'a> {
    archive: &'a mut dyn Archive,
    tensors: Spellings,
    metadata: Spellings,
}

impl<'a> Spelled<'a> {
    pub(super) fn new(archive: &'a mut dyn Archive) -> Self {
        Self {
            tensors: Spellings::new(archive.names()),
            metadata: Spellings::new(archive.metadata()),
            archive,
        }
    }
}

impl Archive for Spelled<'_> {
    fn names(&self) -> Vec<String> {
        self.tensors.names.clone()
    }

    fn metadata(&self) -> Vec<String> {
        self.metadata.names.clone()
    }

    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        match self.tensors.stored.get(name) {
            Some(stored) => self.archive.tensor(stored),
            None => Ok(None),
        }
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        let spellings = if self.metadata.names.is_empty() {
            &self.tensors
        } else {
            &self.metadata
        };
        self.archive.setting(spellings.stored.get(name)?)
    }
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
    let meant = names.iter().take(MOST_COMPARED).filter_map(|name| {
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
    if name.len() > LONGEST {
        return None;
    }
    let name = canonical(name);
    let similarity = |known: &str| strsim::normalized_damerau_levenshtein(&name, known);
    let nearest = known().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(nearest) >= LEAST_SIMILARITY).then_some(nearest)
}

/// Returns true if a tensor of this name is probably a gradient.
fn is_like_a_gradient(name: &str) -> bool {
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
        let names = ["Bias", "GRAD-WEIGHT", "bias", "grad_Weight"].map(str::to_owned);
        let spellings = Spellings::new(names.to_vec());
        assert_eq!(spellings.stored["bias"], "bias");
        assert_eq!(spellings.stored["grad_weight"], "GRAD-WEIGHT");
        assert_eq!(spellings.stored.get("grad"), None);
        let known = ["Bias", "bias", "grad_Weight", "grad_weight"];
        assert_eq!(spellings.names, known);
    }
}
