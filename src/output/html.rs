//! The report as one HTML page that loads nothing and runs no script. Figures are SVG, coloured by
//! the style of the page.

use askama::Template;

use super::{Run, words};
use crate::report::{Report, Verdict};

mod error_map;
mod histogram;
mod scatter;
mod section;
mod steps;
mod svg;

use section::Section;

/// The most files whose reports are on a page of several files. Chosen: a report without figures
/// has about ten kilobytes.
const MOST_PARTS: usize = 200;
/// The most gradients with figures on such a page. Chosen: figures have up to 0.2 megabytes.
const MOST_PICTURED: usize = 12;

/// Renders the report of a single file, or returns the page that a service has rendered. For
/// several files, renders a table with a line for each and the reports of those that did not pass.
pub fn render(runs: &[Run]) -> String {
    let page = match runs {
        [
            Run {
                page: Some(page), ..
            },
        ] => return page.clone(),
        [run] => of_one(run),
        runs => of_several(runs),
    };
    page.render().expect("a report renders as HTML")
}

fn of_one(run: &Run) -> Page<'_> {
    let parts = run.outcome.iter().map(|report| Part {
        id: String::new(),
        name: None,
        report,
        sections: sections(run, report, "", &mut usize::MAX.clone()),
    });
    Page {
        verdict: words::heading(run),
        name: Some(&run.name).filter(|name| !name.is_empty()),
        date: run.time.map(words::date),
        summary: run.outcome.as_ref().err().map(ToString::to_string),
        others: Vec::new(),
        passed: Vec::new(),
        omitted: 0,
        level: 2,
        parts: parts.collect(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

fn of_several(runs: &[Run]) -> Page<'_> {
    let worst = ["error", "fail", "inconclusive"]
        .into_iter()
        .find(|heading| runs.iter().any(|run| words::heading(run) == *heading));
    let mut pictured = MOST_PICTURED;
    let mut parts: Vec<Part<'_>> = Vec::new();
    let (mut others, mut passed) = (Vec::new(), Vec::new());
    let mut omitted = 0;
    for (index, run) in runs.iter().enumerate() {
        let mut line = Line {
            heading: words::heading(run),
            name: &run.name,
            id: None,
            summary: match &run.outcome {
                Ok(report) => words::brief(report),
                Err(error) => error.to_string(),
            },
        };
        match &run.outcome {
            Ok(report) if report.verdict == Verdict::Pass => {
                passed.push(line);
                continue;
            }
            Ok(_) if parts.len() >= MOST_PARTS => omitted += 1,
            Ok(report) => {
                let id = format!("file-{}", index + 1);
                line.id = Some(id.clone());
                parts.push(Part {
                    sections: sections(run, report, &format!("{id}-"), &mut pictured),
                    id,
                    name: Some(&run.name),
                    report,
                });
            }
            Err(_) => {}
        }
        others.push(line);
    }
    Page {
        verdict: worst.unwrap_or("pass").to_owned(),
        name: None,
        date: runs.iter().find_map(|run| run.time).map(words::date),
        summary: Some(words::counts(runs)),
        others,
        passed,
        omitted,
        level: 3,
        parts,
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// Returns the sections of a report. Each id begins with `prefix`. At most `pictured` gradients get
/// figures, and it is reduced by their number.
fn sections<'a>(
    run: &Run,
    report: &'a Report,
    prefix: &str,
    pictured: &mut usize,
) -> Vec<Section<'a>> {
    let is_one = prefix.is_empty() && report.checks.len() == 1;
    let checks = report.checks.iter().enumerate();
    let sections = checks.map(|(index, check)| {
        let sweep = run.sweeps.get(index).and_then(Option::as_ref);
        let is_pictured = *pictured > 0;
        *pictured = pictured.saturating_sub(1);
        let id = format!("{prefix}{}", check.name());
        Section::new(id, check, sweep, is_pictured, is_one)
    });
    sections.collect()
}

/// The page, templates/report.html.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    verdict: String,
    /// The name of the file, if there is one.
    name: Option<&'a String>,
    date: Option<String>,
    /// The number of files that passed, or the reason why the only one could not be checked.
    summary: Option<String>,
    /// The files that did not pass, and those that passed, if there are several files.
    others: Vec<Line<'a>>,
    passed: Vec<Line<'a>>,
    /// The number of reports that are left out.
    omitted: usize,
    /// The level of the heading of a gradient.
    level: usize,
    parts: Vec<Part<'a>>,
    version: &'static str,
}

/// One of several files.
struct Line<'a> {
    heading: String,
    name: &'a str,
    /// The id of its report, if it is on the page.
    id: Option<String>,
    summary: String,
}

/// Returns the parts of a name between which a line may break.
fn pieces(name: &str) -> impl Iterator<Item = &str> {
    name.split_inclusive(['/', '_', '-', '.'])
}

/// The report of one file.
struct Part<'a> {
    id: String,
    name: Option<&'a str>,
    report: &'a Report,
    sections: Vec<Section<'a>>,
}
