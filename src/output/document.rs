//! A report as everybody sees it, schema `gradprobe/report/1`: what JSON holds, and all that the other formats say, so that a report can be told
//! anew from its JSON. Numbers that are not finite are strings.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};

use crate::{
    problem::Wrt,
    report::{
        CheckReport, Code, ComparedOn, Coverage, DeviceInfo, ProblemInfo, Ranges, Report, Seconds,
        Source, Verdict, severity,
    },
    scheme::{Method, Precision},
};

/// The schema that this version writes and reads.
pub const SCHEMA: &str = "gradprobe/report/1";

/// The report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: String,
    /// That of the program.
    pub version: String,
    /// The worst of the checks'.
    pub verdict: Verdict,
    /// The command line that repeats it, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// How long it took.
    pub seconds: Seconds,
    /// Who did the arithmetic.
    pub device: DeviceInfo,
    /// The sizes and options.
    pub problem: ProblemInfo,
    /// What of the files was left out, and why, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Whether it was stopped before all rows were compared, or before the cause was found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// One for each gradient.
    pub checks: Vec<Check>,
}

/// The check of one gradient.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// What the gradient is taken with respect to.
    pub wrt: Wrt,
    /// Where it came from.
    pub source: Source,
    /// Its element type.
    pub dtype: String,
    /// What came of it.
    pub verdict: Verdict,
    /// How the losses were computed.
    pub method: Method,
    /// The difference scheme's name.
    pub scheme: String,
    /// The arithmetic of the losses.
    pub precision: Precision,
    /// The step.
    pub eps: Number,
    /// Where the errors were found.
    pub compared: ComparedOn,
    /// Which rows were compared, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Rows>,
    /// Entries that were compared.
    pub entries: u64,
    /// Those that are wrong.
    pub wrong: u64,
    /// Those of them that are NaN or infinite.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_finite: u64,
    /// Those that could not be decided.
    pub undecided: u64,
    /// How far an entry may be off.
    pub tolerance: Allowed,
    /// The gradient as a whole.
    pub scale: Option<Scale>,
    /// The smallest error, relative and the same in all entries, that would have failed.
    pub detectable: Number,
    /// Certainly wrong copies of the gradient that would have passed.
    pub blind_to: Vec<String>,
    /// How the relative errors are distributed.
    pub rel_err: RelErr,
    /// The worst entries, the worst first.
    pub worst: Vec<Worst>,
    /// Where the wrong entries are.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub places: Option<Where>,
    /// What the errors point to.
    pub findings: Vec<Finding>,
    /// Causes that were considered and do not explain the errors.
    pub ruled_out: Vec<Code>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Which rows were compared. Ranges are [first, last], both in them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rows {
    /// How many.
    pub compared: usize,
    /// Of how many.
    pub of: usize,
    /// Which, the first hundred ranges.
    pub ranges: Vec<[usize; 2]>,
    /// Where they were drawn at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<Draw>,
}

/// Rows that were drawn at random: of wrong rows that are `seen_share` of all, one is among them with 99 % probability.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Draw {
    /// What the random numbers began with.
    pub seed: u64,
    /// The rows that they were drawn from.
    pub from: [usize; 2],
    /// A share of those.
    pub seen_share: Number,
}

/// Where the wrong entries are. Ranges are [first, last], both in them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Where {
    /// In words.
    pub text: String,
    /// The rows with a wrong entry.
    pub rows: Set,
    /// The columns.
    pub columns: Set,
    /// The columns with the most wrong entries.
    pub most: Vec<Column>,
    /// The target classes in whose rows entries are wrong.
    pub classes: Vec<Class>,
}

/// A set of indices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Set {
    /// How many.
    pub wrong: usize,
    /// Of how many.
    pub of: usize,
    /// Which, the first hundred ranges.
    pub ranges: Vec<[usize; 2]>,
}

/// A column's wrong entries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    /// Which.
    pub column: usize,
    /// How many.
    pub wrong: u64,
    /// Of all in it.
    pub share: Number,
}

/// Wrong entries in the rows of a target class.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Class {
    /// Which.
    pub class: usize,
    /// How many.
    pub wrong: u64,
    /// Of all in them.
    pub share: Number,
}

/// <a,n>/<n,n>, and how far from 1 it may be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scale {
    /// The quotient.
    pub factor: Number,
    /// The distance.
    pub allowed: Number,
}

