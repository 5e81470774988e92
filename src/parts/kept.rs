//! A sample of the rows, with the operands that a diagnosis needs.

use std::ops::Range;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    check::Subject,
    error::Result,
    loss::Target,
    problem::{Problem, Whole, Wrt},
    report::{Comparison, Kept},
    tensor::{Dtype, Tensor},
};

/// Most rows of each sample: of the rows with a wrong entry, and of all rows. Chosen: a diagnosis
/// examines no more.
const MOST_ROWS: usize = 64;
/// Bytes of each sample. Chosen.
const MOST_BYTES: usize = 2 << 20;

/// Two samples of the rows: of those with a wrong entry, and of all. They depend on the rows alone,
/// not on the order in which they are merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptRows {
    /// The most rows of each sample.
    most: usize,
    wrong: Vec<KeptRow>,
    all: Vec<KeptRow>,
}

/// One row: its number in the whole case, and its operands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KeptRow {
    row: usize,
    samples: Values,
    target: KeptTarget,
    sample_weight: Option<f64>,
    gradients: Vec<(Wrt, Values)>,
}

/// The target of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum KeptTarget {
    Class(i64),
    Probabilities(Values),
}

/// The values of a row of a tensor: their type, and the base64 of their bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Values(Dtype, String);

impl Values {
    fn of(tensor: &Tensor, row: usize) -> Self {
        let row = tensor.gather(&[row]);
        Self(row.dtype(), BASE64_STANDARD.encode(row.as_bytes()))
    }

    /// Joins the rows of a matrix. Returns `None` if they do not fit.
    fn join(rows: &[&Self]) -> Option<Tensor> {
        let dtype = rows.first()?.0;
        let mut bytes = Vec::new();
        for row in rows {
            bytes.extend(BASE64_STANDARD.decode(&row.1).ok()?);
        }
        let columns = bytes.len() / dtype.size() / rows.len();
        let (shape, place) = (vec![rows.len(), columns], 0..bytes.len());
        Tensor::over(dtype, shape, std::sync::Arc::new(bytes), place)
    }
}

impl KeptRows {
    /// Keeps a sample of the rows `here` of a file, whose row 0 is row `first` of the whole.
    pub(super) fn choose(
        problem: &Problem,
        subjects: &[Subject],
        comparisons: &[Comparison],
        here: Range<usize>,
        first: usize,
    ) -> Self {
        let keep = |row: usize| KeptRow {
            row: first + row,
            samples: Values::of(problem.samples(), row),
            target: match problem.target() {
                Target::Classes(classes) => KeptTarget::Class(classes[row]),
                Target::Probabilities(tensor) => KeptTarget::Probabilities(Values::of(tensor, row)),
            },
            sample_weight: problem.sample_weight().map(|weights| weights[row]),
            gradients: subjects
                .iter()
                .filter_map(|it| Some((it.wrt, Values::of(it.gradient.as_ref()?, row))))
                .collect(),
        };
        let gradients = subjects.iter().filter_map(|it| it.gradient.as_ref());
        let bytes = gradients.chain([problem.samples()]).map(Tensor::nbytes);
        let of_row = bytes.sum::<usize>() / problem.n().max(1);
        let most = (MOST_BYTES / of_row.max(1)).clamp(2, MOST_ROWS);
        let chosen = |rows: &mut dyn Iterator<Item = usize>| {
            let mut rows: Vec<usize> = rows.collect();
            rows.sort_unstable_by_key(|row| rank(first + row));
            rows.dedup();
            rows.truncate(most);
            rows.into_iter().map(keep).collect()
        };
        let wrong = comparisons.iter().map(|it| it.tally.places.rows.iter());
        Self {
            most,
            wrong: chosen(&mut wrong.flatten()),
            all: chosen(&mut here.clone()),
        }
    }

    /// Returns the samples of both sets of rows.
    pub(super) fn merge(self, other: Self) -> Self {
        let most = self.most.max(other.most);
        let merged = |one: Vec<KeptRow>, other: Vec<KeptRow>| {
            let mut rows: Vec<KeptRow> = one.into_iter().chain(other).collect();
            rows.sort_by_key(|kept| rank(kept.row));
            rows.dedup_by_key(|kept| kept.row);
            rows.truncate(most);
            rows
        };
        Self {
            most,
            wrong: merged(self.wrong, other.wrong),
            all: merged(self.all, other.all),
        }
    }

    /// Returns the sampled rows as a problem with the weights of `problem`, and their gradients.
    /// Returns `None` if there are none.
    ///
    /// # Errors
    /// Those of [`Problem::new`].
    pub(super) fn to_problem(
        &self,
        problem: &Problem,
        whole: Whole,
    ) -> Result<Option<(Problem, Vec<Subject>)>> {
        let mut rows: Vec<&KeptRow> = self.wrong.iter().chain(&self.all).collect();
        rows.sort_by_key(|kept| kept.row);
        rows.dedup_by_key(|kept| kept.row);
        let samples: Vec<&Values> = rows.iter().map(|kept| &kept.samples).collect();
        let (Some(samples), Some(target)) = (Values::join(&samples), target(&rows)) else {
            return Ok(None);
        };
        let numbers = rows.iter().map(|kept| kept.row).collect();
        let sampled = problem.with_rows(samples, &target)?.of_whole(whole);
        let mut sampled = sampled.numbered(numbers);
        let weights: Option<Vec<f64>> = rows.iter().map(|kept| kept.sample_weight).collect();
        if let Some(weights) = weights {
            let weights = Tensor::from_f64(&[weights.len()], &weights);
            sampled = sampled.with_sample_weight(&weights)?;
        }
        let mut subjects = Vec::new();
        for (place, (wrt, _)) in rows[0].gradients.iter().enumerate() {
            let of_row = |kept: &&KeptRow| Some(kept.gradients.get(place)?.1.clone());
            let values: Option<Vec<Values>> = rows.iter().map(of_row).collect();
            let values = values.unwrap_or_default();
            subjects.push(Subject {
                wrt: *wrt,
                gradient: Values::join(&values.iter().collect::<Vec<_>>()),
            });
        }
        Ok(Some((sampled, subjects)))
    }
}

/// Returns the targets of rows as one tensor, or `None` if they are of two kinds.
fn target(rows: &[&KeptRow]) -> Option<Tensor> {
    let mut classes = Vec::new();
    let mut probabilities = Vec::new();
    for kept in rows {
        match &kept.target {
            KeptTarget::Class(class) => classes.push(*class),
            KeptTarget::Probabilities(values) => probabilities.push(values),
        }
    }
    match (classes.is_empty(), probabilities.is_empty()) {
        (false, true) => Some(Tensor::from_classes(&classes)),
        (true, false) => Values::join(&probabilities),
        _ => None,
    }
}

/// Returns the rank of a row in a sample: its place in a random order.
fn rank(row: usize) -> (u64, usize) {
    (Kept::scrambled(row), row)
}
