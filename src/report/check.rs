//! The result of checking one gradient, as every format of a report shows it.

use serde::{Deserialize, Serialize};

use super::{
    Code, ComparedOn, Comparison, Corruption, Coverage, Entry, Finding, Location, Scale, Source,
    Tally, Verdict, tolerance,
};
use crate::number;
use crate::{
    problem::{Layout, Wrt},
    rounding::Tolerance,
    scheme::{Method, Precision, Scheme},
    tensor::Dtype,
};

/// The result of checking one gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The operand that the gradient is taken with respect to. In a network, `input` for a value
    /// and `weight` for a parameter.
    pub wrt: Wrt,
    /// The name of the tensor in a network: `grad.fc1.weight`, or `value.fc1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensor: Option<String>,
    /// The layer that computes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The layers that may be wrong if the tensor is, unless that is known to be the one that
    /// computes it: no gradient between them is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspects: Vec<String>,
    /// True if the tensor is wrong although its layer is right: it was handed a wrong gradient.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub consequence: bool,
    /// The origin of the gradient under test.
    pub source: Source,
    /// The element type of the gradient under test.
    pub dtype: Dtype,
    /// The verdict on the gradient.
    pub verdict: Verdict,
    /// The way in which the losses were computed.
    pub method: Method,
    /// The difference scheme.
    pub scheme: Scheme,
    /// The arithmetic of the losses.
    pub precision: Precision,
    /// The step.
    #[serde(with = "number")]
    pub eps: f64,
    /// The place of the comparison.
    pub compared: ComparedOn,
    /// The rows that were compared, unless all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Coverage>,
    /// Entries that were compared.
    pub entries: u64,
    /// Entries that are wrong.
    pub wrong: u64,
    /// Entries of the gradient under test that are NaN or infinite.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_finite: u64,
    /// Entries that could not be decided.
    pub undecided: u64,
    /// The bound on the error of a correct entry.
    #[serde(with = "tolerance")]
    pub tolerance: Tolerance,
    /// The scale of the whole gradient.
    pub scale: Option<Scale>,
    /// The smallest relative error, the same in every entry, that would have failed.
    #[serde(with = "number")]
    pub detectable: f64,
    /// The largest detectable error with which the check may pass.
    #[serde(with = "number")]
    pub min_power: f64,
    /// True if the derivative is zero but for noise, so that no relative error is detectable.
    pub is_zero: bool,
    /// The corrupted copies of the gradient that would have passed.
    pub blind_to: Vec<Corruption>,
    /// The relative errors in five numbers.
    pub rel_err: RelErr,
    /// The entries of greatest severity, the worst first.
    pub worst: Vec<Entry<Vec<usize>>>,
    /// The places of the wrong entries, if there are any.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The causes of the errors, in order.
    pub findings: Vec<Finding>,
    /// The causes that were tried and do not explain the errors.
    #[serde(with = "tried")]
    pub tried: Vec<Code>,
    /// The comparison behind all of this. Not in JSON: `None` in a report read from it.
    #[serde(skip)]
    pub comparison: Option<Box<Comparison>>,
}

/// Causes in JSON, each with the form in which it was tried, if it has others.
mod tried {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Code;

    #[derive(Serialize, Deserialize)]
    struct Tried {
        code: Code,
        #[serde(default, skip_serializing_if = "Option::is_none", skip_deserializing)]
        form: Option<&'static str>,
    }

    pub(crate) fn serialize<S: Serializer>(
        codes: &[Code],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(codes.iter().map(|&code| Tried {
            code,
            form: code.form(),
        }))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Code>, D::Error> {
        let tried = Vec::<Tried>::deserialize(deserializer)?;
        Ok(tried.into_iter().map(|tried| tried.code).collect())
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The relative errors `|analytic - numeric| / max(|analytic|, |numeric|)` in five numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RelErr {
    /// The largest.
    #[serde(with = "number")]
    pub max: f64,
    /// The mean.
    #[serde(with = "number")]
    pub mean: f64,
    /// The median.
    #[serde(with = "number")]
    pub median: f64,
    /// The 99th percentile.
    #[serde(with = "number")]
    pub p99: f64,
    /// `|analytic - numeric| / |numeric|` of the whole gradient, in the Frobenius norm.
    #[serde(with = "number")]
    pub norm: f64,
}

impl Check {
    /// Returns the result of a comparison, with the causes that a diagnosis found and those that it
    /// tried in vain. Places are those in a gradient of `layout`, as in [`Wrt::index`].
    pub fn new(
        comparison: Comparison,
        layout: Option<&Layout>,
        findings: Vec<Finding>,
        tried: Vec<Code>,
    ) -> Self {
        let wrt = comparison.wrt;
        let worst = comparison.tally.kept.worst.iter();
        let worst = worst.map(|entry| entry.placed(wrt, layout)).collect();
        let tally = &comparison.tally;
        let coverage = &comparison.coverage;
        Self {
            wrt,
            tensor: None,
            layer: None,
            suspects: Vec::new(),
            consequence: false,
            source: comparison.source,
            dtype: comparison.dtype,
            verdict: comparison.verdict(),
            method: comparison.method,
            scheme: comparison.scheme,
            precision: comparison.precision,
            eps: comparison.eps,
            compared: comparison.compared,
            rows: (!coverage.is_whole()).then(|| coverage.clone()),
            entries: tally.counts.entries,
            wrong: tally.counts.wrong,
            not_finite: tally.counts.not_finite,
            undecided: tally.counts.undecided,
            tolerance: comparison.tolerance,
            scale: comparison.scale(),
            detectable: comparison.detectable(),
            min_power: comparison.min_power,
            is_zero: comparison.is_zero(),
            blind_to: comparison.blind_to(),
            rel_err: RelErr::new(tally),
            worst,
            location: comparison.location(layout),
            findings,
            tried,
            comparison: Some(Box::new(comparison)),
        }
    }

    /// Returns the name of the gradient in a file.
    pub fn name(&self) -> &str {
        let tensor = self.tensor.as_deref();
        tensor.unwrap_or_else(|| self.wrt.grad_name())
    }

    /// Returns the text form of an entry's place: `grad[3,5]`, `grad.fc1.bias[3]`.
    pub fn place(&self, entry: &Entry<Vec<usize>>) -> String {
        let index: Vec<String> = entry.index.iter().map(ToString::to_string).collect();
        format!("{}[{}]", self.name(), index.join(","))
    }

    /// Returns the tally behind the check, unless the check was read from JSON.
    pub fn tally(&self) -> Option<&Tally> {
        self.comparison.as_ref().map(|comparison| &comparison.tally)
    }
}

impl RelErr {
    fn new(tally: &Tally) -> Self {
        let max = tally.rel_err.max;
        // The middle of the last bin may lie above the largest error.
        let quantile = |q| tally.rel_err.histogram.quantile(q).min(max);
        Self {
            max,
            mean: tally.mean_rel_err(),
            median: quantile(0.5),
            p99: quantile(0.99),
            norm: tally.norm_rel_err(),
        }
    }
}
