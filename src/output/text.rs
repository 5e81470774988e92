//! The report as text for a terminal: the verdict first, then what it rests on.

use std::fmt::Write;

use super::{Run, single, words};
use crate::{
    problem::Wrt,
    report::{CheckReport, Entry, Finding, Report, Verdict},
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

/// Of a single file its report; of several, whose lines have been told, those that did not pass in full, and how many did.
pub fn render_all(runs: &[Run]) -> String {
    if let Some(report) = single(runs) {
        return render(report);
    }
    let mut text = String::new();
    for run in runs {
        if let Ok(report) = &run.outcome
            && report.verdict() != Verdict::Pass
        {
            text += &format!("\n== {}\n\n{}", run.name, render(report));
        }
    }
    text + "\n" + &words::counts(runs) + "\n"
}

/// What came of one of several files, with a line break at its end.
pub fn line(run: &Run) -> String {
    let told = match &run.outcome {
        Err(error) => error.to_string(),
        Ok(report) => words::brief(report),
    };
    let mut name = run.name.clone();
    if !told.is_empty() {
        name += ": ";
    }
    format!("{:<13} {name}{told}\n", words::heading(run).to_uppercase())
}

fn write_report(text: &mut String, report: &Report) -> std::fmt::Result {
    if report.interrupted {
        writeln!(
            text,
            "INTERRUPTED: this is what was found before, and not diagnosed."
        )?;
    }
    for check in &report.checks {
        writeln!(text, "{}", words::sentence(check))?;
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
        if let Some(size) = words::size(check) {
            writeln!(text, "  size       {size}")?;
        }
    }
    let mut before: Option<&Finding> = None;
    for finding in &check.findings {
        match before {
            // The sentence has said the rest.
            None => writeln!(
                text,
                "\n  cause      {}{}",
                finding.code,
                words::sure(finding)
            )?,
            Some(before) => {
                let (label, also) = match before.step == finding.step {
                    true => ("or", "which the arrays cannot tell apart: "),
                    false => ("then", "with that undone, "),
                };
                let (message, code) = (&finding.message, finding.code);
                writeln!(
                    text,
                    "\n  {label:<10} {also}{message} ({code}{})",
                    words::sure(finding)
                )?;
            }
        }
        before = Some(finding);
        writeln!(text, "  fix        {}", finding.fix)?;
        if !finding.correction.is_empty()
            && let Some(proof) = &finding.proof
        {
            writeln!(
                text,
                "  proof      {}",
                words::proved(&finding.correction, proof)
            )?;
        }
        if !finding.evidence.is_empty() {
            let numbers = finding
                .evidence
                .iter()
                .map(|(name, value)| format!("{name} {}", words::rounded(*value)));
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

/// What all checks share.
fn write_run(text: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(text, "\n  device     {}", words::device(&report.device))?;
    if let Some(note) = &report.device.note {
        writeln!(text, "             {note}")?;
    }
    writeln!(text, "  problem    {}", words::problem(&report.problem))?;
    writeln!(text, "  time       {}", words::time(report.seconds))
}

fn write_check(text: &mut String, check: &CheckReport) -> std::fmt::Result {
    let tally = &check.tally;
    writeln!(text, "\n  gradient   {}", words::gradient(check))?;
    if !check.coverage.is_whole() {
        writeln!(text, "  rows       {}", words::coverage(&check.coverage))?;
    }
    writeln!(text, "  numeric    {}", words::numeric(check))?;
    writeln!(text, "  tolerance  {}", words::tolerance(check))?;
    if let Some(sees) = words::sees(check) {
        writeln!(text, "  sees       {sees}")?;
    }
    writeln!(text, "  rel. error {}", words::rel_err(check))?;
    writeln!(text, "  cs231n     {}", words::grade(tally.mean_rel_err()))?;
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
