//! The report as JSON: the [`Report`] as it is.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Run, single};
use crate::report::Report;

/// Of a single file its report; of several the reports together, schema `gradprobe/reports/1`.
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

/// The report, indented, with a line break at its end.
pub fn render(report: &Report) -> String {
    pretty(report)
}

/// The report, in one line, as a part of another document.
pub fn part(report: &Report) -> Box<RawValue> {
    serde_json::value::to_raw_value(report).expect("plain data has a JSON form")
}
