//! The report as text for a terminal: the verdict first, then what it rests on.

use std::fmt::Write;

use crate::{
    loss::{IGNORE_INDEX, Reduction},
    problem::Wrt,
    report::{
        CheckReport, Compared, Coverage, DeviceInfo, Draw, Entry, Finding, ProblemInfo, Proof,
        Report, Source, Tolerance, Verdict,
    },
    scheme::{Method, Precision},
};

/// How many of the worst entries are shown.
const SHOWN: usize = 5;
/// How many of the causes that were ruled out are shown; JSON has all.
const RULED_OUT: usize = 6;

/// The report, with a line break at its end.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    write_report(&mut text, report).expect("a string takes everything");
    text
}

fn write_report(text: &mut String, report: &Report) -> std::fmt::Result {
    if report.interrupted {
        writeln!(
            text,
            "INTERRUPTED: this is what was found before, and not diagnosed."
        )?;
    }
    for check in &report.checks {
        writeln!(text, "{}", sentence(check))?;
        write_diagnosis(text, check)?;
    }
    if let (Some(command), Verdict::Fail) = (&report.command, report.verdict()) {
        writeln!(text, "  repeat     {command}")?;
    }
    write_run(text, report)?;
    report
        .checks
        .iter()
        .try_for_each(|check| write_check(text, check))
}

