//! The comparison of one gradient of the linear layer: the problem, the plan, and the bounds on
//! errors.

use std::borrow::Cow;

use super::{
    compare::{Frame, Labels},
    likeness::Likeness,
};
use crate::{
    budget,
    plan::Plan,
    problem::Problem,
    rounding::{Noise, Tolerance},
};

/// The comparison of one gradient: the problem, the plan, and the bounds on errors.
pub(super) struct Comparator<'a> {
    pub(super) problem: &'a Problem,
    pub(super) plan: Plan,
    pub(super) tolerance: Tolerance,
    pub(super) likeness: Likeness,
    pub(super) noise: Noise,
    /// True if the tally collects a picture of the errors.
    pub(super) picture: bool,
    /// True if [`Frame::compare`] returns the numeric gradient.
    pub(super) keeps_numeric: bool,
}

impl Comparator<'_> {
    /// Returns the number of columns of the gradient.
    pub(super) fn columns(&self) -> usize {
        self.problem.columns(self.plan.wrt)
    }

    /// Returns what the comparison itself knows of all this.
    pub(super) fn frame(&self) -> Frame<'_> {
        let (problem, wrt) = (self.problem, self.plan.wrt);
        let labels = || Labels {
            of: Box::new(|row| problem.label(row)),
            classes: problem.k(),
        };
        Frame {
            shape: [problem.rows(wrt), self.columns()],
            normalizer: problem.normalizer(),
            block_rows: budget::block_rows(problem, self.plan.derivative()),
            strip_rows: budget::strip_rows(problem, wrt),
            labels: (!wrt.is_parameter()).then(labels),
            plan: Some(self.plan),
            unit_roundoff: self.plan.dtype.unit_roundoff(),
            tolerance: self.tolerance,
            noise: Cow::Borrowed(&self.noise),
            picture: self.picture,
            keeps_numeric: self.keeps_numeric,
        }
    }
}
