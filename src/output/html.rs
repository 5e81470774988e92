//! The report as one page that needs nothing else: no network, no script. Pictures are SVG, coloured by the page's style.

use askama::Template;

use crate::{
    output::words,
    report::{CheckReport, Finding, Report, Verdict},
    sweep::Sweep,
};

mod error_map;
mod histogram;
mod scatter;
mod steps;
mod svg;

use svg::Figure;

/// The page; `sweeps` has for each check the errors at every step size, where they were computed.
pub fn render(report: &Report, sweeps: &[Option<Sweep>]) -> String {
    let sections = report.checks.iter().enumerate();
    let sections = sections.map(|(index, check)| {
        let sweep = sweeps.get(index).and_then(Option::as_ref);
        Section::new(index, check, sweep)
    });
    let page = Page {
        report,
        verdict: verdict(report.verdict()),
        sections: sections.collect(),
        version: env!("CARGO_PKG_VERSION"),
    };
    page.render().expect("the template takes every report")
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    verdict: &'static str,
    sections: Vec<Section<'a>>,
    version: &'static str,
}

/// One gradient.
struct Section<'a> {
    check: &'a CheckReport,
    verdict: &'static str,
    sentence: String,
    findings: Vec<FindingView<'a>>,
    figures: Vec<Figure>,
    worst: Vec<WorstView>,
    facts: Vec<(&'static str, String)>,
}

/// A finding with what stands before it.
struct FindingView<'a> {
    finding: &'a Finding,
    heading: &'static str,
    sure: String,
    evidence: Vec<(&'static str, String)>,
    proof: Option<ProofView>,
}

/// What undoing the cause did.
struct ProofView {
    correction: String,
    /// What is counted or measured, before and after.
    rows: [(&'static str, String, String); 2],
}

struct WorstView {
    place: String,
    analytic: String,
    numeric: String,
    rel_err: String,
    severity: String,
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Fail => "fail",
    }
}

impl<'a> Section<'a> {
    fn new(index: usize, check: &'a CheckReport, sweep: Option<&Sweep>) -> Self {
        let tally = &check.tally;
        let mut figures = Vec::new();
        if let Some(picture) = &tally.picture {
            figures.push(scatter::figure(index, check, picture));
            figures.push(error_map::figure(index, check, picture));
        }
        figures.push(histogram::figure(index, &tally.rel_err));
        figures.extend(sweep.map(|sweep| steps::figure(index, sweep)));
        let worst = tally.worst.iter().map(|entry| WorstView {
            place: check.wrt.place(entry.row, entry.column),
            analytic: format!("{:.4e}", entry.analytic),
            numeric: format!("{:.4e}", entry.numeric),
            rel_err: format!("{:.2e}", entry.rel_err),
            severity: format!("{:.2e}", entry.severity()),
        });
        Self {
            check,
            verdict: verdict(check.verdict()),
            sentence: words::sentence(check),
            findings: findings(check),
            figures,
            worst: worst.collect(),
            facts: words::facts(check),
        }
    }
}

fn findings(check: &CheckReport) -> Vec<FindingView<'_>> {
    let mut before: Option<&Finding> = None;
    let mut views = Vec::new();
    for finding in &check.findings {
        let heading = match before {
            None => "Cause",
            Some(before) if before.step == finding.step => "Or, which the arrays cannot tell apart",
            Some(_) => "Then, with that undone",
        };
        before = Some(finding);
        let evidence = finding.evidence.iter();
        let proof = finding
            .proof
            .as_ref()
            .filter(|_| !finding.correction.is_empty());
        views.push(FindingView {
            finding,
            heading,
            sure: words::sure(finding),
            evidence: evidence
                .map(|(name, value)| (*name, words::rounded(*value)))
                .collect(),
            proof: proof.map(|proof| {
                let share = |at: usize| {
                    let of = words::group(proof.entries[at] as u64);
                    format!("{} of {of}", words::group(proof.wrong[at] as u64))
                };
                let error = proof.error.map(words::rounded);
                let [error_before, error_after] = error;
                let up_to = if proof.up_to_factor {
                    ", up to one factor"
                } else {
                    ""
                };
                ProofView {
                    correction: format!("{}{up_to}", finding.correction),
                    rows: [
                        ("wrong entries", share(0), share(1)),
                        ("|analytic - right| / |right|", error_before, error_after),
                    ],
                }
            }),
        });
    }
    views
}