/// `rtol` and `atol` if given; `factor` times the entry's conditioning, plus `floor`, is what rounding explains.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Allowed {
    /// Relative.
    pub rtol: Option<Number>,
    /// Absolute.
    pub atol: Option<Number>,
    /// Of the conditioning.
    pub factor: Number,
    /// What underflow may cost.
    pub floor: Number,
}

/// Relative errors |a - n| / max(|a|, |n|).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RelErr {
    /// The largest.
    pub max: Number,
    /// Their mean.
    pub mean: Number,
    /// Half of them are no larger.
    pub median: Number,
    /// 99 % of them are no larger.
    pub p99: Number,
    /// |a - n| / |n| of the whole.
    pub norm: Number,
}

/// One of the worst entries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worst {
    /// Row and column.
    pub index: [usize; 2],
    /// The gradient under test.
    pub analytic: Number,
    /// The finite difference.
    pub numeric: Number,
    /// |a - n| / max(|a|, |n|).
    pub rel_err: Number,
    /// The bound on the numeric error.
    pub noise: Number,
    /// How far analytic may be from the exact derivative.
    pub tolerance: Number,
}

/// A cause that the errors point to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// 1 for the first; findings of the same step are alternatives.
    pub step: usize,
    /// Its name in the catalogue.
    pub code: Code,
    /// The factor by which the gradient is off, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<Number>,
    /// 0 to 1.
    pub confidence: Number,
    /// One sentence that stands alone.
    pub message: String,
    /// What to do.
    pub fix: String,
    /// The numbers it rests on.
    pub evidence: Evidence,
    /// What undoing it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// Where it was seen, if not everywhere.
    #[serde(rename = "where", default, skip_serializing_if = "Places::is_empty")]
    pub places: Places,
    /// The one run that would tell it from what looks the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
}

/// The errors before and after a cause was undone, over the entries that were looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proof {
    /// How it was undone.
    pub correction: String,
    /// Whether one factor is left out of it, which the next finding explains.
    pub up_to_factor: bool,
    /// Entries that were looked at.
    pub entries: [usize; 2],
    /// How many of them were wrong.
    pub wrong: [usize; 2],
    /// |analytic - right| / |right|.
    pub error: [Number; 2],
}

/// Ranges of rows, columns and classes, [first, last].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Places {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<[usize; 2]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<[usize; 2]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<[usize; 2]>,
}

impl Places {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.columns.is_empty() && self.classes.is_empty()
    }
}

/// Names and numbers, in their order.
#[derive(Clone, Debug)]
pub struct Evidence(pub Vec<(String, f64)>);

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, &Number(*value))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Evidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = Evidence;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("names and numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Evidence, A::Error> {
                let mut numbers = Vec::new();
                while let Some((name, Number(value))) = map.next_entry()? {
                    numbers.push((name, value));
                }
                Ok(Evidence(numbers))
            }
        }
        deserializer.deserialize_map(Numbers)
    }
}

/// A number that may not be finite: then it is one of the strings "NaN", "inf", "-inf".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else {
            serializer.collect_str(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(value) => Ok(Self(value)),
            Written::Text(text) => text.parse().map(Self).map_err(serde::de::Error::custom),
        }
    }
}

/// Ranges of a set, and classes, that are listed.
const LISTED: usize = 100;
/// Columns that are listed with their counts.
const MOST: usize = 10;

fn ranges(set: &Ranges) -> Vec<[usize; 2]> {
    let ranges = set.ranges().iter().take(LISTED);
    ranges.map(|range| [range.start, range.end - 1]).collect()
}

impl From<&Report> for Document {
    fn from(report: &Report) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            verdict: report.verdict(),
            command: report.command.clone(),
            seconds: report.seconds,
            device: report.device.clone(),
            problem: report.problem.clone(),
            notes: report.notes.clone(),
            interrupted: report.interrupted,
            checks: report.checks.iter().map(Check::from).collect(),
        }
    }
}

