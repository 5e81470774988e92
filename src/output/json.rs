//! The report as JSON, schema `gradprobe/report/1`. Numbers that are not finite are strings.

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::report::{CheckReport, Entry, Finding, Report, Scale, Tolerance};

/// The report, indented, with a line break at its end.
pub fn render(report: &Report) -> String {
    let document = Document {
        schema: "gradprobe/report/1",
        version: env!("CARGO_PKG_VERSION"),
        verdict: report.verdict(),
        seconds: report.seconds,
        device: &report.device,
        problem: &report.problem,
        checks: report.checks.iter().map(Check::of).collect(),
    };
    let json = serde_json::to_string_pretty(&document).expect("plain data has a JSON form");
    json + "\n"
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: &'static str,
    verdict: crate::report::Verdict,
    seconds: crate::report::Seconds,
    device: &'a crate::report::DeviceInfo,
    problem: &'a crate::report::ProblemInfo,
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
    entries: u64,
    wrong: u64,
    undecided: u64,
    tolerance: Allowed,
    scale: Option<ScaleView>,
    detectable: Number,
    blind_to: Vec<&'static str>,
    rel_err: RelErr,
    worst: Vec<Worst>,
    findings: Vec<FindingView<'a>>,
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
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<Number>,
    confidence: Number,
    message: &'a str,
    fix: &'a str,
    evidence: Evidence<'a>,
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
            findings: check.findings.iter().map(FindingView::of).collect(),
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
            code: finding.code,
            factor: finding.factor.map(Number),
            confidence: Number(finding.confidence),
            message: &finding.message,
            fix: &finding.fix,
            evidence: Evidence(&finding.evidence),
        }
    }
}
