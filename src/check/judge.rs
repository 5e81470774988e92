//! The second oracle: entries that a device convicts, and a few that it does not, are differenced again on the host, by
//! two plain forward passes in f64. It shares no formula with `difference` and no hardware with a GPU.

use super::{
    compare::{Comparator, numeric},
    noise::Noise,
};
use crate::{
    cpu::Cpu,
    error::{Error, Result},
    plan::Plan,
    report::Entry,
    scheme::{Method, Precision, Scheme},
    tensor::Dtype,
};

/// Computes `entries`, found by `device`, again.
///
/// # Errors
/// [`Error::OraclesDisagree`] where the two derivatives are farther apart than both bounds together.
pub(crate) fn confirm<'a>(
    accused: &Comparator<'_>,
    device: &str,
    entries: impl Iterator<Item = &'a Entry>,
) -> Result<()> {
    let problem = accused.problem;
    let wrt = accused.plan.wrt;
    let plan = Plan::new(
        problem,
        wrt,
        Method::ForwardPass,
        Scheme::Central,
        None,
        Precision::F64,
        Dtype::F64,
    );
    let noise = Noise::new(problem, &plan);
    let host = Cpu::new(problem, plan);
    for entry in entries.filter(|entry| entry.noise.is_finite()) {
        let evaluation = host.evaluate_entry(entry.row, entry.column);
        let conditioning = evaluation.conditioning[0] / problem.normalizer();
        let bound = entry.noise
            + noise.bound(
                entry.column,
                conditioning,
                evaluation.magnitude[0],
                evaluation.totals[0],
            );
        let derivative = numeric(problem, &plan, evaluation)[0];
        // Written so that a derivative that is NaN disagrees.
        if !((entry.numeric - derivative).abs() <= bound) {
            return Err(Error::OraclesDisagree {
                device: device.to_owned(),
                place: wrt.place(entry.row, entry.column),
                numeric: entry.numeric,
                judge: derivative,
                bound,
            });
        }
    }
    Ok(())
}
