//! `columns-permuted`: the right columns in another order.

use crate::{
    diagnose::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair, reordering, words::Words},
    problem::Wrt,
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let found = reordering::columns(pair)?;
    let words = words(evidence, &found.how);
    Some(
        Hypothesis::new(Code::ColumnsPermuted, found.after, words)
            .evidence("columns moved", found.displaced.len() as f64)
            .columns(found.displaced),
    )
}

fn words(evidence: &Evidence, how: &str) -> Words {
    let name = evidence.name();
    let noun = match evidence.wrt {
        Wrt::Logits => "classes",
        _ => "features",
    };
    Words {
        message: format!(
            "{name} has the right columns {how}: its {noun} are not in the file's order"
        ),
        correction: "with its columns back in order".into(),
        fix: format!(
            "save all tensors with their {noun} in the same order: look for a permutation, a \
             reversed or sorted axis, or a data frame that reorders columns"
        ),
        ..Words::default()
    }
}
