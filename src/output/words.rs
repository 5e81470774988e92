//! The words that all reports share: the verdict in a sentence, what it rests on, numbers as people read them.

use super::Run;
use crate::{
    loss::IGNORE_INDEX,
    report::{
        Check, Code, ComparedOn, Corruption, Coverage, DeviceInfo, Draw, Entry, Finding,
        ProblemInfo, Proof, Report, Seconds, Source, Verdict,
    },
};

/// How sure the diagnosis is, in brackets behind the code.
pub fn sure(finding: &Finding) -> String {
    match finding.code {
        Code::Unknown => String::new(),
        _ => format!(", confidence {:.0} %", 100.0 * finding.confidence),
    }
}

/// `divided by 10: 40 of 40 entries wrong before, none after; error 9.0 before, 1.1e-7 after`.
pub fn proved(proof: &Proof) -> String {
    let correction = &proof.correction;
    let [before, after] = proof.wrong;
    let left = match after {
        0 => "none".to_owned(),
        after => group(after as u64),
    };
    let [error_before, error_after] = proof.error.map(|error| rounded(error));
    let [entries, entries_after] = proof.entries.map(|entries| group(entries as u64));
    let of = if entries == entries_after {
        String::new()
    } else {
        format!(" of {entries_after}")
    };
    let factor = if proof.up_to_factor {
        ", up to one factor"
    } else {
        ""
    };
    format!(
        "{correction}{factor}: {} of {entries} entries wrong before, {left}{of} after; |a - n|/|n| {error_before} before, {error_after} after",
        group(before as u64)
    )
}

/// Who did the arithmetic.
pub fn device(device: &DeviceInfo) -> String {
    let DeviceInfo {
        name,
        kind,
        backend,
        driver,
        ..
    } = device;
    format!("{name} ({kind}; {backend}; {driver})")
}

/// The sizes and the loss.
pub fn problem(problem: &ProblemInfo) -> String {
    format!(
        "n = {}, d = {}, k = {}; {} reduction{}; input is {}",
        problem.n,
        problem.d,
        problem.k,
        problem.reduction,
        options(problem),
        problem.dtype
    )
}

/// How long it took.
pub fn time(seconds: Seconds) -> String {
    format!(
        "{:.3} s, {:.3} s of it loading",
        seconds.total, seconds.load
    )
}

/// How the numeric gradient was made, and where it was compared.
pub fn numeric(check: &Check) -> String {
    format!(
        "{} in {}, {}, eps = {:.3e}{}",
        check.method,
        check.precision,
        check.scheme,
        check.eps,
        compared(check.compared)
    )
}

/// Where the wrong entries are.
pub fn whereabouts(check: &Check) -> String {
    let places = check.location.as_ref();
    places.map_or_else(String::new, |places| places.text.clone())
}

/// How large the errors of a wrong gradient are; none where no entry alone is wrong, or one is off without bounds.
pub fn size(check: &Check) -> Option<String> {
    let worst = check.worst.first().map_or(0.0, Entry::severity);
    if check.wrong == 0 || !worst.is_finite() {
        return None;
    }
    let times = if worst > 1e9 {
        "more than a billion".to_owned()
    } else {
        rounded(worst)
    };
    Some(format!(
        "{} relative on average; the worst entry is off by {times} times what is allowed",
        short(check.rel_err.mean)
    ))
}

/// What the loss does beyond its reduction.
fn options(problem: &ProblemInfo) -> String {
    let mut options = String::new();
    if problem.class_weight {
        options += ", class weights";
    }
    if problem.label_smoothing > 0.0 {
        options += &format!(", label smoothing {}", problem.label_smoothing);
    }
    if problem.ignore_index != IGNORE_INDEX {
        options += &format!(", ignoring target {}", problem.ignore_index);
    }
    options
}

/// Where, if not on the host.
fn compared(compared: ComparedOn) -> &'static str {
    match compared {
        ComparedOn::Host => "",
        ComparedOn::Device => "; compared on the device",
    }
}

