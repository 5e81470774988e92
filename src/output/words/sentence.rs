//! The verdict on a gradient in one sentence that stands alone.

use super::{counted, group, listed, short};
use crate::{
    report::{Check, Code, Corruption, Finding, Source, Verdict},
    tensor::Dtype,
};

/// Returns the verdict in one sentence that stands alone, beginning with PASS, FAIL or
/// INCONCLUSIVE.
pub fn sentence(check: &Check) -> String {
    let name = match check.source {
        Source::Given => check.name().to_owned(),
        Source::BuiltIn => format!("the built-in gradient of {}", check.wrt.name()),
    };
    let sentence = match check.verdict {
        Verdict::Pass => pass(check, &name),
        Verdict::Inconclusive => inconclusive(check, &name),
        Verdict::Fail if check.findings.is_empty() => wrong(check, &name),
        Verdict::Fail => caused(check),
    };
    match check.source {
        Source::Given => sentence,
        Source::BuiltIn => {
            format!("{sentence} Your own gradient was not checked.")
        }
    }
}

/// The relative error that a check must be able to detect for its sentence to say "is right". With
/// a larger one, the sentence states how large.
const SHARP: f64 = 0.01;

fn pass(check: &Check, name: &str) -> String {
    let rows = check.rows.as_ref().map_or_else(String::new, |rows| {
        let [compared, of] = [rows.compared, rows.of].map(|rows| group(rows as u64));
        format!(" in {compared} of {of} rows")
    });
    let entries = group(check.entries);
    let all = match check.entries {
        1 => "its entry".to_owned(),
        _ => format!("all {entries} entries"),
    };
    if let (true, Some(layer)) = (check.consequence, &check.layer) {
        return format!(
            "PASS: {layer} is right{rows}, but {name} is wrong: a consequence of the gradient that \
             {layer} was handed."
        );
    }
    if check.is_zero {
        let are = if check.entries == 1 { "is" } else { "are" };
        return format!(
            "PASS: {name} is right{rows}: the derivative is zero, and {all} {are} zero within \
             rounding."
        );
    }
    let agreeing = match check.undecided {
        0 => all,
        undecided => format!(
            "{} of {entries} entries ({} undecided)",
            group(check.entries - undecided),
            group(undecided)
        ),
    };
    let agree = if check.entries == 1 {
        "agrees"
    } else {
        "agree"
    };
    if check.detectable <= SHARP {
        return format!(
            "PASS: {name} is right{rows}: {agreeing} {agree} with the finite difference."
        );
    }
    format!(
        "PASS: no error was found in {name}{rows}, and one of {} or more in all entries would have \
         been: {agreeing} {agree} with the finite difference.",
        percent(check.detectable)
    )
}

fn inconclusive(check: &Check, name: &str) -> String {
    let first = check.findings.first().map(|finding| finding.code);
    let undecided = counted(check.undecided, check.entries);
    let reason = if first == Some(Code::ToleranceTooLoose) {
        format!("{undecided} cannot be decided: --atol is larger than they are")
    } else if first == Some(Code::OtherSubgradient) {
        let message = &check.findings[0].message;
        return format!("INCONCLUSIVE: no error was found in {name}, but {message}.");
    } else if check.undecided > check.entries / 100 {
        format!(
            "{undecided} cannot be decided: \
             the finite difference is less accurate than the tolerance"
        )
    } else if check.blind_to.is_empty() && check.detectable <= check.min_power {
        return match &check.rows {
            Some(rows) => format!(
                "INCONCLUSIVE: no error was found in {name}, but only {} of {} rows were checked.",
                group(rows.compared as u64),
                group(rows.of as u64)
            ),
            None => format!(
                "INCONCLUSIVE: no error was found in {name}, but some rows were checked more than \
                 once."
            ),
        };
    } else if check.blind_to.is_empty() {
        format!(
            "the check is too weak: an error of less than {} in all entries would pass, and \
             {} is the most that --min-power allows",
            percent(check.detectable),
            percent(check.min_power)
        )
    } else {
        let copies = check.blind_to.iter().map(|copy| corrupted(*copy));
        let copies = copies.collect::<Vec<_>>().join(" or ");
        format!("the check is too weak: it would also pass {copies}")
    };
    let way_out = match (check.tolerance.given.is_some(), check.dtype) {
        (true, _) => "",
        (_, Dtype::F16 | Dtype::BF16) => {
            " The rounding of half precision is too large here: compute the gradient in f32."
        }
        (_, Dtype::F32) => " The rounding of f32 is too large here: compute the gradient in f64.",
        _ => {
            " Rounding is too large here: compute the gradient where logits and bias are smaller, \
             or the loss is not yet 0."
        }
    };
    format!("INCONCLUSIVE: no error was found in {name}, but {reason}.{way_out}")
}

/// Returns a share in percent: `3.4 %`, `120 %`.
fn percent(share: f64) -> String {
    match 100.0 * share {
        percent if percent < 10.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// Returns a corrupted copy of the gradient in words.
fn corrupted(copy: Corruption) -> &'static str {
    match copy {
        Corruption::Zeroed => "zeros",
        Corruption::Flipped => "flipped signs",
        Corruption::Scaled => "a gradient 1.5 times as large",
        Corruption::Shuffled => "rows shifted by one column",
    }
}

/// Returns the verdict on a wrong gradient without a diagnosis.
fn wrong(check: &Check, name: &str) -> String {
    let entries = counted(check.wrong, check.entries);
    if check.not_finite > 0 {
        let not_finite = group(check.not_finite);
        format!("FAIL: {name} is wrong in {entries}; {not_finite} of them are NaN or infinite.")
    } else if check.wrong > 0 {
        let mean = short(check.rel_err.mean);
        format!("FAIL: {name} is wrong in {entries}; the mean relative error is {mean}.")
    } else {
        format!(
            "FAIL: {name} or a column of it is off by one factor, \
             although no single entry is wrong."
        )
    }
}

/// Returns the verdict on a wrong gradient with a cause.
fn caused(check: &Check) -> String {
    let first = &check.findings[0];
    let codes = |step: &[Finding]| -> Vec<Code> { step.iter().map(|it| it.code).collect() };
    let mut steps = check.findings.chunk_by(|a, b| a.step == b.step);
    let code = match codes(steps.next().unwrap_or_default()).as_slice() {
        [Code::Unknown, ..] | [] => String::new(),
        [code] => format!(" ({code})"),
        [code, same @ ..] => format!(" ({code}; same arrays as {})", listed(same, " or ")),
    };
    let others = steps.map(|step| match codes(step).as_slice() {
        [Code::Unknown] => "an unknown error".to_owned(),
        codes => listed(codes, " or "),
    });
    let others: Vec<String> = others.collect();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!(", and also {}", others.join(" and "))
    };
    let wrong = match (check.wrong, first.code) {
        // The message of an unknown cause has the count.
        (_, Code::Unknown) | (0, _) => String::new(),
        (1, _) => " One entry is wrong.".to_owned(),
        (wrong, _) => {
            let counted = counted(wrong, check.entries);
            let (initial, rest) = counted.split_at(1);
            format!(" {}{rest} are wrong.", initial.to_uppercase())
        }
    };
    format!("FAIL: {}{code}{others}.{wrong}", first.message)
}