/// Where the errors are, how large, what they point to, and what was ruled out.
fn write_diagnosis(text: &mut String, check: &CheckReport) -> std::fmt::Result {
    if check.verdict() == Verdict::Fail && check.tally.wrong > 0 {
        writeln!(text, "\n  where      {}", check.whereabouts())?;
        let worst = check.tally.worst.first().map_or(0.0, Entry::severity);
        if worst.is_finite() {
            let times = match worst > 1e9 {
                true => "more than a billion".to_owned(),
                false => rounded(worst),
            };
            writeln!(
                text,
                "  size       {} relative on average; the worst entry is off by {times} times what is allowed",
                short(check.tally.mean_rel_err())
            )?;
        }
    }
    let mut before: Option<&Finding> = None;
    for finding in &check.findings {
        match before {
            // The sentence has said the rest.
            None => writeln!(text, "\n  cause      {}{}", finding.code, sure(finding))?,
            Some(before) => {
                let (label, also) = match before.step == finding.step {
                    true => ("or", "which the arrays cannot tell apart: "),
                    false => ("then", "with that undone, "),
                };
                let (message, code) = (&finding.message, finding.code);
                writeln!(
                    text,
                    "\n  {label:<10} {also}{message} ({code}{})",
                    sure(finding)
                )?;
            }
        }
        before = Some(finding);
        writeln!(text, "  fix        {}", finding.fix)?;
        if !finding.correction.is_empty()
            && let Some(proof) = &finding.proof
        {
            writeln!(text, "  proof      {}", proved(&finding.correction, proof))?;
        }
        if !finding.evidence.is_empty() {
            let numbers = finding
                .evidence
                .iter()
                .map(|(name, value)| format!("{name} {}", rounded(*value)));
            writeln!(
                text,
                "  numbers    {}",
                numbers.collect::<Vec<_>>().join(", ")
            )?;
        }
        if let Some(test) = &finding.test {
            writeln!(text, "  to tell    {test}")?;
        }
    }
    let ruled_out = &check.ruled_out;
    if !ruled_out.is_empty() {
        let shown = ruled_out.len().min(RULED_OUT);
        let more = match ruled_out.len() - shown {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        writeln!(
            text,
            "\n  ruled out  {}{more}",
            ruled_out[..shown].join(", ")
        )?;
    }
    Ok(())
}

/// How sure the diagnosis is, in brackets behind the code.
fn sure(finding: &Finding) -> String {
    match finding.code {
        "unknown" => String::new(),
        _ => format!(", confidence {:.0} %", 100.0 * finding.confidence),
    }
}

/// `divided by 10: 40 of 40 entries wrong before, none after; error 9.0 before, 1.1e-7 after`.
fn proved(correction: &str, proof: &Proof) -> String {
    let [before, after] = proof.wrong;
    let left = match after {
        0 => "none".to_owned(),
        after => group(after as u64),
    };
    let [error_before, error_after] = proof.error.map(rounded);
    let [entries, entries_after] = proof.entries.map(|entries| group(entries as u64));
    let of = match entries == entries_after {
        true => String::new(),
        false => format!(" of {entries_after}"),
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

/// What all checks share.
fn write_run(text: &mut String, report: &Report) -> std::fmt::Result {
    let (device, problem, seconds) = (&report.device, &report.problem, report.seconds);
    let DeviceInfo {
        name,
        kind,
        backend,
        driver,
        ..
    } = device;
    writeln!(text, "\n  device     {name} ({kind}; {backend}; {driver})")?;
    if let Some(note) = &device.note {
        writeln!(text, "             {note}")?;
    }
    let reduction = match problem.reduction {
        Reduction::Mean => "mean",
        Reduction::Sum => "sum",
    };
    writeln!(
        text,
        "  problem    n = {}, d = {}, k = {}; {reduction} reduction{}; input is {}",
        problem.n,
        problem.d,
        problem.k,
        options(problem),
        problem.dtype
    )?;
    writeln!(
        text,
        "  time       {:.3} s, {:.3} s of it loading",
        seconds.total, seconds.load
    )
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

fn write_check(text: &mut String, check: &CheckReport) -> std::fmt::Result {
    let tally = &check.tally;
    writeln!(text, "\n  gradient   {}", gradient(check))?;
    if !check.coverage.is_whole() {
        writeln!(text, "  rows       {}", coverage(&check.coverage))?;
    }
    let method = match check.method {
        Method::Difference => "difference",
        Method::ForwardPass => "forward-pass",
    };
    let precision = match check.precision {
        Precision::F32 => "f32",
        Precision::F64 => "f64",
    };
    writeln!(
        text,
        "  numeric    {method} in {precision}, {}, eps = {:.3e}{}",
        check.scheme,
        check.eps,
        compared(check.compared)
    )?;
    writeln!(text, "  tolerance  {}", tolerance(check))?;
    if check.verdict() == Verdict::Pass {
        writeln!(
            text,
            "  sees       an error of {:.1e} or more, relative, if all entries have it",
            check.detectable()
        )?;
    }
    writeln!(
        text,
        "  rel. error mean {:.2e}, median {:.2e}, 99 % {:.2e}, max {:.2e}; |a - n|/|n| {:.2e}",
        tally.mean_rel_err(),
        tally.rel_err.quantile(0.5),
        tally.rel_err.quantile(0.99),
        tally.max_rel_err,
        tally.norm_rel_err()
    )?;
    writeln!(text, "  cs231n     {}", grade(tally.mean_rel_err()))?;
    writeln!(
        text,
        "\n  worst entries          analytic      numeric   rel. error   error/allowed"
    )?;
    tally
        .worst
        .iter()
        .take(SHOWN)
        .try_for_each(|entry| writeln!(text, "  {}", worst(check.wrt, entry)))
}

/// Where, if not on the host.
fn compared(compared: Compared) -> &'static str {
    match compared {
        Compared::Host => "",
        Compared::Device => "; compared on the device",
    }
}

/// What the notes of cs231n ("Gradient checks") say of a relative error, whatever its cause.
fn grade(rel_err: f64) -> &'static str {
    match rel_err {
        error if error > 1e-2 => "over 1e-2: probably wrong",
        error if error > 1e-4 => "over 1e-4: should make you feel uncomfortable",
        error if error > 1e-7 => "over 1e-7: okay where the objective has kinks",
        _ => "1e-7 or less: be happy",
    }
}

/// The verdict in one sentence that stands alone.
pub fn sentence(check: &CheckReport) -> String {
    let tally = &check.tally;
    let name = match check.source {
        Source::Given => check.wrt.grad_name().to_owned(),
        Source::BuiltIn => format!("the built-in gradient of {}", check.wrt.name()),
    };
    let counted = |count| counted(count, tally.entries);
    let mut sentence = match check.verdict() {
        Verdict::Pass => {
            let undecided = match tally.undecided {
                0 => String::new(),
                count => format!(", {} undecided", group(count)),
            };
            let entries = group(tally.entries);
            let (so_far, of) = match check.coverage.is_whole() {
                true => ("", String::new()),
                false => {
                    let rows = group(check.coverage.rows.len() as u64);
                    let of = group(check.coverage.of as u64);
                    (" where it was checked", format!(" of {rows} of {of} rows"))
                }
            };
            format!(
                "PASS: {name} is right{so_far}: all {entries} entries{of} agree with the finite difference{undecided}."
            )
        }
        Verdict::Fail if !check.findings.is_empty() => caused(check),
        Verdict::Fail if tally.not_finite > 0 => {
            format!(
                "FAIL: {name} is wrong in {}; {} of them not finite.",
                counted(tally.wrong),
                group(tally.not_finite)
            )
        }
        Verdict::Fail if tally.wrong > 0 => format!(
            "FAIL: {name} is wrong in {}, by {} relative on average.",
            counted(tally.wrong),
            short(tally.mean_rel_err())
        ),
        Verdict::Fail => format!(
            "FAIL: {name} is off as a whole or in a column, by less than an entry alone shows."
        ),
        Verdict::Inconclusive
            if check
                .findings
                .first()
                .is_some_and(|finding| finding.code == "tolerance-too-loose") =>
        {
            format!(
                "INCONCLUSIVE: {name} shows no error, but {} cannot be decided: --atol is larger than they are.",
                counted(tally.undecided)
            )
        }
        Verdict::Inconclusive if tally.undecided > tally.entries / 100 => format!(
            "INCONCLUSIVE: {name} shows no error, but {} cannot be decided: the finite difference is less accurate than the tolerance.",
            counted(tally.undecided)
        ),
        Verdict::Inconclusive => format!(
            "INCONCLUSIVE: {name} shows no error, but {} would have passed as well.",
            check
                .blind_to()
                .into_iter()
                .map(copy)
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
fn caused(check: &CheckReport) -> String {
    let tally = &check.tally;
    let first = &check.findings[0];
    let wrong = match (tally.wrong, first.code) {
        // It says so itself.
        (_, "unknown") | (0, _) => String::new(),
        (1, _) => " One entry is wrong.".to_owned(),
        (wrong, _) => {
            let counted = counted(wrong, tally.entries);
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
    let same: Vec<&str> = same.map(|finding| finding.code).collect();
    let code = match (first.code, same.as_slice()) {
        ("unknown", _) => String::new(),
        (code, []) => format!(" ({code})"),
        (code, same) => format!(
            " ({code}; the arrays look the same for {})",
            same.join(" or ")
        ),
    };
    let steps = check.findings.chunk_by(|a, b| a.step == b.step).skip(1);
    let others: Vec<String> = steps
        .map(|step| {
            step.iter()
                .map(|finding| finding.code)
                .collect::<Vec<_>>()
                .join(" or ")
        })
        .collect();
    let then = match others.as_slice() {
        [] => String::new(),
        [others @ .., last] if last == "unknown" => match others.is_empty() {
            true => ", and that is not all".to_owned(),
            false => format!(
                ", and besides {}, and that is not all",
                others.join(" and ")
            ),
        },
        others => format!(", and besides {}", others.join(" and ")),
    };
    format!("FAIL: {}{code}{then}.{wrong}", first.message)
}

fn gradient(check: &CheckReport) -> String {
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
fn coverage(coverage: &Coverage) -> String {
    let count = |rows: usize| group(rows as u64);
    let Coverage { rows, of, draw } = coverage;
    match draw {
        None => format!("{rows} of {}", count(*of)),
        Some(Draw { seed, from }) => {
            let drawn_from = match from.len() == *of {
                true => count(*of),
                false => format!("rows {} to {}", from.start, from.end - 1),
            };
            format!(
                "{} of {drawn_from}, drawn at random (seed {seed}); if {:.2} % of all were wrong, one of them would be here with 99 % probability",
                count(rows.len()),
                100.0 * coverage.seen_share()
            )
        }
    }
}

fn tolerance(check: &CheckReport) -> String {
    match check.tolerance {
        Tolerance {
            given: Some(given), ..
        } => format!("rtol {:e}, atol {:e}, as given", given.rtol, given.atol),
        Tolerance { factor, .. } => {
            format!(
                "{factor:.1e} of the magnitudes that an entry is made of, which rounding to {} explains",
                check.dtype
            )
        }
    }
}

fn worst(wrt: Wrt, entry: &Entry) -> String {
    let place = wrt.place(entry.row, entry.column);
    format!(
        "{place:<20} {:>11.4e}  {:>11.4e}     {:>8.2e}        {:>8.2e}",
        entry.analytic,
        entry.numeric,
        entry.rel_err,
        entry.severity()
    )
}

/// A wrong copy of the gradient, in words.
fn copy(name: &str) -> &'static str {
    match name {
        "zeroed" => "zeros in its place",
        "flipped" => "the same with the sign flipped",
        "scaled" => "the same times 1.5",
        _ => "the same moved by one column",
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
fn short(number: f64) -> String {
    if number < 1e-3 {
        format!("{number:.1e}")
    } else {
        format!("{number:.3}")
    }
}

/// 9.957, 0.019, 2.1e-8, 1.2e6: two to four digits.
fn rounded(number: f64) -> String {
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
fn group(number: u64) -> String {
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