impl From<&CheckReport> for Check {
    fn from(check: &CheckReport) -> Self {
        let tally = &check.tally;
        let tolerance = check.tolerance;
        let scale = |scale: crate::report::Scale| Scale {
            factor: Number(scale.factor),
            allowed: Number(scale.allowed),
        };
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Self {
            wrt: check.wrt,
            source: check.source,
            dtype: check.dtype.to_string(),
            verdict: check.verdict(),
            method: check.method,
            scheme: check.scheme.to_string(),
            precision: check.precision,
            eps: Number(check.eps),
            compared: check.compared,
            rows: (!check.coverage.is_whole()).then(|| Rows::from(&check.coverage)),
            entries: tally.entries,
            wrong: tally.wrong,
            not_finite: tally.not_finite,
            undecided: tally.undecided,
            tolerance: Allowed {
                rtol: tolerance.given.map(|given| Number(given.rtol)),
                atol: tolerance.given.map(|given| Number(given.atol)),
                factor: Number(tolerance.rounding),
                floor: Number(tolerance.floor),
            },
            scale: check.scale().map(scale),
            detectable: Number(check.detectable()),
            blind_to: texts(&check.blind_to()),
            rel_err: RelErr {
                max: Number(tally.max_rel_err),
                mean: Number(tally.mean_rel_err()),
                median: Number(tally.rel_err.quantile(0.5)),
                p99: Number(tally.rel_err.quantile(0.99)),
                norm: Number(tally.norm_rel_err()),
            },
            worst: tally.worst.iter().map(Worst::from).collect(),
            places: Where::of(check),
            findings: check.findings.iter().map(Finding::from).collect(),
            ruled_out: check.ruled_out.clone(),
        }
    }
}

impl From<&Coverage> for Rows {
    fn from(coverage: &Coverage) -> Self {
        let Coverage { rows, of, draw } = coverage;
        Self {
            compared: rows.len(),
            of: *of,
            ranges: ranges(rows),
            draw: draw.as_ref().map(|draw| Draw {
                seed: draw.seed,
                from: [draw.from.start, draw.from.end - 1],
                seen_share: Number(coverage.seen_share()),
            }),
        }
    }
}

impl Rows {
    /// Which, as far as they are listed.
    pub fn listed(&self) -> Ranges {
        let mut listed = Ranges::default();
        for [first, last] in &self.ranges {
            listed.merge(Ranges::from(*first..last + 1));
        }
        listed
    }
}

impl Where {
    fn of(check: &CheckReport) -> Option<Self> {
        let places = &check.tally.places;
        let [rows, columns] = check.shape()?;
        let view = |set: &Ranges, of| Set {
            wrong: set.len(),
            of,
            ranges: ranges(set),
        };
        let share = |wrong: u64, all: u64| Number(wrong as f64 / all as f64);
        let mut most: Vec<Column> = places
            .columns
            .iter()
            .enumerate()
            .filter(|(_, wrong)| **wrong > 0)
            .map(|(column, &wrong)| Column {
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
                .map(|(class, &[wrong, all])| Class {
                    class,
                    wrong,
                    share: share(wrong, all),
                })
                .collect(),
        })
    }
}

impl From<&crate::report::Entry> for Worst {
    fn from(entry: &crate::report::Entry) -> Self {
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

impl Worst {
    /// How it is written.
    pub fn place(&self, wrt: Wrt) -> String {
        let [row, column] = self.index;
        wrt.place(row, column)
    }

    /// |analytic - numeric| in units of what is allowed; above 1 the entry is wrong.
    pub fn severity(&self) -> f64 {
        let allowed = self.tolerance.0 + self.noise.0;
        severity(self.analytic.0, self.numeric.0, allowed)
    }
}

impl From<&crate::report::Finding> for Finding {
    fn from(finding: &crate::report::Finding) -> Self {
        let evidence = finding.evidence.iter();
        let evidence = evidence.map(|&(name, value)| (name.to_owned(), value));
        Self {
            step: finding.step,
            code: finding.code,
            factor: finding.factor.map(Number),
            confidence: Number(finding.confidence),
            message: finding.message.clone(),
            fix: finding.fix.clone(),
            evidence: Evidence(evidence.collect()),
            proof: finding.proof.as_ref().map(|proof| Proof {
                correction: finding.correction.clone(),
                up_to_factor: proof.up_to_factor,
                entries: proof.entries,
                wrong: proof.wrong,
                error: proof.error.map(Number),
            }),
            places: Places {
                rows: ranges(&finding.places.rows),
                columns: ranges(&finding.places.columns),
                classes: ranges(&finding.places.classes),
            },
            test: finding.test.clone(),
        }
    }
}
