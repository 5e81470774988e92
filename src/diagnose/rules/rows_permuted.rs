//! `rows-permuted`: the right rows in another order.

use crate::{
    diagnose::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair, reordering, words::Words},
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let found = reordering::rows(evidence, pair)?;
    let words = words(evidence, &found.how);
    Some(Hypothesis::new(Code::RowsPermuted, found.after, words))
}

fn words(evidence: &Evidence, how: &str) -> Words {
    let name = evidence.name();
    let (noun, suspect) = if evidence.wrt.is_parameter() {
        (
            "classes",
            "a class order that differs between the model and the file",
        )
    } else {
        (
            "samples",
            "a shuffling DataLoader, a sampler or a sort between saving the input and the gradient",
        )
    };
    Words {
        message: format!("{name} has the right rows {how}: its {noun} are not in the file's order"),
        correction: "with its rows back in order".into(),
        fix: format!(
            "save input, target and gradient of the same batch in the same order: look for \
             {suspect}"
        ),
        ..Words::default()
    }
}
