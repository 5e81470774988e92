//! Counts of the wrong entries by row, by column and by the class of the row's target.

use serde::{Deserialize, Serialize};

use super::Ranges;

/// The wrong entries of a gradient, counted along its rows, columns and target classes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongPlaces {
    /// The rows with a wrong entry.
    pub rows: Ranges,
    /// The number of wrong entries of each column; empty if no entry is wrong.
    pub columns: Vec<u64>,
    /// The number of wrong entries, and of all entries, in the rows of each target class; empty if
    /// rows are not samples or targets are not classes.
    pub classes: Vec<[u64; 2]>,
}

impl WrongPlaces {
    /// Adds the counts of another part.
    pub fn merge(&mut self, other: Self) {
        self.rows.merge(other.rows);
        let length = self.columns.len().max(other.columns.len());
        self.columns.resize(length, 0);
        for (count, other) in self.columns.iter_mut().zip(other.columns) {
            *count += other;
        }
        let length = self.classes.len().max(other.classes.len());
        self.classes.resize(length, [0; 2]);
        for ([wrong, all], other) in self.classes.iter_mut().zip(other.classes) {
            *wrong += other[0];
            *all += other[1];
        }
    }

    /// Returns the columns with a wrong entry.
    pub fn wrong_columns(&self) -> Ranges {
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(_, wrong)| **wrong > 0)
            .map(|(column, _)| column)
            .collect()
    }

    /// Returns the target classes whose rows have a wrong entry.
    pub fn wrong_classes(&self) -> Ranges {
        let classes = self.classes.iter().enumerate();
        classes
            .filter(|(_, [wrong, _])| *wrong > 0)
            .map(|(class, _)| class)
            .collect()
    }

    /// Returns the number of target classes that have rows.
    pub fn classes_met(&self) -> usize {
        self.classes.iter().filter(|[_, all]| *all > 0).count()
    }
}
