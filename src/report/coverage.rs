//! The rows of a gradient that a check compared.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Ranges, ranges};
use crate::number;

/// The rows of a gradient that were compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Rows that were compared.
    pub compared: usize,
    /// Rows of the gradient.
    pub of: usize,
    /// The rows that were compared, by index; JSON has the first hundred ranges.
    #[serde(with = "ranges::first_hundred")]
    pub ranges: Ranges,
    /// The random draw that chose the rows, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<Draw>,
}

/// A random draw of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draw {
    /// The seed of the random numbers.
    pub seed: u64,
    /// The rows that were drawn from.
    #[serde(with = "ranges::inclusive")]
    pub from: Range<usize>,
    /// The share of wrong rows that the draw misses with a probability of 1 %.
    #[serde(with = "number")]
    pub seen_share: f64,
}

impl Coverage {
    /// Returns the coverage of `ranges`, out of `of` rows.
    pub fn new(ranges: Ranges, of: usize) -> Self {
        Self {
            compared: ranges.len(),
            of,
            ranges,
            draw: None,
        }
    }

    /// Returns the coverage of rows drawn at random from `from` with `seed`.
    pub fn drawn(ranges: Ranges, of: usize, seed: u64, from: Range<usize>) -> Self {
        let draw = Draw {
            seed,
            from,
            seen_share: seen_share(ranges.len()),
        };
        Self {
            draw: Some(draw),
            ..Self::new(ranges, of)
        }
    }

    /// Returns true if every row was compared.
    pub fn is_whole(&self) -> bool {
        self.compared == self.of
    }

    /// Adds the rows of another part. Keeps the draw if both parts come from it.
    pub fn merge(&mut self, other: Self) {
        self.ranges.merge(other.ranges);
        self.compared = self.ranges.len();
        let is_same = |draw: &Draw| {
            let draw_of = |draw: &Draw| (draw.seed, draw.from.clone());
            other.draw.as_ref().map(draw_of) == Some(draw_of(draw))
        };
        self.draw = self.draw.take().filter(is_same);
        if let Some(draw) = &mut self.draw {
            draw.seen_share = seen_share(self.compared);
        }
    }
}

/// Returns the share p of wrong rows that `rows` random rows all miss with a probability of 1 %:
/// `(1 - p)^rows = 0.01`.
fn seen_share(rows: usize) -> f64 {
    1.0 - 0.01f64.powf(1.0 / rows as f64)
}
