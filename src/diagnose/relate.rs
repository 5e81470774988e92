//! Conclusions from several gradients of one problem, for those whose own cause is unknown.

use super::{
    rules::{tolerance_too_tight::is_beyond_rounding, unknown},
    words::{number, variable},
};
use crate::{
    problem::Wrt,
    report::{Check, Code, Finding, Relation, Verdict},
};

/// Largest relative distance of the factors of two parameters that were accumulated together.
/// Chosen: the weights move between the passes, and the bias's gradient changes most.
const SAME_PASSES: f64 = 0.5;
/// Confidence in a cause that another gradient shows. Chosen.
const SHARED: f64 = 0.6;

/// Adds to the findings of each gradient what the other gradients, and the relations between them,
/// say about its cause.
pub fn relate(checks: &mut [Check], relations: &[Relation]) {
    share_passes(checks);
    let known = checks.iter().find_map(|check| {
        let finding = check.findings.first()?;
        (finding.code != Code::Unknown && check.verdict == Verdict::Fail)
            .then(|| (check.wrt.grad_name(), finding.code))
    });
    let family = Family::new(checks, relations);
    for check in checks {
        let (wrt, is_mostly_right) = (check.wrt, 2 * check.wrong < check.entries);
        let mut findings = check.findings.iter_mut();
        let is_open = |it: &&mut Finding| {
            let is_explained = unknown::is_one_class(it) || is_beyond_rounding(it);
            it.code == Code::Unknown && !is_explained
        };
        if let Some(finding) = findings.find(is_open) {
            let hint = unknown::hint(wrt, finding);
            if let Some(conclusion) = family.conclusion(wrt, hint.is_some() || is_mostly_right) {
                let assumes = !family.is_model_right() && !is_mostly_right;
                finding.fix = unknown::fix(Some(conclusion), hint, assumes);
            }
            if let Some((name, code)) = known {
                finding.fix = format!(
                    "fix {name} first: its cause, {code}, may explain this one too. Otherwise {}",
                    finding.fix
                );
            }
        }
    }
}

/// Names `accumulated` for a parameter that is off by about as large a factor as another that was
/// accumulated: one program clears both, or neither.
fn share_passes(checks: &mut [Check]) {
    let of_parameters = checks.iter().filter(|check| check.wrt.is_parameter());
    let mut accumulated = of_parameters.filter_map(|check| {
        let finding = check.findings.first()?;
        let passes = finding
            .factor
            .filter(|_| finding.code == Code::Accumulated)?;
        Some((
            check.wrt,
            passes,
            finding.fix.replace(variable(check.wrt), "{}"),
        ))
    });
    let Some((other, passes, fix)) = accumulated.next() else {
        return;
    };
    for check in checks.iter_mut().filter(|it| it.wrt.is_parameter()) {
        let (wrt, scale) = (check.wrt, check.scale);
        let [first, ..] = check.findings.as_mut_slice() else {
            continue;
        };
        let is_open = matches!(first.code, Code::Unknown | Code::Scaled) && first.step == 1;
        let Some(scale) = scale.filter(|_| is_open && wrt != other) else {
            continue;
        };
        if (scale.factor / passes - 1.0).abs() > SAME_PASSES {
            continue;
        }
        let (name, factor) = (wrt.grad_name(), number(scale.factor));
        *first = Finding {
            factor: Some(scale.factor),
            confidence: SHARED,
            evidence: vec![("scale".to_owned(), scale.factor)],
            proof: first.proof.take(),
            ..Finding::new(
                Code::Accumulated,
                format!(
                    "{name} is about {factor} times the correct gradient, as is {}: about {} \
                     backward passes were summed in both",
                    other.grad_name(),
                    passes.round()
                ),
                fix.replace("{}", variable(wrt)),
            )
        };
        check.tried.retain(|code| *code != Code::Accumulated);
    }
}

/// The verdicts on the gradients of one problem, and the relations between them.
struct Family<'a> {
    verdicts: Vec<(Wrt, Verdict)>,
    relations: &'a [Relation],
}

impl<'a> Family<'a> {
    fn new(checks: &[Check], relations: &'a [Relation]) -> Self {
        let verdicts = checks.iter().map(|check| (check.wrt, check.verdict));
        Self {
            verdicts: verdicts.collect(),
            relations,
        }
    }

