//! The report as JSON, schema `gradprobe/report/1`: the [`Report`] as serde writes it.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Run, single};
use crate::report::Report;

/// Renders the report of a single file. For several files, renders all reports as one document of
/// schema `gradprobe/reports/1`.
pub fn render_all(runs: &[Run]) -> String {
    if let Some(report) = single(runs) {
        return render(report);
    }
    let files = runs.iter().map(|run| File {
        file: &run.name,
        outcome: match &run.outcome {
            Ok(report) => Outcome::Report(report),
            Err(error) => Outcome::Error(error.to_string()),
        },
    });
    pretty(&Several {
        schema: "gradprobe/reports/1",
        version: env!("CARGO_PKG_VERSION"),
        files: files.collect(),
    })
}

/// The reports on several files.
#[derive(Serialize)]
struct Several<'a> {
    schema: &'static str,
    version: &'static str,
    files: Vec<File<'a>>,
}

#[derive(Serialize)]
struct File<'a> {
    file: &'a str,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome<'a> {
    Report(&'a Report),
    Error(String),
}

fn pretty(document: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(document).expect("plain data has a JSON form");
    json + "\n"
}

/// Renders a report as indented JSON, with a line break at its end.
pub fn render(report: &Report) -> String {
    pretty(report)
}

/// Renders a report as one line of JSON, to be a part of another document.
pub fn part(report: &Report) -> Box<RawValue> {
    serde_json::value::to_raw_value(report).expect("plain data has a JSON form")
}
