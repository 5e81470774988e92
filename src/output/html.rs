//! The report as one page that needs nothing else: no network, no script. Pictures are SVG, coloured by the page's style.

use askama::Template;

use super::{Run, words};
use crate::{
    report::{Check, Finding, Report, Verdict},
    sweep::Sweep,
};

mod error_map;
mod histogram;
mod scatter;
mod steps;
mod svg;

use svg::Figure;

/// The page, unless a service has drawn it: of a single file its report; of several a line each, and the reports on those that did not pass.
pub fn render(runs: &[Run]) -> String {
    if let [
        Run {
            page: Some(page), ..
        },
    ] = runs
    {
        return page.clone();
    }
    let is_one = runs.len() == 1;
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut checks = 0;
    for run in runs {
        let Ok(report) = &run.outcome else {
            continue;
        };
        if !is_one && report.verdict == Verdict::Pass {
            continue;
        }
        let sections = report.checks.iter().enumerate().map(|(index, check)| {
            let sweep = run.sweeps.get(index).and_then(Option::as_ref);
            Section::new(check, figures_of(checks + index, check, sweep))
        });
        parts.push(Part {
            name: (!is_one).then_some(run.name.as_str()),
            report,
            sections: sections.collect(),
        });
        checks += report.checks.len();
    }
    let worst = ["error", "fail", "inconclusive"]
        .into_iter()
        .find(|heading| runs.iter().any(|run| words::heading(run) == *heading));
    let lines = runs.iter().map(|run| Line {
        heading: words::heading(run),
        name: &run.name,
        told: match &run.outcome {
            Ok(report) => words::brief(report),
            Err(error) => error.to_string(),
        },
    });
    let page = Page {
        verdict: worst.unwrap_or("pass"),
        summary: words::counts(runs),
        lines: if is_one { Vec::new() } else { lines.collect() },
        parts,
        version: env!("CARGO_PKG_VERSION"),
    };
    page.render().expect("the template takes every report")
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    verdict: &'static str,
    /// Of several files.
    summary: String,
    lines: Vec<Line<'a>>,
    parts: Vec<Part<'a>>,
    version: &'static str,
}

/// One of several files.
struct Line<'a> {
    heading: String,
    name: &'a str,
    told: String,
}

/// What is told of a file.
struct Part<'a> {
    name: Option<&'a str>,
    report: &'a Report,
    sections: Vec<Section<'a>>,
}

/// One gradient.
struct Section<'a> {
    check: &'a Check,
    verdict: Verdict,
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
    evidence: Vec<(&'a str, String)>,
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

/// Draws the figures of a check; none of one read from JSON. `index` counts the checks on the page.
fn figures_of(index: usize, check: &Check, sweep: Option<&Sweep>) -> Vec<Figure> {
    let mut figures = Vec::new();
    let Some(tally) = check.tally() else {
        return figures;
    };
    if let Some(picture) = &tally.picture {
        figures.push(scatter::figure(index, check, picture));
        figures.push(error_map::figure(index, check, picture));
    }
    figures.push(histogram::figure(index, &tally.rel_err.histogram));
    figures.extend(sweep.map(|sweep| steps::figure(index, sweep)));
    figures
}

impl<'a> Section<'a> {
    fn new(check: &'a Check, figures: Vec<Figure>) -> Self {
        let worst = check.worst.iter().map(|entry| WorstView {
            place: entry.place(check.wrt),
            analytic: format!("{:.4e}", entry.analytic),
            numeric: format!("{:.4e}", entry.numeric),
            rel_err: format!("{:.2e}", entry.rel_err),
            severity: format!("{:.2e}", entry.severity()),
        });
        Self {
            check,
            verdict: check.verdict,
            sentence: words::sentence(check),
            findings: findings(check),
            figures,
            worst: worst.collect(),
            facts: words::facts(check),
        }
    }
}

fn findings(check: &Check) -> Vec<FindingView<'_>> {
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
            .filter(|proof| !proof.correction.is_empty());
        views.push(FindingView {
            finding,
            heading,
            sure: words::sure(finding),
            evidence: evidence
                .map(|(name, value)| (name.as_str(), words::rounded(*value)))
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
                    correction: format!("{}{up_to}", proof.correction),
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
