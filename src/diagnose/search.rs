//! The search for the causes of one wrong gradient, one after the other.

use super::{
    evidence::Evidence,
    hypothesis::{Fallback, Hypothesis},
    pair::Pair,
    rules::{Claim, STAGES, Stage, applies, unknown},
};
use crate::report::{Code, Finding, Proof};

/// Most causes that are found one after the other. Chosen.
const MOST_STEPS: usize = 4;

/// Largest confidence in f16 and bf16, where rounding leaves two digits and many causes look alike.
/// Chosen.
const IN_HALF_PRECISION: f64 = 0.85;

/// Largest severity of an alternative, relative to that of the best hypothesis. Chosen.
const AS_GOOD: f64 = 2.0;
/// Severity below which all fits count as equally good: rounding alone leaves about this much, and
/// a fit with one parameter per entry leaves nothing. Chosen.
const LEAST_SEVERITY: f64 = 0.05;

/// Causes of the errors of one check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// Causes that explain the errors; the last is `unknown` if they do not explain all of them.
    /// Empty for a check that passed.
    pub findings: Vec<Finding>,
    /// Causes that were tried and do not explain the errors.
    pub tried: Vec<Code>,
}

/// A search and its state.
pub(super) struct Search<'a> {
    evidence: &'a Evidence<'a>,
    /// The pair with the causes found so far undone.
    pair: Pair,
    /// Number of the cause that is searched for, from 1.
    step: usize,
    found: Diagnosis,
    /// Pair and step before the first [`Claim::Part`].
    before_parts: Option<(Pair, usize)>,
    /// Fallback of the last cause that has one, and the step of that cause.
    fallback: Option<(Fallback, usize)>,
    continues: &'a mut dyn FnMut() -> bool,
    is_cancelled: bool,
}

impl<'a> Search<'a> {
    /// Prepares a search that calls `continues` before each rule.
    pub(super) fn new(
        evidence: &'a Evidence<'a>,
        pair: Pair,
        continues: &'a mut dyn FnMut() -> bool,
    ) -> Self {
        Self {
            evidence,
            pair,
            step: 1,
            found: Diagnosis::default(),
            before_parts: None,
            fallback: None,
            continues,
            is_cancelled: false,
        }
    }

    /// Searches until every error is explained or no rule explains more. Returns `None` if
    /// `continues` returned false.
    pub(super) fn run(mut self) -> Option<Diagnosis> {
        while self.step <= MOST_STEPS {
            let found = self.next_cause();
            if self.is_cancelled {
                return None;
            }
            let is_done = if let Some((claim, best)) = found {
                self.accept(claim, best)
            } else if self.fall_back() {
                self.pair.is_explained()
            } else {
                break;
            };
            if is_done {
                return Some(self.found);
            }
        }
        Some(self.end_unexplained())
    }

    /// Finds the next cause and its alternatives, and returns the best of them.
    fn next_cause(&mut self) -> Option<(Claim, Hypothesis)> {
        let factors_only = self.pair.is_scaled() || !self.evidence.is_affordable();
        let is_tried =
            |stage: &&Stage| !factors_only || matches!(stage.claim, Claim::Fact | Claim::Factor);
        for stage in STAGES.iter().filter(is_tried) {
            let kept = self.hypotheses(stage);
            if self.is_cancelled {
                return None;
            }
            // Facts that do not hold are not worth listing.
            if stage.claim != Claim::Fact {
                self.note_tried(stage);
            }
            for it in &kept {
                let mut finding = it.finding.clone();
                finding.step = self.step;
                finding.proof = self.proof(&self.pair, &it.after, &it.correction);
                self.found.tried.retain(|code| *code != finding.code);
                self.found.findings.push(finding);
            }
            if let Some(best) = kept.into_iter().next() {
                return Some((stage.claim, best));
            }
        }
        None
    }

    fn note_tried(&mut self, stage: &Stage) {
        let codes = stage.rules.iter().map(|(code, _)| *code);
        for code in codes.filter(|code| applies(*code, self.evidence)) {
            if !self.found.tried.contains(&code) {
                self.found.tried.push(code);
            }
        }
    }

