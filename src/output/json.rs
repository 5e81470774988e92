//! The report as JSON, schema `gradprobe/report/1`. Numbers that are not finite are strings.

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Run, single};
use crate::report::{CheckReport, Coverage, Entry, Finding, Ranges, Report, Scale, Tolerance};

/// Of a single file its report; of several the reports together, schema `gradprobe/reports/1`.
pub fn render_all(runs: &[Run]) -> String {
    fn outcome(run: &Run) -> Outcome<'_> {
        match &run.outcome {
            Ok(report) => Outcome::Report(Box::new(document(report))),
            Err(error) => Outcome::Error(error.to_string()),
        }
    }
    if let Some(report) = single(runs) {
        return render(report);
    }
    pretty(&Several {
        schema: "gradprobe/reports/1",
        version: env!("CARGO_PKG_VERSION"),
        files: runs
            .iter()
            .map(|run| FileView {
                file: &run.name,
                outcome: outcome(run),
            })
            .collect(),
    })
}

/// The reports on several files.
#[derive(Serialize)]
struct Several<'a> {
    schema: &'static str,
    version: &'static str,
    files: Vec<FileView<'a>>,
}

#[derive(Serialize)]
struct FileView<'a> {
    file: &'a str,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome<'a> {
    Report(Box<Document<'a>>),
    Error(String),
}

fn pretty(document: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(document).expect("plain data has a JSON form");
    json + "\n"
}

/// The report, indented, with a line break at its end.
pub fn render(report: &Report) -> String {
    pretty(&document(report))
}

/// The report, in one line without a break at its end.
pub fn compact(report: &Report) -> String {
    serde_json::to_string(&document(report)).expect("the report has only text keys")
}

fn document(report: &Report) -> Document<'_> {
    Document {
        schema: "gradprobe/report/1",
        version: env!("CARGO_PKG_VERSION"),
        verdict: report.verdict(),
        command: report.command.as_deref(),
        seconds: report.seconds,
        device: &report.device,
        problem: &report.problem,
        interrupted: report.interrupted,
        checks: report.checks.iter().map(Check::of).collect(),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: &'static str,
    verdict: crate::report::Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    seconds: crate::report::Seconds,
    device: &'a crate::report::DeviceInfo,
    problem: &'a crate::report::ProblemInfo,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    checks: Vec<Check<'a>>,
}

#[derive(Serialize)]
struct Check<'a> {
    wrt: &'static str,
    source: crate::report::Source,
    dtype: String,
    verdict: crate::report::Verdict,
    method: crate::scheme::Method,
    scheme: &'static str,
    precision: crate::scheme::Precision,
    eps: Number,
    compared: crate::report::Compared,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<RowsView>,
    entries: u64,
    wrong: u64,
    undecided: u64,
    tolerance: Allowed,
    scale: Option<ScaleView>,
    detectable: Number,
    blind_to: Vec<&'static str>,
    rel_err: RelErr,
    worst: Vec<Worst>,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    places: Option<WhereView>,
    findings: Vec<FindingView<'a>>,
    ruled_out: &'a [&'static str],
}

/// Which rows were compared, if not all. Ranges are [first, last], both in them.
#[derive(Serialize)]
struct RowsView {
    compared: usize,
    of: usize,
    ranges: Vec<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draw: Option<DrawView>,
}

/// Rows that were drawn at random: of wrong rows that are `seen_share` of all, one is among them with 99 % probability.
#[derive(Serialize)]
struct DrawView {
    seed: u64,
    from: [usize; 2],
    seen_share: Number,
}

impl RowsView {
    fn of(coverage: &Coverage) -> Self {
        let Coverage { rows, of, draw } = coverage;
        Self {
            compared: rows.len(),
            of: *of,
            ranges: ranges(rows),
            draw: draw.as_ref().map(|draw| DrawView {
                seed: draw.seed,
                from: [draw.from.start, draw.from.end - 1],
                seen_share: Number(coverage.seen_share()),
            }),
        }
    }
}

/// Where the wrong entries are. Ranges are [first, last], both in them.
#[derive(Serialize)]
struct WhereView {
    text: String,
    rows: SetView,
    columns: SetView,
    /// The columns with the most wrong entries.
    most: Vec<ColumnView>,
    /// The target classes in whose rows entries are wrong.
    classes: Vec<ClassView>,
}

/// A set of indices: how many, of how many, and which.
#[derive(Serialize)]
struct SetView {
    wrong: usize,
    of: usize,
    ranges: Vec<[usize; 2]>,
}

#[derive(Serialize)]
struct ColumnView {
    column: usize,
    wrong: u64,
    share: Number,
}

#[derive(Serialize)]
struct ClassView {
    class: usize,
    wrong: u64,
    share: Number,
}

/// Ranges of a set, and classes, that are listed.
const LISTED: usize = 100;
/// Columns that are listed with their counts.
const MOST: usize = 10;

fn ranges(set: &Ranges) -> Vec<[usize; 2]> {
    let ranges = set.ranges().iter().take(LISTED);
    ranges.map(|range| [range.start, range.end - 1]).collect()
}

