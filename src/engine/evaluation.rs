//! The numeric gradient of a range of rows, as an engine computes it.

use std::ops::Range;

use crate::{loss::two_sum, plan::Plan};

/// The result of an engine for a range of rows.
///
/// m is the number of columns of the gradient. With respect to a parameter the rows are classes,
/// and the values are the sums over the samples that were evaluated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The derivative, or the losses to compute it from.
    pub values: Values,
    /// The magnitudes from which bounds on rounding errors follow.
    pub bounds: Bounds,
    /// Memory that the next evaluation may overwrite.
    pub(crate) spare: Spare,
}

/// The numbers that a method yields.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// The result of `difference`, [rows·m]: the derivative of the sample's own loss, not divided
    /// by the normalizer.
    Derivative(Vec<f64>),
    /// The result of `forward-pass`.
    Losses(Losses),
}

/// The losses at perturbed points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Losses {
    /// The sample's own loss after each step of the plan, not divided by the normalizer: one
    /// vector [rows·m] per step.
    pub at_steps: Vec<Vec<f64>>,
    /// The part of each loss that its rounding dropped when the losses of samples were added up, as
    /// in `at_steps`. Empty if none were. The difference of two of these sums is small.
    pub dropped: Vec<Vec<f64>>,
    /// The unperturbed values as the engine rounded them, [rows·m].
    pub base: Vec<f64>,
}

impl Losses {
    /// Adds the losses of other samples, with compensation.
    fn add(&mut self, other: Self) {
        let zeros = |losses: &Vec<f64>| vec![0.0; losses.len()];
        self.dropped
            .resize_with(self.at_steps.len(), || zeros(&self.base));
        let steps = self.at_steps.iter_mut().zip(&mut self.dropped);
        for (step, (sums, dropped)) in steps.enumerate() {
            for (entry, (sum, dropped)) in sums.iter_mut().zip(dropped).enumerate() {
                let (total, rest) = two_sum(*sum, other.at_steps[step][entry]);
                *sum = total;
                *dropped += rest;
                if let Some(more) = other.dropped.get(step) {
                    *dropped += more[entry];
                }
            }
        }
    }
}

/// The magnitudes from which bounds on rounding errors follow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// [`RoundingModel::sums`](crate::rounding::RoundingModel::sums)·S + T of each entry, not
    /// divided by the normalizer, [rows·m].
    pub conditioning: Vec<f64>,
    /// The sum over the samples of the square of a sample's conditioning, [k·m]. Its root is the
    /// conditioning of the sum if samples err independently. Empty unless with respect to a
    /// parameter.
    pub squares: Vec<f64>,
    /// The conditioning for the tolerance, if it is not the one above, [rows·m]. Empty unless with
    /// respect to a parameter.
    pub tolerated: Vec<f64>,
    /// The largest magnitude of a partial sum of the derivative, as far as partial sums were seen,
    /// [k·m]. Empty unless with respect to a parameter.
    pub peak: Vec<f64>,
    /// The largest [magnitude](crate::cpu::logits::Logits::magnitude) behind a logit of each row.
    pub magnitude: Vec<f64>,
    /// The largest [logit error](crate::rounding::RoundingModel::logit_error) of each row, in units
    /// of the unit roundoff.
    pub logit_error: Vec<f64>,
    /// |R| of each row: the weight of the sample's loss, 0 if the sample is ignored.
    pub totals: Vec<f64>,
}

/// Scratch memory that an engine reuses. It is not part of the result, so any two compare equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spare(pub(crate) Vec<f64>);

impl PartialEq for Spare {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Default for Values {
    fn default() -> Self {
        Self::Derivative(Vec::new())
    }
}

impl Values {
    /// Returns the vector of the derivative, to be overwritten. Losses are replaced by an empty
    /// vector.
    pub(crate) fn derivative_mut(&mut self) -> &mut Vec<f64> {
        if let Self::Losses(_) = self {
            *self = Self::default();
        }
        match self {
            Self::Derivative(derivative) => derivative,
            Self::Losses(_) => unreachable!("losses were replaced"),
        }
    }
}

impl Bounds {
    /// Returns the conditioning for the tolerance, [rows·m].
    pub(crate) fn tolerated(&self) -> &[f64] {
        if self.tolerated.is_empty() {
            &self.conditioning
        } else {
            &self.tolerated
        }
    }
}

impl Evaluation {
    /// Returns the derivative, [rows·m].
    ///
    /// # Panics
    /// If the engine computed losses, and [`differentiate`](Self::differentiate) was not called.
    pub fn derivative(&self) -> &[f64] {
        match &self.values {
            Values::Derivative(derivative) => derivative,
            Values::Losses(_) => panic!("losses must be differentiated first"),
        }
    }

