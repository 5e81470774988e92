//! `averaged-over-workers`: one m-th of the derivative.

use super::{evidence::Evidence, factor, hypothesis::Hypothesis, pair::Pair};
use crate::report::Code;

/// More workers, or accumulation steps, would be named by nothing else either, but hardly be met.
const MOST: f64 = 64.0;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let workers = factor::integer(1.0 / pair.scale(), pair.scale_uncertainty())?;
    if workers > MOST {
        return None;
    }
    let after = factor::undone(pair, 1.0 / workers)?;
    let name = evidence.name();
    let rate = if workers == 10.0 {
        ", or it was multiplied by a learning rate of 0.1"
    } else {
        ""
    };
    Some(
        Hypothesis::new(
            Code::AveragedOverWorkers,
            after,
            format!("multiplied by {workers}"),
            format!("{name} is 1/{workers} of the derivative: it looks averaged over {workers} workers, or the loss was divided by {workers} accumulation steps{rate}"),
            format!("compare with the loss that this worker saw: DistributedDataParallel averages gradients over the world size, and accumulation divides the loss by its steps; multiply by {workers}, or check the whole batch"),
        )
        .confidence(0.85)
        .factor(1.0 / workers)
        .test("run on one worker and with one accumulation step: the factor goes if it is theirs"),
    )
}
