//! `averaged-over-workers`: one m-th of the right gradient.

use crate::{
    diagnose::{evidence::Evidence, factor, hypothesis::Hypothesis, pair::Pair, words::Words},
    report::Code,
};

/// Most workers or accumulation steps. Chosen: no other rule names more, but more are rare.
const MOST: f64 = 64.0;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let workers = factor::integer(1.0 / pair.scale(), pair.scale_uncertainty())?;
    if workers > MOST {
        return None;
    }
    let after = factor::undone(pair, 1.0 / workers)?;
    Some(
        Hypothesis::new(Code::AveragedOverWorkers, after, words(evidence, workers))
            .confidence(0.85)
            .factor(1.0 / workers),
    )
}

fn words(evidence: &Evidence, workers: f64) -> Words {
    let name = evidence.name();
    let rate = if workers == 10.0 {
        ", or multiplied by a learning rate of 0.1"
    } else {
        ""
    };
    Words {
        message: format!(
            "{name} is 1/{workers} of the correct gradient, as if averaged over {workers} workers \
             or divided by {workers} accumulation steps{rate}"
        ),
        correction: format!("multiplied by {workers}"),
        fix: format!(
            "check against the loss that this worker computed, or multiply by {workers}: \
             DistributedDataParallel averages gradients over the workers, and gradient \
             accumulation divides the loss by its steps"
        ),
        test: Some(
            "run with one worker and one accumulation step: the factor disappears if they cause it"
                .into(),
        ),
    }
}
