//! The rows of a problem that one check covers.

use std::{borrow::Cow, ops::Range};

use rand::{SeedableRng, rngs::ChaCha8Rng};

use super::{Options, RandomRows};
use crate::{
    error::Result,
    problem::{Problem, Wrt},
    report::{Coverage, Ranges},
    tensor::Tensor,
};

/// The rows of a problem that one check covers: a range of them, or a draw of a range.
pub(super) struct Selection<'a> {
    /// The range that was selected.
    pub(super) range: Cow<'a, Problem>,
    /// The rows of the range that were drawn.
    pub(super) drawn: Option<Drawn>,
    /// The number of rows of the whole problem.
    of: usize,
}

/// Rows that were drawn at random.
pub(super) struct Drawn {
    /// The rows, counted from the first of the range, in ascending order.
    pub(super) rows: Vec<usize>,
    seed: u64,
    /// The rows as a problem. Its loss is taken over all samples.
    problem: Problem,
}

impl Drawn {
    /// Draws rows of the range.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::error::Error::NotFinite) if the input is not finite in a row
    /// that is drawn.
    fn new(range: &Problem, sample: RandomRows) -> Result<Self> {
        let mut random = ChaCha8Rng::seed_from_u64(sample.seed);
        let mut rows = rand::seq::index::sample(&mut random, range.n(), sample.rows).into_vec();
        rows.sort_unstable();
        // Input that is mapped from a file has not been validated yet.
        rows.iter()
            .try_for_each(|&row| range.require_finite(row..row + 1))?;
        Ok(Self {
            problem: range.gather(&rows),
            rows,
            seed: sample.seed,
        })
    }
}

impl<'a> Selection<'a> {
    /// Selects the rows that the options name.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::error::Error::NotFinite) if the input is not finite in a row
    /// that is drawn.
    pub(super) fn new(problem: &'a Problem, options: &Options) -> Result<Self> {
        let range = match &options.rows {
            Some(rows) => Cow::Owned(problem.slice(rows.clone())),
            None => Cow::Borrowed(problem),
        };
        let sample = options.sample.filter(|sample| sample.rows < range.n());
        let drawn = sample
            .map(|sample| Drawn::new(&range, sample))
            .transpose()?;
        Ok(Self {
            drawn,
            of: problem.n(),
            range,
        })
    }

    /// Returns the problem whose losses are computed.
    pub(super) fn problem(&self) -> &Problem {
        match &self.drawn {
            Some(drawn) => &drawn.problem,
            None => &self.range,
        }
    }

    /// Returns the number of rows of the gradient with respect to `wrt` that are selected.
    pub(super) fn rows(&self, wrt: Wrt) -> usize {
        self.problem().rows(wrt)
    }

    /// Returns the selected rows of a whole gradient with respect to `wrt`.
    pub(super) fn gradient(&self, wrt: Wrt, gradient: &Tensor) -> Tensor {
        let range = self.gradient_range(wrt, gradient);
        match &self.drawn {
            Some(drawn) => range.gather(&drawn.rows),
            None => range,
        }
    }

    /// Returns the rows of a whole gradient that belong to the range, whether drawn or not.
    pub(super) fn gradient_range(&self, wrt: Wrt, gradient: &Tensor) -> Tensor {
        if wrt.is_parameter() {
            gradient.clone()
        } else {
            gradient.slice(self.numbers())
        }
    }

    /// Returns the row numbers of the range in the whole problem.
    fn numbers(&self) -> Range<usize> {
        let first = self.range.first_row();
        first..first + self.range.n()
    }

    /// Returns the coverage of a check of the first `done` selected rows.
    pub(super) fn coverage(&self, wrt: Wrt, done: usize) -> Coverage {
        if wrt.is_parameter() {
            let rows = self.range.k();
            return Coverage::new(Ranges::from(0..rows), rows);
        }
        let from = self.numbers();
        let first = from.start;
        match &self.drawn {
            Some(drawn) => {
                let rows = drawn.rows[..done].iter().map(|row| first + row);
                Coverage::drawn(rows.collect(), self.of, drawn.seed, from)
            }
            None => Coverage::new(Ranges::from(first..first + done), self.of),
        }
    }
}