    fn is(&self, wrt: Wrt, verdict: Verdict) -> bool {
        self.verdicts.contains(&(wrt, verdict))
    }

    fn holds(&self, wrt: Wrt) -> Option<bool> {
        let relation = self.relations.iter().find(|it| it.wrt == wrt)?;
        relation.holds
    }

    /// Returns true if the loss and the layer are those of the program: a gradient per sample is
    /// right.
    fn is_model_right(&self) -> bool {
        self.is(Wrt::Logits, Verdict::Pass) || self.is(Wrt::Input, Verdict::Pass)
    }

    /// Returns the conclusion for a wrong gradient, if the others allow one. If the gradient is
    /// nearly right (`is_near`), moving weights explain it better than another layer.
    fn conclusion(&self, wrt: Wrt, is_near: bool) -> Option<String> {
        if wrt.is_parameter() && self.is_model_right() {
            return Some(self.more_than_this_batch(wrt));
        }
        if !self.verdicts.iter().any(|(wrt, _)| *wrt == Wrt::Logits) {
            return self.without_logits(wrt).filter(|_| !is_near);
        }
        if self.is(Wrt::Logits, Verdict::Pass) {
            return (self.holds(wrt) == Some(false)).then(|| {
                "grad_logits is right, so the loss is. grad is not grad_logits · weight: the \
                 backward pass of the layer is wrong, x.grad was not cleared, or x is used twice"
                    .to_owned()
            });
        }
        let all = [Wrt::Input, Wrt::Weight, Wrt::Bias].map(|wrt| self.holds(wrt));
        match all {
            [Some(false), Some(true), _] => Some(
                "grad_weight follows from grad_logits and input, but grad does not follow from \
                 grad_logits and weight: the weight in the file is another one than in the \
                 backward pass. Save it before optimizer.step()"
                    .to_owned(),
            ),
            [Some(true), Some(false), _] => Some(
                "grad follows from grad_logits and weight, but grad_weight does not follow from \
                 grad_logits and input: the input in the file is another one than in the backward \
                 pass, or grad_weight holds more than this batch"
                    .to_owned(),
            ),
            _ if all.contains(&Some(true)) && !all.contains(&Some(false)) => Some(
                "the gradients follow from grad_logits, so the backward pass of the layer is \
                 right. grad_logits itself is wrong: look at the loss and at the logits that it got"
                    .to_owned(),
            ),
            _ if all.contains(&Some(false)) => Some(
                "grad_logits is wrong, and the other gradients do not follow from it: more than \
                 one linear layer lies between input and loss, or weight and input are of another \
                 pass. Otherwise begin with grad_logits"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Returns the conclusion for a parameter of a model whose other gradients are right.
    fn more_than_this_batch(&self, wrt: Wrt) -> String {
        let (name, variable) = (wrt.grad_name(), variable(wrt));
        let of_samples = [Wrt::Logits, Wrt::Input].into_iter();
        let right = of_samples.filter(|wrt| self.is(*wrt, Verdict::Pass));
        let right: Vec<&str> = right.map(Wrt::grad_name).collect();
        let are = if right.len() == 1 { "is" } else { "are" };
        let formula = self.relations.iter().find(|it| it.wrt == wrt);
        let formula = formula.filter(|it| it.holds == Some(false));
        let is_not = formula.map_or_else(String::new, |it| format!(" is not {}: it", it.formula));
        format!(
            "{} {are} right, so the loss and the logits are. {name}{is_not} probably holds earlier \
             batches too. Call optimizer.zero_grad() before each backward pass, or set \
             {variable}.grad = None. If that is done, the backward pass of the layer is wrong \
             for {variable}",
            right.join(" and ")
        )
    }

    fn without_logits(&self, wrt: Wrt) -> Option<String> {
        match (wrt, self.holds(Wrt::Input)?) {
            (Wrt::Input, true) => Some(
                "each row of grad is a combination of the rows of weight, as under any loss: the \
                 backward pass of the layer is right. Look at the loss and at the logits that it \
                 got, and save grad_logits too"
                    .to_owned(),
            ),
            (Wrt::Input, false) => Some(
                "no loss on these logits gives this gradient: it is no combination of the rows of \
                 weight. Something else lies between input and logits, or weight is that of \
                 another layer or step"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
