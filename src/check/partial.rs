//! The check of a part of a case whose samples lie in several files: comparisons that merge, and
//! sums over some of the samples.

use serde::{Deserialize, Serialize};

use super::{
    Comparator, Listener, Options, Subject, arithmetic, by_sum, comparator, compare_one,
    likeness::Draw, selection::Selection, validate,
};
use crate::{
    device::Device,
    engine::{Bounds, Evaluation, Values},
    error::Result,
    problem::{Problem, Wrt},
    report::{Comparison, Coverage, Ranges, Source},
    rounding::{Common, Noise, Tolerance},
    tensor::{Dtype, Tensor},
};

/// Compares the rows that the options select, without a diagnosis. Returns `None` if the listener
/// interrupts before all are compared.
///
/// # Errors
/// Those of [`check`](super::check).
pub fn compare(
    problem: &Problem,
    subjects: &[Subject],
    options: &Options,
    device: &Device,
    listener: &mut dyn Listener,
) -> Result<Option<Vec<Comparison>>> {
    validate(problem, subjects, options)?;
    let (precision, fallback) = arithmetic(problem, subjects, options, device);
    let device = fallback.as_ref().unwrap_or(device);
    let selection = Selection::new(problem, options)?;
    let draw = Draw::of(selection.problem());
    let mut comparisons = Vec::new();
    for subject in subjects {
        let comparison = compare_one(
            &selection, &draw, subject, options, precision, device, listener,
        )?;
        let Some(mut comparison) = comparison else {
            return Ok(None);
        };
        if comparison.coverage.compared < selection.rows(subject.wrt) {
            return Ok(None);
        }
        let number = |row| selection.range.row_number(subject.wrt, row);
        comparison.tally.number_rows(number);
        comparisons.push(comparison);
    }
    Ok(Some(comparisons))
}

/// Sums over some samples behind the gradient with respect to a parameter, with all that bounds
/// their errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// The parameter.
    pub wrt: Wrt,
    /// The type of the gradient under test.
    dtype: Dtype,
    tolerance: Tolerance,
    noise: Noise,
    multiplicity: f64,
    common: Common,
    /// Sums of the derivative, of conditioning and its squares, of targets, of totals at the
    /// largest logit and of lost terms, [k·m] each.
    #[serde(with = "packed")]
    sums: [Vec<f64>; 7],
    /// The largest partial sums, [k·m].
    #[serde(with = "packed")]
    peak: [Vec<f64>; 1],
    /// The largest magnitude and logit error of each row, and the sum of its totals.
    #[serde(with = "packed")]
    rows: [Vec<f64>; 3],
}

impl Sums {
    /// Sums over the samples of `problem`, a part of a whole. Returns `None` if the listener
    /// interrupts.
    ///
    /// # Errors
    /// Those of [`check`](super::check).
    pub fn new(
        problem: &Problem,
        subject: &Subject,
        options: &Options,
        device: &Device,
        listener: &mut dyn Listener,
    ) -> Result<Option<Self>> {
        let subjects = std::slice::from_ref(subject);
        let (precision, fallback) = arithmetic(problem, subjects, options, device);
        let device = fallback.as_ref().unwrap_or(device);
        let draw = Draw::of(problem);
        let comparator = comparator(problem, &draw, subject, options, precision, listener);
        let evaluated = by_sum::evaluate_all(&comparator, false, device, listener)?;
        let Some((evaluation, _)) = evaluated else {
            return Ok(None);
        };
        let by_sum::Terms {
            common,
            targets,
            at_max,
            lost: [by_logit, by_lse],
        } = by_sum::Terms::new(&comparator);
        let Evaluation { values, bounds, .. } = evaluation;
        let Values::Derivative(derivative) = values else {
            unreachable!("losses were differentiated");
        };
        let Bounds {
            conditioning,
            squares,
            peak,
            magnitude,
            logit_error,
            totals,
            ..
        } = bounds;
        // One weight has all sums, so the peak of losses is empty.
        let peak = if peak.is_empty() {
            vec![0.0; derivative.len()]
        } else {
            peak
        };
        Ok(Some(Self {
            wrt: subject.wrt,
            dtype: comparator.plan.dtype,
            multiplicity: comparator.likeness.multiplicity,
            tolerance: comparator.tolerance,
            noise: comparator.noise,
            common,
            sums: [
                derivative,
                conditioning,
                squares,
                targets,
                at_max,
                by_logit,
                by_lse,
            ],
            peak: [peak],
            rows: [magnitude, logit_error, totals],
        }))
    }

