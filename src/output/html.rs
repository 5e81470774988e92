//! The report as one HTML page that loads nothing and runs no script. Figures are SVG, coloured by
//! the style of the page.

use askama::Template;

use super::{Run, words};
use crate::{
    report::{Check, Finding, Proof, Report, Verdict},
    sweep::Sweep,
};

mod error_map;
mod histogram;
mod scatter;
mod steps;
mod svg;

use svg::Figure;

/// Renders the report of a single file, or returns the page that a service has rendered. For
/// several files, renders a table with a line for each and the reports of those that did not pass.
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
            Section::new(check, figures(checks + index, check, sweep))
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
        summary: match &run.outcome {
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
    page.render().expect("a report renders as HTML")
}

/// The page, templates/report.html.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    verdict: &'static str,
    /// The number of files that passed.
    summary: String,
    /// The files, if there are several.
    lines: Vec<Line<'a>>,
    parts: Vec<Part<'a>>,
    version: &'static str,
}

/// One of several files.
struct Line<'a> {
    heading: String,
    name: &'a str,
    summary: String,
}

/// The report of one file.
struct Part<'a> {
    name: Option<&'a str>,
    report: &'a Report,
    sections: Vec<Section<'a>>,
}

/// One gradient.
struct Section<'a> {
    check: &'a Check,
    sentence: String,
    findings: Vec<FindingView<'a>>,
    figures: Vec<Figure>,
    worst: Vec<WorstView>,
    facts: Vec<(&'static str, String)>,
}

/// A finding with its heading.
struct FindingView<'a> {
    finding: &'a Finding,
    heading: &'static str,
    confidence: String,
    evidence: Vec<(&'a str, String)>,
    proof: Option<ProofView>,
}

/// The effect of a correction.
struct ProofView {
    correction: String,
    /// A label, and its numbers before and after the correction.
    rows: [(&'static str, [String; 2]); 2],
}

/// One of the worst entries.
struct WorstView {
    place: String,
    analytic: String,
    numeric: String,
    rel_err: String,
    severity: String,
}

/// Draws the figures of a check. Returns none if the check was read from JSON. `index` counts the
/// checks on the page.
fn figures(index: usize, check: &Check, sweep: Option<&Sweep>) -> Vec<Figure> {
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
            Some(before) if before.step == finding.step => "Or, with the same arrays",
            Some(_) => "And, after that correction",
        };
        before = Some(finding);
        let evidence = finding.evidence.iter();
        let proof = finding.proof.as_ref();
        views.push(FindingView {
            finding,
            heading,
            confidence: words::confidence(finding),
            evidence: evidence
                .map(|(name, value)| (name.as_str(), words::measured(name, *value)))
                .collect(),
            proof: proof
                .filter(|proof| !proof.correction.is_empty())
                .map(ProofView::new),
        });
    }
    views
}

impl ProofView {
    fn new(proof: &Proof) -> Self {
        let share = |at: usize| {
            let [wrong, of] = [proof.wrong[at], proof.entries[at]];
            let [wrong, of] = [wrong, of].map(|count| words::group(count as u64));
            format!("{wrong} of {of}")
        };
        let wrong = if proof.sampled {
            "wrong entries in a sample"
        } else {
            "wrong entries"
        };
        Self {
            correction: words::correction(proof),
            rows: [
                (wrong, [share(0), share(1)]),
                (
                    "relative error of the whole tensor",
                    proof.error.map(words::rounded),
                ),
            ],
        }
    }
}