    /// Returns the hypotheses of a stage that its claim admits, the likeliest first.
    fn hypotheses(&mut self, stage: &Stage) -> Vec<Hypothesis> {
        let reordered;
        let evidence = if stage.claim == Claim::Order {
            reordered = self.evidence.in_any_order();
            &reordered
        } else {
            self.evidence
        };
        let pair = &self.pair;
        let mut found = Vec::new();
        let rules = stage.rules.iter();
        for (_, rule) in rules.filter(|(code, _)| applies(*code, evidence)) {
            self.is_cancelled |= !(self.continues)();
            if self.is_cancelled {
                break;
            }
            let Some(it) = rule(evidence, pair) else {
                continue;
            };
            log(&it);
            found.push(it);
            // Facts and parts do not compete: the next steps find the others.
            if matches!(stage.claim, Claim::Fact | Claim::Part) {
                return found;
            }
        }
        let admits = |it: &Hypothesis| {
            let explains = it.settles || it.after.is_explained_up_to_factor();
            explains || stage.claim == Claim::Order
        };
        found.retain(admits);
        let mut found = rank(found);
        if pair.dtype.is_half() {
            for it in &mut found {
                it.finding.confidence = it.finding.confidence.min(IN_HALF_PRECISION);
            }
        }
        found
    }

    /// Continues the search from a cause. Returns true if the search is over.
    fn accept(&mut self, claim: Claim, best: Hypothesis) -> bool {
        let before = std::mem::replace(&mut self.pair, best.after);
        if claim == Claim::Part && self.before_parts.is_none() {
            self.before_parts = Some((before, self.step));
        }
        if let Some(fallback) = best.fallback {
            self.fallback = Some((fallback, self.step));
        }
        self.step += 1;
        best.settles || self.pair.is_explained()
    }

    /// Replaces the last cause that has a fallback by that fallback, drops the later findings, and
    /// continues from there. Returns false if there is no fallback.
    fn fall_back(&mut self) -> bool {
        let Some((weaker, step)) = self.fallback.take() else {
            return false;
        };
        self.found.findings.retain(|finding| finding.step <= step);
        let proof = self.proof(&self.evidence.pair(), &weaker.after, &weaker.correction);
        if let Some(finding) = self.found.findings.last_mut() {
            finding.proof = proof;
            finding.confidence = weaker.confidence;
            if weaker.after.is_explained() {
                finding.message += &weaker.addition;
            }
        }
        self.pair = weaker.after;
        self.step = step + 1;
        self.before_parts = None;
        true
    }

    /// Returns the errors before and after a correction, or `None` if it leaves no entry to
    /// compare.
    fn proof(&self, before: &Pair, after: &Pair, correction: &str) -> Option<Proof> {
        let up_to_factor = !after.is_explained() && after.is_scaled();
        let factor = if up_to_factor { after.scale() } else { 1.0 };
        let (before, after) = (before.fit(1.0), after.fit(factor));
        (after.entries > 0).then(|| Proof {
            correction: correction.to_owned(),
            up_to_factor,
            sampled: !self.evidence.is_whole(),
            entries: [before.entries, after.entries],
            wrong: [before.wrong, after.wrong],
            error: [before.remainder, after.remainder],
        })
    }

    /// Withdraws the parts, which do not count if the other errors stay unexplained, and adds
    /// `unknown`.
    fn end_unexplained(mut self) -> Diagnosis {
        let Diagnosis { findings, tried } = &mut self.found;
        if let Some((before, step)) = self.before_parts {
            let withdrawn = findings.extract_if(.., |finding| finding.step >= step);
            tried.extend(withdrawn.map(|finding| finding.code));
            self.pair = before;
        }
        let step = findings.last().map_or(1, |last| last.step + 1);
        findings.push(unknown::finding(self.evidence, &self.pair, step));
        self.found
    }
}

fn log(it: &Hypothesis) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        let (code, fit) = (it.finding.code, it.after.fit(it.after.scale()));
        let (wrong, entries) = (fit.wrong, fit.entries);
        tracing::debug!("{code}: {wrong} of {entries} entries wrong with it undone");
    }
}

/// Returns the hypotheses that explain a pair best, the likeliest first, and shares the confidence
/// among them.
fn rank(mut found: Vec<Hypothesis>) -> Vec<Hypothesis> {
    let explains = |it: &Hypothesis| it.settles || it.after.is_explained();
    if found.iter().any(explains) {
        found.retain(explains);
    }
    let severity = |it: &Hypothesis| it.after.fit(it.after.scale()).severity;
    let best = found.iter().map(severity).fold(f64::INFINITY, f64::min);
    let best = best.max(LEAST_SEVERITY);
    found.retain(|it| !(severity(it) > AS_GOOD * best));
    found.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let all: f64 = found.iter().map(|it| it.weight).sum();
    for it in &mut found {
        it.finding.confidence *= it.weight / all;
    }
    found
}
