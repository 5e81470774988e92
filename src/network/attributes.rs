//! The settings of a layer or a loss.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A setting of a layer or a loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// True or false, such as `training`.
    Flag(bool),
    /// A number, such as `eps`.
    Number(f64),
    /// A word, such as `approximate`.
    Text(String),
    /// Numbers, such as `shape`.
    Numbers(Vec<f64>),
}

/// The settings of a layer or a loss, by PyTorch's names.
pub type Attributes = BTreeMap<String, Attribute>;

/// The settings of a node, as its function asks for them. What it does not ask for is refused.
pub(super) struct Settings<'a> {
    /// The name of the node, for messages.
    pub(super) node: &'a str,
    attributes: &'a Attributes,
    asked: BTreeSet<String>,
}

impl<'a> Settings<'a> {
    pub(super) fn new(node: &'a str, attributes: &'a Attributes) -> Self {
        Self {
            node,
            attributes,
            asked: BTreeSet::new(),
        }
    }

    /// Returns a setting, if it is given.
    fn get(&mut self, name: &str) -> Option<&'a Attribute> {
        self.asked.insert(name.to_owned());
        self.attributes.get(name)
    }

    /// Returns a number.
    ///
    /// # Errors
    /// [`Error::Model`] if the setting is none.
    pub(super) fn number(&mut self, name: &str, default: f64) -> Result<f64> {
        match self.get(name) {
            None => Ok(default),
            Some(Attribute::Number(value)) if value.is_finite() => Ok(*value),
            Some(_) => Err(self.failed(format!("its {name} must be a number"))),
        }
    }

    /// Returns a number, or `None` if there is no such setting.
    ///
    /// # Errors
    /// Those of [`Settings::number`].
    pub(super) fn optional_number(&mut self, name: &str) -> Result<Option<f64>> {
        match self.get(name) {
            None => Ok(None),
            Some(_) => self.number(name, 0.0).map(Some),
        }
    }

    /// Returns numbers, or `None` if there is no such setting.
    ///
    /// # Errors
    /// [`Error::Model`] if the setting is a word.
    pub(super) fn numbers(&mut self, name: &str) -> Result<Option<Vec<f64>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Attribute::Numbers(values)) => Ok(Some(values.clone())),
            Some(Attribute::Number(value)) => Ok(Some(vec![*value])),
            Some(_) => Err(self.failed(format!("its {name} must be numbers"))),
        }
    }

    /// Returns a flag, by default false.
    ///
    /// # Errors
    /// [`Error::Model`] if the setting is none.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Attribute::Flag(flag)) => Ok(*flag),
            Some(_) => Err(self.failed(format!("its {name} must be true or false"))),
        }
    }

    /// Returns one of these words, by default the first.
    ///
    /// # Errors
    /// [`Error::Model`] if the setting is none of them.
    pub(super) fn word(&mut self, name: &str, words: &[&'static str]) -> Result<&'static str> {
        let given = match self.get(name) {
            None => return Ok(words[0]),
            Some(Attribute::Text(word)) => words.iter().find(|it| *it == word),
            Some(_) => None,
        };
        let expected = || self.failed(format!("its {name} must be {}", words.join(" or ")));
        given.copied().ok_or_else(expected)
    }

    /// Requires that every setting was asked for.
    ///
    /// # Errors
    /// [`Error::Model`] for one that was not.
    pub(super) fn finish(&self) -> Result<()> {
        let mut names = self.attributes.keys();
        match names.find(|name| !self.asked.contains(*name)) {
            Some(name) => Err(self.failed(format!("it has no attribute {name}"))),
            None => Ok(()),
        }
    }

    /// Returns an error on this node.
    pub(super) fn failed(&self, reason: impl Into<String>) -> Error {
        Error::model(self.node, reason)
    }
}
