//! What is wrong with a gradient that failed: a cause with its numbers, its fix and its proof, or an honest `unknown`.
//!
//! A rule looks at the evidence and at the pair, and says how the gradient would be corrected if its cause held. What counts is
//! what the correction leaves: a cause is named if nothing is left, or nothing but one factor, which is then explained by the next;
//! so several bugs at once are found one after the other. A new bug is one file and one row of `STAGES`.

use std::cell::Cell;

use crate::{
    problem::{Problem, Wrt},
    report::{Check, Code, Comparison, Finding, Proof, Verdict},
    tensor::{Dtype, Tensor},
};

mod drift;
mod errors;
mod evidence;
mod factor;
mod hypothesis;
mod matching;
mod model;
mod pair;
mod words;

mod accumulated;
mod accumulated_moving;
mod all_zero;
mod averaged_over_workers;
mod below_resolution;
mod bias_missing;
mod class_weights_missing;
mod columns_permuted;
mod columns_zero;
mod divided_by_all_rows;
mod divided_by_classes;
mod divided_by_count;
mod dropout_on;
mod half_precision;
mod ignored_rows;
mod input_scaling_missed;
mod label_smoothing_missing;
mod labels_shifted;
mod loss_scaled;
mod mean_instead_of_sum;
mod noisy;
mod norm_clipped;
mod not_finite;
mod one_hot_missing;
mod penalty_missing;
mod reduced_precision;
mod rows_permuted;
mod rows_scaled;
mod rows_zero;
mod scaled;
mod sigmoid;
mod sign_flipped;
mod softmax_missing;
mod softmax_over_batch;
mod softmax_twice;
mod stale_weights;
mod sum_instead_of_mean;
mod temperature;
mod tolerance_too_loose;
mod tolerance_too_tight;
mod transposed;
mod unknown;
mod value_clipped;
mod weight_wrong;
mod wrong_labels;

use evidence::Evidence;
use hypothesis::{Fallback, Hypothesis};
use pair::Pair;

/// What a rule makes of a pair; none where its cause does not show.
type Rule = fn(&Evidence, &Pair) -> Option<Hypothesis>;

/// Rules that are asked together, by code. Where several of them explain a pair equally well the arrays cannot tell them apart.
struct Stage {
    kind: Kind,
    rules: &'static [(Code, Rule)],
}

/// Whether a rule has anything to say of such a gradient; one that has not rules nothing out.
fn applies(code: Code, evidence: &Evidence) -> bool {
    let problem = evidence.problem;
    match code {
        Code::WeightTransposedOrWrong => weight_wrong::applies(evidence),
        Code::WrongLabels => !evidence.wrt.is_parameter() && problem.is_one_hot(),
        Code::InputScalingMissed => matches!(evidence.wrt, Wrt::Input | Wrt::Weight),
        Code::ReducedPrecisionMatmul => evidence.check.dtype == Dtype::F32,
        Code::IgnoredRowsNotMasked | Code::DividedByAllRows => {
            let (valid, all) = evidence.valid_rows();
            valid < all
        }
        Code::DividedByCountNotWeights => evidence.is_weighted(),
        _ => true,
    }
}

/// When the rules of a stage are asked, and what makes one of their hypotheses count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It holds whatever else is wrong: it is taken out, whatever it leaves.
    Fact,
    /// One factor. Where one factor is all that is wrong nothing else is asked.
    Factor,
    /// It leaves nothing, or nothing but one factor.
    Cause,
    /// It leaves the right rows or columns in another order.
    Reordered,
    /// Rows that are wrong in a way of their own: they are taken out, but only for good if the rest is explained then.
    Part,
}

