//! The section of a page on one gradient.

use super::{error_map, histogram, scatter, steps, svg::Figure};
use crate::{
    output::words,
    report::{Check, Finding, Proof, Verdict},
    sweep::Sweep,
};

/// One gradient.
pub(super) struct Section<'a> {
    pub(super) id: String,
    pub(super) check: &'a Check,
    /// True if only the verdict is shown until a reader opens the section.
    pub(super) is_folded: bool,
    /// True if the largest errors are shown before a reader opens them.
    pub(super) shows_worst: bool,
    /// True if the details are shown before a reader opens them.
    pub(super) shows_details: bool,
    /// The verdict, without its name.
    pub(super) sentence: String,
    /// The name of the first cause, if there is one.
    pub(super) cause: String,
    pub(super) findings: Vec<FindingView<'a>>,
    pub(super) figures: Vec<Figure>,
    pub(super) worst: Vec<WorstView>,
    pub(super) facts: Vec<(&'static str, String)>,
}

/// A finding with its heading.
pub(super) struct FindingView<'a> {
    pub(super) finding: &'a Finding,
    pub(super) heading: &'static str,
    pub(super) confidence: String,
    /// The message, unless the verdict has it.
    pub(super) message: Option<&'a str>,
    pub(super) evidence: Vec<(&'a str, String)>,
    pub(super) proof: Option<ProofView>,
}

/// The effect of a correction.
pub(super) struct ProofView {
    /// The correction as the beginning of a sentence.
    pub(super) correction: String,
    /// A label, and its numbers before and after the correction.
    pub(super) rows: [(&'static str, [String; 2]); 2],
    /// The entries that were counted, if not all were.
    pub(super) sample: Option<String>,
}

/// One of the worst entries.
pub(super) struct WorstView {
    pub(super) place: String,
    pub(super) analytic: String,
    pub(super) numeric: String,
    pub(super) rel_err: String,
    pub(super) severity: String,
}

impl<'a> Section<'a> {
    /// `is_one` is true if the page has no other gradient.
    pub(super) fn new(
        id: String,
        check: &'a Check,
        sweep: Option<&Sweep>,
        is_pictured: bool,
        is_one: bool,
    ) -> Self {
        let worst = check.worst.iter().map(|entry| WorstView {
            place: check.place(entry),
            analytic: format!("{:.4e}", entry.analytic),
            numeric: format!("{:.4e}", entry.numeric),
            rel_err: format!("{:.2e}", entry.rel_err),
            severity: format!("{:.2e}", entry.severity()),
        });
        let sentence = words::sentence(check);
        let verdict = sentence.split_once(": ").map(|(_, verdict)| verdict);
        let cause = check
            .findings
            .first()
            .map(|finding| finding.code.to_string());
        Self {
            check,
            is_folded: check.verdict == Verdict::Pass && !is_one,
            shows_worst: check.verdict != Verdict::Pass && is_one,
            shows_details: is_one,
            findings: findings(check, &sentence),
            sentence: verdict.unwrap_or(&sentence).to_owned(),
            cause: cause.unwrap_or_default(),
            figures: if is_pictured {
                figures(&id, check, sweep)
            } else {
                Vec::new()
            },
            worst: worst.collect(),
            facts: words::facts(check),
            id,
        }
    }
}

/// Draws the figures of a check. Returns none if the check was read from JSON.
fn figures(id: &str, check: &Check, sweep: Option<&Sweep>) -> Vec<Figure> {
    let mut figures = Vec::new();
    let Some(tally) = check.tally() else {
        return figures;
    };
    // The table of the worst entries may hold all of them.
    if check.entries > check.worst.len() as u64 {
        if let Some(picture) = &tally.picture {
            figures.push(scatter::figure(id, check, picture));
            figures.push(error_map::figure(id, check, picture));
        }
        figures.push(histogram::figure(id, check, &tally.rel_err.histogram));
    }
    figures.extend(sweep.and_then(|sweep| steps::figure(id, check, sweep)));
    // The drawings come first, in two columns.
    figures.sort_by_key(|figure| figure.svg.is_none());
    figures
}

fn findings<'a>(check: &'a Check, sentence: &str) -> Vec<FindingView<'a>> {
    let mut before: Option<&Finding> = None;
    let mut views = Vec::new();
    for finding in &check.findings {
        let heading = match before {
            None => "Cause",
            Some(before) if before.step == finding.step => "Or, with the same arrays",
            Some(_) => "And, after that correction",
        };
        before = Some(finding);
        let evidence = finding.evidence.iter();
        let proof = finding.proof.as_ref();
        views.push(FindingView {
            finding,
            heading,
            // A line break before the sign would look odd.
            confidence: words::confidence(finding).replace(" %", "\u{a0}%"),
            message: Some(finding.message.as_str()).filter(|message| !sentence.contains(message)),
            evidence: evidence
                .map(|(name, value)| (name.as_str(), words::measured(name, *value)))
                .collect(),
            proof: proof
                .filter(|proof| !proof.correction.is_empty())
                .map(|proof| ProofView::new(check, proof)),
        });
    }
    views
}

impl ProofView {
    fn new(check: &Check, proof: &Proof) -> Self {
        let share = |at: usize| {
            let [wrong, of] = [proof.wrong[at], proof.entries[at]];
            let [wrong, of] = [wrong, of].map(|count| words::group(count as u64));
            format!("{wrong} of {of}")
        };
        let [counted, all] = [proof.entries[0] as u64, check.entries];
        let sample = proof.sampled.then(|| {
            let [counted, all] = [counted, all].map(words::group);
            format!("{counted} of {all} entries, a sample")
        });
        Self {
            correction: beginning(&words::correction(proof)),
            rows: [
                ("wrong entries", [share(0), share(1)]),
                ("relative error", proof.error.map(error)),
            ],
            sample,
        }
    }
}

/// Returns a relative error, which is not finite if an entry is not.
fn error(error: f64) -> String {
    if error.is_finite() {
        words::rounded(error)
    } else {
        "not finite".to_owned()
    }
}

/// Returns a correction as the beginning of a sentence: `If divided by 10`, `Without the zeros`.
fn beginning(correction: &str) -> String {
    if let Some(rest) = correction.strip_prefix('w') {
        return format!("W{rest}");
    }
    if let Some(rest) = correction.strip_prefix('a') {
        return format!("A{rest}");
    }
    format!("If {correction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_begins_a_sentence() {
        assert_eq!(beginning("divided by 10"), "If divided by 10");
        assert_eq!(beginning("with its sign flipped"), "With its sign flipped");
        assert_eq!(beginning("allowing for x"), "Allowing for x");
    }
}