/// What the notes of cs231n ("Gradient checks") say of a relative error, whatever its cause.
pub fn grade(rel_err: f64) -> &'static str {
    match rel_err {
        error if error > 1e-2 => "over 1e-2: probably wrong",
        error if error > 1e-4 => "over 1e-4: should make you feel uncomfortable",
        error if error > 1e-7 => "over 1e-7: okay where the objective has kinks",
        _ => "1e-7 or less: be happy",
    }
}

/// The verdict in one sentence that stands alone.
pub fn sentence(check: &Check) -> String {
    let name = match check.source {
        Source::Given => check.wrt.grad_name().to_owned(),
        Source::BuiltIn => format!("the built-in gradient of {}", check.wrt.name()),
    };
    let counted = |count| counted(count, check.entries);
    let mut sentence = match check.verdict {
        Verdict::Pass => {
            let undecided = match check.undecided {
                0 => String::new(),
                count => format!(", {} undecided", group(count)),
            };
            let entries = group(check.entries);
            let (so_far, of) = match &check.rows {
                None => ("", String::new()),
                Some(rows) => {
                    let of = group(rows.of as u64);
                    let rows = group(rows.compared as u64);
                    (" where it was checked", format!(" of {rows} of {of} rows"))
                }
            };
            format!(
                "PASS: {name} is right{so_far}: all {entries} entries{of} agree with the finite difference{undecided}."
            )
        }
        Verdict::Fail if !check.findings.is_empty() => caused(check),
        Verdict::Fail if check.not_finite > 0 => {
            format!(
                "FAIL: {name} is wrong in {}; {} of them not finite.",
                counted(check.wrong),
                group(check.not_finite)
            )
        }
        Verdict::Fail if check.wrong > 0 => format!(
            "FAIL: {name} is wrong in {}, by {} relative on average.",
            counted(check.wrong),
            short(check.rel_err.mean)
        ),
        Verdict::Fail => format!(
            "FAIL: {name} is off as a whole or in a column, by less than an entry alone shows."
        ),
        Verdict::Inconclusive
            if check
                .findings
                .first()
                .is_some_and(|finding| finding.code == Code::ToleranceTooLoose) =>
        {
            format!(
                "INCONCLUSIVE: {name} shows no error, but {} cannot be decided: --atol is larger than they are.",
                counted(check.undecided)
            )
        }
        Verdict::Inconclusive if check.undecided > check.entries / 100 => format!(
            "INCONCLUSIVE: {name} shows no error, but {} cannot be decided: the finite difference is less accurate than the tolerance.",
            counted(check.undecided)
        ),
        Verdict::Inconclusive => format!(
            "INCONCLUSIVE: {name} shows no error, but {} would have passed as well.",
            check
                .blind_to
                .iter()
                .map(|copy| in_words(*copy))
                .collect::<Vec<_>>()
                .join(" or ")
        ),
    };
    if check.source == Source::BuiltIn {
        sentence += &format!(
            " No {} was given, so nothing of yours was checked.",
            check.wrt.grad_name()
        );
    }
    sentence
}

/// The verdict on a gradient whose errors have a cause.
fn caused(check: &Check) -> String {
    let first = &check.findings[0];
    let wrong = match (check.wrong, first.code) {
        // It says so itself.
        (_, Code::Unknown) | (0, _) => String::new(),
        (1, _) => " One entry is wrong.".to_owned(),
        (wrong, _) => {
            let counted = counted(wrong, check.entries);
            format!(
                " {}{} are wrong.",
                counted[..1].to_uppercase(),
                &counted[1..]
            )
        }
    };
    let same = check.findings[1..]
        .iter()
        .filter(|finding| finding.step == 1);
    let same: Vec<Code> = same.map(|finding| finding.code).collect();
    let code = match (first.code, same.as_slice()) {
        (Code::Unknown, _) => String::new(),
        (code, []) => format!(" ({code})"),
        (code, same) => format!(
            " ({code}; the arrays look the same for {})",
            listed(same, " or ")
        ),
    };
    let steps = check.findings.chunk_by(|a, b| a.step == b.step).skip(1);
    let others: Vec<String> = steps
        .map(|step| {
            let codes: Vec<Code> = step.iter().map(|finding| finding.code).collect();
            listed(&codes, " or ")
        })
        .collect();
    let then = match others.as_slice() {
        [] => String::new(),
        [others @ .., last] if last == "unknown" => {
            if others.is_empty() {
                ", and that is not all".to_owned()
            } else {
                format!(
                    ", and besides {}, and that is not all",
                    others.join(" and ")
                )
            }
        }
        others => format!(", and besides {}", others.join(" and ")),
    };
    format!("FAIL: {}{code}{then}.{wrong}", first.message)
}