/// All rules, from plain facts and simple causes to those that would fit nearly anything.
const STAGES: [Stage; 10] = [
    Stage {
        kind: Kind::Fact,
        rules: &[
            (Code::NotFinite, not_finite::rule),
            (Code::AllZero, all_zero::rule),
            (Code::HalfPrecision, half_precision::rule),
        ],
    },
    // Those that the problem or the usual habits name.
    Stage {
        kind: Kind::Factor,
        rules: &[
            (Code::SignFlipped, sign_flipped::rule),
            (Code::SumInsteadOfMean, sum_instead_of_mean::rule),
            (Code::MeanInsteadOfSum, mean_instead_of_sum::rule),
            (Code::DividedByClasses, divided_by_classes::rule),
            (Code::DividedByAllRows, divided_by_all_rows::rule),
            (Code::DividedByCountNotWeights, divided_by_count::rule),
            (Code::Accumulated, accumulated::rule),
            (Code::LossScaled, loss_scaled::rule),
            (Code::AveragedOverWorkers, averaged_over_workers::rule),
            (Code::NormClipped, norm_clipped::rule),
        ],
    },
    Stage {
        kind: Kind::Factor,
        rules: &[(Code::Scaled, scaled::rule)],
    },
    // Entries that carry a mark.
    Stage {
        kind: Kind::Cause,
        rules: &[
            (Code::ValueClipped, value_clipped::rule),
            (Code::DropoutOn, dropout_on::rule),
        ],
    },
    // The gradient of another loss.
    Stage {
        kind: Kind::Cause,
        rules: &[
            (Code::OneHotMissing, one_hot_missing::rule),
            (Code::SoftmaxMissing, softmax_missing::rule),
            (Code::LabelsShifted, labels_shifted::rule),
            (Code::LabelSmoothingMissing, label_smoothing_missing::rule),
            (Code::ClassWeightsMissing, class_weights_missing::rule),
            (Code::SoftmaxOverBatch, softmax_over_batch::rule),
            (Code::SigmoidInsteadOfSoftmax, sigmoid::rule),
            (Code::SoftmaxTwice, softmax_twice::rule),
            (Code::BiasMissing, bias_missing::rule),
            (Code::Temperature, temperature::rule),
            (Code::PenaltyMissing, penalty_missing::rule),
        ],
    },
    // The right numbers at other places, or times something; a few other labels.
    Stage {
        kind: Kind::Cause,
        rules: &[
            (Code::ColumnsPermuted, columns_permuted::rule),
            (Code::RowsPermuted, rows_permuted::rule),
            (Code::Transposed, transposed::rule),
            (Code::InputScalingMissed, input_scaling_missed::rule),
            (Code::RowsScaled, rows_scaled::rule),
            (Code::WrongLabels, wrong_labels::rule),
        ],
    },
    Stage {
        kind: Kind::Part,
        rules: &[
            (Code::RowsZero, rows_zero::rule),
            (Code::ColumnsZero, columns_zero::rule),
            (Code::IgnoredRowsNotMasked, ignored_rows::rule),
        ],
    },
    // Other weights.
    Stage {
        kind: Kind::Cause,
        rules: &[
            (Code::StaleWeights, stale_weights::rule),
            (Code::BiasMissing, bias_missing::another),
            (Code::Accumulated, accumulated_moving::rule),
            (Code::WeightTransposedOrWrong, weight_wrong::rule),
        ],
    },
    Stage {
        kind: Kind::Reordered,
        rules: &[
            (Code::OneHotMissing, one_hot_missing::rule),
            (Code::SoftmaxMissing, softmax_missing::rule),
            (Code::LabelsShifted, labels_shifted::rule),
            (Code::ClassWeightsMissing, class_weights_missing::rule),
            (Code::SigmoidInsteadOfSoftmax, sigmoid::rule),
            (Code::BiasMissing, bias_missing::rule),
        ],
    },
    // No structure at all.
    Stage {
        kind: Kind::Cause,
        rules: &[
            (Code::ReducedPrecisionMatmul, reduced_precision::rule),
            (Code::Noisy, noisy::rule),
        ],
    },
];

/// Causes that are looked for one after the other.
const MOST_STEPS: usize = 4;

/// The most confidence in a cause where rounding leaves two digits, in which many look alike.
const IN_HALF_PRECISION: f64 = 0.85;

/// How much worse than the best an alternative may fit, in root mean squares of the errors.
const AS_GOOD: f64 = 2.0;
/// What rounding alone leaves of errors, in units of what is allowed, at the least.
const LEAST_SEVERITY: f64 = 0.05;

/// What the errors point to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// The causes; the last is `unknown` where they do not explain everything. None for a gradient that passed.
    pub findings: Vec<Finding>,
    /// Causes that were considered and do not explain the errors.
    pub tried: Vec<Code>,
}