impl WhereView {
    fn of(check: &CheckReport) -> Option<Self> {
        let tally = &check.tally;
        let places = &tally.places;
        let [rows, columns] = check.shape()?;
        let view = |set: &Ranges, of| SetView {
            wrong: set.len(),
            of,
            ranges: ranges(set),
        };
        let share = |wrong: u64, all: u64| Number(wrong as f64 / all as f64);
        let mut most: Vec<ColumnView> = places
            .columns
            .iter()
            .enumerate()
            .filter(|(_, wrong)| **wrong > 0)
            .map(|(column, &wrong)| ColumnView {
                column,
                wrong,
                share: share(wrong, rows as u64),
            })
            .collect();
        most.sort_by_key(|column| std::cmp::Reverse(column.wrong));
        most.truncate(MOST);
        let classes = places.classes.iter().enumerate();
        Some(Self {
            text: check.whereabouts(),
            rows: view(&places.rows, rows),
            columns: view(&places.wrong_columns(), columns),
            most,
            classes: classes
                .filter(|(_, [wrong, _])| *wrong > 0)
                .take(LISTED)
                .map(|(class, &[wrong, all])| ClassView {
                    class,
                    wrong,
                    share: share(wrong, all),
                })
                .collect(),
        })
    }
}

/// <a,n>/<n,n>, and how far from 1 it may be.
#[derive(Serialize)]
struct ScaleView {
    factor: Number,
    allowed: Number,
}

/// `rtol` and `atol` if given; `factor` times the entry's conditioning, plus `floor`, is what rounding explains.
#[derive(Serialize)]
struct Allowed {
    rtol: Option<Number>,
    atol: Option<Number>,
    factor: Number,
    floor: Number,
}

#[derive(Serialize)]
struct RelErr {
    max: Number,
    mean: Number,
    median: Number,
    p99: Number,
    norm: Number,
}

#[derive(Serialize)]
struct Worst {
    index: [usize; 2],
    analytic: Number,
    numeric: Number,
    rel_err: Number,
    noise: Number,
    tolerance: Number,
}

#[derive(Serialize)]
struct FindingView<'a> {
    step: usize,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<Number>,
    confidence: Number,
    message: &'a str,
    fix: &'a str,
    evidence: Evidence<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<ProofView<'a>>,
    #[serde(rename = "where", skip_serializing_if = "PlacesView::is_empty")]
    places: PlacesView,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<&'a str>,
}

/// The errors before and after a cause was undone, over the entries that were looked at.
#[derive(Serialize)]
struct ProofView<'a> {
    correction: &'a str,
    up_to_factor: bool,
    entries: [usize; 2],
    wrong: [usize; 2],
    error: [Number; 2],
}

#[derive(Serialize)]
struct PlacesView {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rows: Vec<[usize; 2]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    columns: Vec<[usize; 2]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<[usize; 2]>,
}

impl PlacesView {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.columns.is_empty() && self.classes.is_empty()
    }
}

struct Evidence<'a>(&'a [(&'static str, f64)]);

impl Serialize for Evidence<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for &(name, value) in self.0 {
            map.serialize_entry(name, &Number(value))?;
        }
        map.end()
    }
}

/// A number that may not be finite: then it is one of the strings "NaN", "inf", "-inf".
#[derive(Clone, Copy)]
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else {
            serializer.collect_str(&self.0)
        }
    }
}

impl<'a> Check<'a> {
    fn of(check: &'a CheckReport) -> Self {
        let tally = &check.tally;
        let Tolerance {
            factor,
            floor,
            given,
            ..
        } = check.tolerance;
        let tolerance = Allowed {
            rtol: given.map(|given| Number(given.rtol)),
            atol: given.map(|given| Number(given.atol)),
            factor: Number(factor),
            floor: Number(floor),
        };
        let view = |scale: Scale| ScaleView {
            factor: Number(scale.factor),
            allowed: Number(scale.allowed),
        };
        Self {
            wrt: check.wrt.name(),
            source: check.source,
            dtype: check.dtype.to_string(),
            verdict: check.verdict(),
            method: check.method,
            scheme: check.scheme,
            precision: check.precision,
            eps: Number(check.eps),
            compared: check.compared,
            rows: (!check.coverage.is_whole()).then(|| RowsView::of(&check.coverage)),
            entries: tally.entries,
            wrong: tally.wrong,
            undecided: tally.undecided,
            tolerance,
            scale: check.scale().map(view),
            detectable: Number(check.detectable()),
            blind_to: check.blind_to(),
            rel_err: RelErr {
                max: Number(tally.max_rel_err),
                mean: Number(tally.mean_rel_err()),
                median: Number(tally.rel_err.quantile(0.5)),
                p99: Number(tally.rel_err.quantile(0.99)),
                norm: Number(tally.norm_rel_err()),
            },
            worst: tally.worst.iter().map(Worst::of).collect(),
            places: WhereView::of(check),
            findings: check.findings.iter().map(FindingView::of).collect(),
            ruled_out: &check.ruled_out,
        }
    }
}

impl Worst {
    fn of(entry: &Entry) -> Self {
        Self {
            index: [entry.row, entry.column],
            analytic: Number(entry.analytic),
            numeric: Number(entry.numeric),
            rel_err: Number(entry.rel_err),
            noise: Number(entry.noise),
            tolerance: Number(entry.tolerance),
        }
    }
}

impl<'a> FindingView<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self {
            step: finding.step,
            code: finding.code,
            factor: finding.factor.map(Number),
            confidence: Number(finding.confidence),
            message: &finding.message,
            fix: &finding.fix,
            evidence: Evidence(&finding.evidence),
            proof: finding.proof.as_ref().map(|proof| ProofView {
                correction: &finding.correction,
                up_to_factor: proof.up_to_factor,
                entries: proof.entries,
                wrong: proof.wrong,
                error: proof.error.map(Number),
            }),
            places: PlacesView {
                rows: ranges(&finding.places.rows),
                columns: ranges(&finding.places.columns),
                classes: ranges(&finding.places.classes),
            },
            test: finding.test.as_deref(),
        }
    }
}