/// Returns the codes with `separator` between them.
pub fn listed(codes: &[Code], separator: &str) -> String {
    let codes: Vec<String> = codes.iter().map(Code::to_string).collect();
    codes.join(separator)
}

/// Which gradient was checked, and where it came from.
pub fn gradient(check: &Check) -> String {
    let wrt = check.wrt.name();
    match check.source {
        Source::Given => format!("with respect to {wrt}, {}, as given", check.dtype),
        Source::BuiltIn => {
            format!(
                "with respect to {wrt}, {}, by the built-in backward pass (none was given)",
                check.dtype
            )
        }
    }
}

/// Which rows were compared; of a random draw what it can see.
pub fn coverage(rows: &Coverage) -> String {
    let count = |rows: usize| group(rows as u64);
    let Coverage {
        compared,
        of,
        ranges,
        draw,
    } = rows;
    match draw {
        None => format!("{ranges} of {}", count(*of)),
        Some(Draw {
            seed,
            from,
            seen_share,
        }) => {
            let drawn_from = if from.len() == *of {
                count(*of)
            } else {
                format!("rows {} to {}", from.start, from.end - 1)
            };
            format!(
                "{} of {drawn_from}, drawn at random (seed {seed}); if {:.2} % of all were wrong, one of them would be here with 99 % probability",
                count(*compared),
                100.0 * seen_share
            )
        }
    }
}

/// How far an entry may be off.
pub fn tolerance(check: &Check) -> String {
    let tolerance = &check.tolerance;
    match (tolerance.rtol, tolerance.atol) {
        (Some(rtol), Some(atol)) => format!("rtol {:e}, atol {:e}, as given", rtol, atol),
        _ => format!(
            "{:.1e} of the magnitudes that an entry is made of, which rounding to {} explains",
            tolerance.factor, check.dtype
        ),
    }
}

/// A wrong copy of the gradient, in words.
fn in_words(copy: Corruption) -> &'static str {
    match copy {
        Corruption::Zeroed => "zeros in its place",
        Corruption::Flipped => "the same with the sign flipped",
        Corruption::Scaled => "the same times 1.5",
        Corruption::Shuffled => "the same moved by one column",
    }
}

/// `12 of 40 entries (30 %)`.
fn counted(count: u64, all: u64) -> String {
    if count == all {
        return match all {
            1 => "the only entry".to_owned(),
            all => format!("all {} entries", group(all)),
        };
    }
    let percent = 100.0 * count as f64 / all as f64;
    let percent = match percent {
        p if p < 0.1 => "under 0.1 %".to_owned(),
        p if p < 10.0 => format!("{p:.1} %"),
        // Not all of them, so never 100 %.
        p => format!("{:.0} %", p.min(99.0)),
    };
    format!("{} of {} entries ({percent})", group(count), group(all))
}

/// 0.9 as 0.900, and 0.00001 as 1.0e-5.
pub fn short(number: f64) -> String {
    if number < 1e-3 {
        format!("{number:.1e}")
    } else {
        format!("{number:.3}")
    }
}

