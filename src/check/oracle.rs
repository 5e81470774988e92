//! The second oracle: recomputes the derivative of the entries that a device found wrong, and of a
//! few others, on the host, by two plain forward passes in f64. It shares no formula with
//! `difference` and no hardware with a GPU.

use super::comparator::Comparator;
use crate::{
    cpu::Cpu,
    error::{Error, Result},
    plan::{Differentiation, Plan},
    report::Entry,
    rounding::Noise,
    scheme::{Method, Precision},
};

/// Recomputes the numeric gradient of `entries`, and compares it with that of `device`.
///
/// # Errors
/// [`Error::OraclesDisagree`] if the two derivatives differ by more than both bounds together.
pub(super) fn confirm<'a>(
    comparator: &Comparator<'_>,
    device: &str,
    entries: impl Iterator<Item = &'a Entry>,
) -> Result<()> {
    let (problem, wrt) = (comparator.problem, comparator.plan.wrt);
    let derivative = Differentiation::from(wrt).by(Method::ForwardPass);
    let plan = Plan::new(problem, derivative, None, Precision::F64);
    let noise = Noise::new(problem, &plan, 1.0);
    let host = Cpu::new(problem, plan);
    for entry in entries.filter(|entry| entry.noise.is_finite()) {
        let [row, column] = entry.index;
        let evaluation = host.evaluate_entry(row, column);
        let bounds = &evaluation.bounds;
        let conditioning = bounds.conditioning[0] / problem.normalizer();
        let (magnitude, total) = (bounds.magnitude[0], bounds.totals[0]);
        let bound = entry.noise + noise.bound(column, conditioning, magnitude, total);
        let on_host = evaluation.numeric(&plan, problem.normalizer())[0];
        // Negated, so that a derivative that is NaN disagrees.
        if !((entry.numeric - on_host).abs() <= bound) {
            return Err(Error::OraclesDisagree {
                device: device.to_owned(),
                place: problem.place(wrt, row, column),
                numeric: entry.numeric,
                on_host,
                bound,
            });
        }
    }
    Ok(())
}