    /// Replaces losses by the derivative computed from them. Leaves a derivative unchanged.
    pub fn differentiate(&mut self, plan: &Plan) {
        let Values::Losses(losses) = &self.values else {
            return;
        };
        let derivative = |(entry, base): (usize, &f64)| {
            // The engine rounded both the step and the sum.
            let round = |value| plan.precision.round(value);
            let of = |at_steps: &[Vec<f64>]| {
                let points = plan.steps().map(|step| round(base + round(step)));
                let losses = at_steps.iter().map(|losses| losses[entry]);
                plan.scheme.derivative(losses, points)
            };
            if losses.dropped.is_empty() {
                of(&losses.at_steps)
            } else {
                of(&losses.at_steps) + of(&losses.dropped)
            }
        };
        let derivative = losses.base.iter().enumerate().map(derivative).collect();
        self.values = Values::Derivative(derivative);
    }

    /// Returns the numeric gradient: the derivative divided by the normalizer, [rows·m].
    pub(crate) fn numeric(mut self, plan: &Plan, normalizer: f64) -> Vec<f64> {
        self.differentiate(plan);
        let mut derivative = std::mem::take(self.values.derivative_mut());
        derivative.iter_mut().for_each(|v| *v /= normalizer);
        derivative
    }

    /// Returns the evaluation of a range of its rows.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let bounds = &self.bounds;
        let columns = bounds.conditioning.len() / bounds.totals.len();
        let entries = rows.start * columns..rows.end * columns;
        let of_entries = |values: &Vec<f64>| values[entries.clone()].to_vec();
        Self {
            values: match &self.values {
                Values::Derivative(derivative) => Values::Derivative(of_entries(derivative)),
                Values::Losses(losses) => Values::Losses(Losses {
                    at_steps: losses.at_steps.iter().map(of_entries).collect(),
                    dropped: losses.dropped.iter().map(of_entries).collect(),
                    base: of_entries(&losses.base),
                }),
            },
            bounds: Bounds {
                conditioning: of_entries(&bounds.conditioning),
                squares: Vec::new(),
                peak: Vec::new(),
                tolerated: if bounds.tolerated.is_empty() {
                    Vec::new()
                } else {
                    of_entries(&bounds.tolerated)
                },
                magnitude: bounds.magnitude[rows.clone()].to_vec(),
                logit_error: bounds.logit_error[rows.clone()].to_vec(),
                totals: bounds.totals[rows].to_vec(),
            },
            spare: Spare::default(),
        }
    }

    /// Drops the bounds of all rows but one.
    pub(crate) fn of_row(mut self, row: usize) -> Self {
        let bounds = &mut self.bounds;
        for values in [
            &mut bounds.magnitude,
            &mut bounds.logit_error,
            &mut bounds.totals,
        ] {
            *values = vec![values[row]];
        }
        self
    }

    /// Appends the evaluation of the rows that follow.
    pub(crate) fn append_rows(mut self, next: Self) -> Self {
        let (bounds, more) = (&mut self.bounds, &next.bounds);
        bounds.magnitude.extend(&more.magnitude);
        bounds.logit_error.extend(&more.logit_error);
        bounds.totals.extend(&more.totals);
        self.append_entries(next)
    }

    /// Appends the evaluation of the entries that follow in the same rows.
    pub(crate) fn append_entries(mut self, next: Self) -> Self {
        self.bounds.conditioning.extend(next.bounds.conditioning);
        self.bounds.squares.extend(next.bounds.squares);
        self.bounds.peak.extend(next.bounds.peak);
        match (&mut self.values, next.values) {
            (Values::Derivative(values), Values::Derivative(next)) => values.extend(next),
            (Values::Losses(losses), Values::Losses(next)) => {
                let pairs = losses.at_steps.iter_mut().zip(next.at_steps);
                let dropped = losses.dropped.iter_mut().zip(next.dropped);
                pairs
                    .chain(dropped)
                    .for_each(|(losses, next)| losses.extend(next));
                losses.base.extend(next.base);
            }
            _ => unreachable!("one plan has one method"),
        }
        self
    }

    /// Adds the evaluation of other samples with respect to the same parameter.
    pub(crate) fn add(mut self, other: Self) -> Self {
        let add = |a: &mut Vec<f64>, b: Vec<f64>| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        let raise =
            |a: &mut Vec<f64>, b: Vec<f64>| a.iter_mut().zip(b).for_each(|(a, b)| *a = a.max(b));
        raise(&mut self.bounds.peak, other.bounds.peak);
        match (&mut self.values, other.values) {
            (Values::Derivative(values), Values::Derivative(other)) => {
                add(values, other);
                let sums = values.iter().map(|sum| sum.abs()).collect();
                raise(&mut self.bounds.peak, sums);
            }
            (Values::Losses(losses), Values::Losses(other)) => losses.add(other),
            _ => unreachable!("one plan has one method"),
        }
        add(&mut self.bounds.conditioning, other.bounds.conditioning);
        add(&mut self.bounds.squares, other.bounds.squares);
        add(&mut self.bounds.totals, other.bounds.totals);
        raise(&mut self.bounds.magnitude, other.bounds.magnitude);
        raise(&mut self.bounds.logit_error, other.bounds.logit_error);
        self
    }
}