/// 9.957, 0.019, 2.1e-8, 1.2e6: two to four digits.
pub fn rounded(number: f64) -> String {
    let magnitude = number.abs();
    let text = match magnitude {
        0.0 => return "0".to_owned(),
        m if !(1e-3..1e5).contains(&m) => return format!("{number:.1e}"),
        m if m >= 100.0 => return format!("{number:.0}"),
        m if m >= 1.0 => format!("{number:.3}"),
        _ => format!("{number:.4}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// 1234567 as 1,234,567.
pub fn group(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Of a pass, the smallest error that would have failed.
pub fn sees(check: &Check) -> Option<String> {
    let told = || {
        let detectable = check.detectable;
        format!("an error of {detectable:.1e} or more, relative, if all entries have it")
    };
    (check.verdict == Verdict::Pass).then(told)
}

/// How the relative errors are distributed, and that of the whole.
pub fn rel_err(check: &Check) -> String {
    let it = &check.rel_err;
    format!(
        "mean {:.2e}, median {:.2e}, 99 % {:.2e}, max {:.2e}; |a - n|/|n| {:.2e}",
        it.mean, it.median, it.p99, it.max, it.norm
    )
}

/// What a verdict rests on.
pub fn facts(check: &Check) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if check.wrong > 0 {
        facts.push(("where", whereabouts(check)));
    }
    facts.extend(size(check).map(|size| ("size", size)));
    facts.push(("gradient", gradient(check)));
    facts.extend(check.rows.as_ref().map(|rows| ("rows", coverage(rows))));
    facts.push(("numeric", numeric(check)));
    facts.push(("tolerance", tolerance(check)));
    facts.extend(sees(check).map(|sees| ("sees", sees)));
    facts.push(("relative error", rel_err(check)));
    facts.push(("cs231n", grade(check.rel_err.mean).to_owned()));
    if !check.tried.is_empty() {
        facts.push(("ruled out", listed(&check.tried, ", ")));
    }
    facts
}

/// The verdict on a file, or that there is none.
pub fn heading(run: &Run) -> String {
    match &run.outcome {
        Ok(report) => report.verdict.to_string(),
        Err(_) => "error".to_owned(),
    }
}

/// The gradients that were checked; what was found of those that did not pass, and of the others what a pass does not say.
pub fn brief(report: &Report) -> String {
    let of_check = |check: &Check| {
        let name = check.wrt.grad_name();
        let said = match (check.verdict, check.findings.first(), &check.rows) {
            (Verdict::Pass, ..) if check.source == Source::BuiltIn => "not given".to_owned(),
            (Verdict::Pass, _, Some(rows)) => {
                let (compared, of) = (group(rows.compared as u64), group(rows.of as u64));
                format!("{compared} of {of} rows")
            }
            (Verdict::Pass, _, None) if report.verdict != Verdict::Pass => "right".to_owned(),
            (Verdict::Pass, _, None) => return name.to_owned(),
            (_, Some(finding), _) => finding.code.to_string(),
            (other, None, _) => other.to_string(),
        };
        format!("{name} ({said})")
    };
    let checks = report.checks.iter().map(of_check);
    checks.collect::<Vec<_>>().join(", ")
}

/// How many files passed, and what the others came to.
pub fn counts(runs: &[Run]) -> String {
    let count = |heading: &str| {
        runs.iter()
            .filter(|run| self::heading(run) == heading)
            .count()
    };
    let (all, pass) = (runs.len(), count("pass"));
    let others = [
        (count("fail"), "failed"),
        (count("inconclusive"), "inconclusive"),
        (count("error"), "could not be checked"),
    ];
    let others = others.into_iter().filter(|(count, _)| *count > 0);
    let others: Vec<String> = others
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if others.is_empty() {
        format!("All {all} files pass.")
    } else {
        format!("{pass} of {all} files pass; {}.", others.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shares_are_told() {
        assert_eq!(group(999), "999");
        assert_eq!(group(1_234_567), "1,234,567");
        assert_eq!(counted(40, 40), "all 40 entries");
        assert_eq!(counted(1, 10_000), "1 of 10,000 entries (under 0.1 %)");
        assert_eq!(counted(1200, 10_000), "1,200 of 10,000 entries (12 %)");
    }
}