/// Diagnoses a check that did not pass. Before each cause that it tries it asks whether it `goes_on`; none if it does not.
pub fn diagnose(
    problem: &Problem,
    gradient: &Tensor,
    check: &Comparison,
    goes_on: &mut dyn FnMut() -> bool,
) -> Option<Diagnosis> {
    let mut diagnosis = Diagnosis::default();
    match check.verdict() {
        Verdict::Pass => return Some(diagnosis),
        Verdict::Inconclusive => {
            let too_loose = tolerance_too_loose::finding(check);
            let finding = too_loose.or_else(|| below_resolution::finding(check));
            diagnosis.findings.extend(finding);
            return Some(diagnosis);
        }
        Verdict::Fail => {}
    }
    let evidence = Evidence::new(problem, gradient, check);
    let mut pair = evidence.pair();
    if let Some(finding) = tolerance_too_tight::finding(check, &pair) {
        diagnosis.findings.push(finding);
        return Some(diagnosis);
    }
    let is_broken_off = Cell::new(false);
    let mut goes_on = || {
        is_broken_off.set(is_broken_off.get() || !goes_on());
        !is_broken_off.get()
    };
    // Where the search stood before it took anything out that may have been a part of something else.
    let mut certain: Option<(Pair, usize)> = None;
    let mut fallback: Option<(Fallback, usize)> = None;
    let mut step = 1;
    while step <= MOST_STEPS {
        let found = diagnosis.step(&evidence, &pair, step, &mut goes_on);
        if is_broken_off.get() {
            return None;
        }
        let Some(found) = found else {
            // Nothing explains what a strong claim leaves: what does the weaker one leave?
            let Some((weaker, at)) = fallback.take() else {
                break;
            };
            diagnosis.fall_back(&weaker, &evidence.pair(), at);
            (pair, step, certain) = (weaker.after, at + 1, None);
            if pair.is_explained() {
                return Some(diagnosis);
            }
            continue;
        };
        let last = diagnosis.findings.last().map(|finding| finding.code);
        if last.is_some_and(is_part) && certain.is_none() {
            certain = Some((pair, step));
        }
        if let Some(weaker) = found.fallback {
            fallback = Some((weaker, step));
        }
        pair = found.pair;
        if found.settles || pair.is_explained() {
            return Some(diagnosis);
        }
        step += 1;
    }
    if let Some((before, step)) = certain {
        for finding in diagnosis
            .findings
            .extract_if(.., |finding| finding.step >= step)
        {
            diagnosis.tried.push(finding.code);
        }
        pair = before;
    }
    let step = diagnosis.findings.last().map_or(1, |last| last.step + 1);
    diagnosis
        .findings
        .push(unknown::finding(&evidence, &pair, step));
    Some(diagnosis)
}

/// Where one gradient of a problem has a cause and another has none that is known, it may well be the same: says so.
pub fn relate(checks: &mut [Check]) {
    let first = |check: &Check| {
        let finding = check.findings.first()?;
        (finding.code != Code::Unknown && check.verdict == Verdict::Fail)
            .then(|| (check.wrt.grad_name(), finding.code))
    };
    let Some((name, code)) = checks.iter().find_map(first) else {
        return;
    };
    for check in checks {
        if let Some(unknown) = check
            .findings
            .iter_mut()
            .find(|it| it.code == Code::Unknown)
        {
            unknown.fix = format!(
                "first mend {name}, whose cause is {code}: it may well be the same one; if not, {}",
                unknown.fix
            );
        }
    }
}

fn is_part(code: Code) -> bool {
    let parts = STAGES.iter().filter(|stage| stage.kind == Kind::Part);
    parts
        .flat_map(|stage| stage.rules)
        .any(|(part, _)| *part == code)
}

/// What a step leaves.
struct Found {
    /// The pair without the cause.
    pair: Pair,
    /// Whether that ends the search.
    settles: bool,
    /// What to go on with if nothing explains the pair.
    fallback: Option<Fallback>,
}

impl Diagnosis {
    /// Puts a weaker claim in the place of the finding of a step, and drops what came after.
    fn fall_back(&mut self, weaker: &Fallback, before: &Pair, step: usize) {
        self.findings.retain(|finding| finding.step <= step);
        if let Some(finding) = self.findings.last_mut() {
            finding.proof = proof(before, &weaker.after, &weaker.correction);
            finding.confidence = weaker.confidence;
            if weaker.after.is_explained() {
                finding.message += &weaker.besides;
            }
        }
    }