    /// Adds the sums over the samples that follow. Returns `None` if the two are not parts of one
    /// gradient.
    pub fn plus(mut self, next: &Self) -> Option<Self> {
        let lengths = |it: &Self| (it.wrt, it.dtype, it.sums.each_ref().map(Vec::len));
        if lengths(&self) != lengths(next) {
            return None;
        }
        self.tolerance = self.tolerance.or(next.tolerance);
        self.noise.raise(&next.noise);
        self.common.raise(&next.common);
        self.multiplicity = self.multiplicity.max(next.multiplicity);
        let add = |sums: &mut Vec<f64>, more: &Vec<f64>| {
            sums.iter_mut()
                .zip(more)
                .for_each(|(sum, more)| *sum += more);
        };
        let raise = |most: &mut Vec<f64>, more: &mut dyn Iterator<Item = f64>| {
            most.iter_mut()
                .zip(more)
                .for_each(|(most, more)| *most = most.max(more));
        };
        self.sums
            .iter_mut()
            .zip(&next.sums)
            .for_each(|(a, b)| add(a, b));
        let [peak] = &mut self.peak;
        raise(peak, &mut next.peak[0].iter().copied());
        raise(peak, &mut self.sums[0].iter().map(|sum| sum.abs()));
        let [magnitude, logit_error, totals] = &mut self.rows;
        raise(magnitude, &mut next.rows[0].iter().copied());
        raise(logit_error, &mut next.rows[1].iter().copied());
        add(totals, &next.rows[2]);
        Some(self)
    }

    /// Compares a gradient with the sums over all samples. `problem` has a draw of the samples, and
    /// knows the whole.
    ///
    /// # Errors
    /// Those of [`check`](super::check).
    pub fn compare(
        self,
        problem: &Problem,
        subject: &Subject,
        options: &Options,
        device: &Device,
        listener: &mut dyn Listener,
    ) -> Result<Comparison> {
        let subjects = std::slice::from_ref(subject);
        subject.validate(problem)?;
        let (precision, _) = arithmetic(problem, subjects, options, device);
        let draw = Draw::of(problem);
        let comparator = comparator(problem, &draw, subject, options, precision, listener);
        let comparator = Comparator {
            tolerance: self.tolerance,
            noise: self.noise,
            likeness: comparator.likeness.with_multiplicity(self.multiplicity),
            ..comparator
        };
        let [
            derivative,
            conditioning,
            squares,
            targets,
            at_max,
            by_logit,
            by_lse,
        ] = self.sums;
        let terms = by_sum::Terms {
            common: self.common,
            targets,
            at_max,
            lost: [by_logit, by_lse],
        };
        let [peak] = self.peak;
        let [magnitude, logit_error, totals] = self.rows;
        let evaluation = Evaluation {
            values: Values::Derivative(derivative),
            bounds: Bounds {
                conditioning,
                squares,
                peak,
                magnitude,
                logit_error,
                totals,
                tolerated: Vec::new(),
            },
            ..Evaluation::default()
        };
        let gradient = subject.gradient.as_ref();
        let analytic = gradient.map_or_else(Vec::new, Tensor::values);
        let compared = comparator.compare_sums(evaluation, &terms, &analytic, listener)?;
        let rows = compared.rows;
        let coverage = Coverage::new(Ranges::from(0..rows), rows);
        Ok(comparator.comparison(Source::Given, options, coverage, compared))
    }
}

/// Vectors in JSON: the base64 of their little-endian bytes.
mod packed {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer, const N: usize>(
        vectors: &[Vec<f64>; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let pack = |vector: &Vec<f64>| {
            let bytes: Vec<u8> = vector.iter().flat_map(|v| v.to_le_bytes()).collect();
            BASE64_STANDARD.encode(bytes)
        };
        serializer.collect_seq(vectors.iter().map(pack))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[Vec<f64>; N], D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let unpack = |text: String| {
            let bytes = BASE64_STANDARD.decode(text).map_err(D::Error::custom)?;
            let (values, rest) = bytes.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(D::Error::custom("these are no f64"));
            }
            Ok(values
                .iter()
                .map(|value| f64::from_le_bytes(*value))
                .collect())
        };
        let vectors = texts.into_iter().map(unpack);
        let vectors: Vec<Vec<f64>> = vectors.collect::<Result<_, _>>()?;
        let count = vectors.len();
        vectors
            .try_into()
            .map_err(|_| D::Error::custom(format!("{count} vectors, not {N}")))
    }
}