    /// Looks for one cause; once it does not go on, what it says counts for nothing.
    fn step(
        &mut self,
        evidence: &Evidence,
        pair: &Pair,
        step: usize,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Option<Found> {
        let is_scaled = pair.is_scaled();
        let few = is_scaled || !evidence.is_affordable();
        let asked = STAGES
            .iter()
            .filter(|stage| !few || matches!(stage.kind, Kind::Fact | Kind::Factor));
        for stage in asked {
            let kept = hypotheses(stage, evidence, pair, goes_on);
            // That a fact does not hold needs no saying.
            let codes = stage.rules.iter().map(|(code, _)| *code);
            let codes = codes.filter(|&code| applies(code, evidence));
            for code in codes.filter(|_| stage.kind != Kind::Fact) {
                if !self.tried.contains(&code) {
                    self.tried.push(code);
                }
            }
            let Some(first) = kept.first() else { continue };
            let next = Found {
                pair: first.after.clone(),
                settles: first.settles,
                fallback: first.fallback.clone(),
            };
            for Hypothesis {
                mut finding,
                correction,
                after,
                ..
            } in kept
            {
                finding.step = step;
                finding.proof = proof(pair, &after, &correction);
                self.tried.retain(|code| *code != finding.code);
                self.findings.push(finding);
            }
            return Some(next);
        }
        None
    }
}

/// What the rules of a stage make of a pair: those that count, ranked.
fn hypotheses(
    stage: &Stage,
    evidence: &Evidence,
    pair: &Pair,
    goes_on: &mut dyn FnMut() -> bool,
) -> Vec<Hypothesis> {
    let reordered;
    let evidence = match stage.kind {
        Kind::Reordered => {
            reordered = evidence.reordered();
            &reordered
        }
        _ => evidence,
    };
    let found = stage
        .rules
        .iter()
        .take_while(|_| goes_on())
        .filter_map(|(_, rule)| rule(evidence, pair))
        .inspect(|it| {
            if tracing::enabled!(tracing::Level::DEBUG) {
                let (code, fit) = (it.finding.code, it.after.fit(it.after.scale()));
                let (wrong, entries) = (fit.wrong, fit.entries);
                tracing::debug!("{code}: {wrong} of {entries} entries wrong without it");
            }
        });
    match stage.kind {
        // They do not compete: the first is taken, the others follow.
        Kind::Fact | Kind::Part => found.take(1).collect(),
        Kind::Factor | Kind::Cause | Kind::Reordered => {
            let counts = |it: &Hypothesis| {
                let explains = it.settles || it.after.is_explained() || it.after.is_scaled();
                explains || stage.kind == Kind::Reordered
            };
            let mut found = rank(found.filter(counts).collect());
            if matches!(pair.dtype, Dtype::F16 | Dtype::BF16) {
                for it in &mut found {
                    it.finding.confidence = it.finding.confidence.min(IN_HALF_PRECISION);
                }
            }
            found
        }
    }
}

/// Those that explain a pair best, the likeliest first, with the confidence shared among them.
fn rank(mut found: Vec<Hypothesis>) -> Vec<Hypothesis> {
    let explains = |it: &Hypothesis| it.settles || it.after.is_explained();
    if found.iter().any(explains) {
        found.retain(explains);
    }
    let severity = |it: &Hypothesis| it.after.fit(it.after.scale()).severity;
    // A fit with as many numbers as entries is perfect, and no better for it.
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

/// What a correction did to the errors; none where it left nothing to compare.
fn proof(before: &Pair, after: &Pair, correction: &str) -> Option<Proof> {
    let explained = after.is_explained();
    let up_to_factor = !explained && after.is_scaled();
    let factor = if up_to_factor { after.scale() } else { 1.0 };
    let (before, after) = (before.fit(1.0), after.fit(factor));
    (after.entries > 0).then(|| Proof {
        correction: correction.to_owned(),
        up_to_factor,
        entries: [before.entries, after.entries],
        wrong: [before.wrong, after.wrong],
        error: [before.remainder, after.remainder],
    })
}
