//! The report as GitHub-flavoured Markdown, for the summary of a job or a comment.

use super::{Run, single, words};
use crate::report::{Check, Finding, Report, Verdict};

/// The number of worst entries that are shown; JSON has all of them.
const SHOWN: usize = 5;

/// Renders the report of a single file. For several files, renders a table with a line for each and
/// the reports of those that did not pass.
pub fn render(runs: &[Run]) -> String {
    if let Some(report) = single(runs) {
        return "## gradprobe\n".to_owned() + &of_report(report);
    }
    let mut text = format!(
        "## gradprobe\n\n**{}**\n\n| | file | |\n|---|---|---|\n",
        words::counts(runs)
    );
    for run in runs {
        let (mark, summary) = match &run.outcome {
            Ok(report) => (mark(report.verdict), words::brief(report)),
            Err(error) => ("❗", error.to_string()),
        };
        let (name, summary) = (escape(&run.name), escape(&summary));
        text += &format!("| {mark} | {name} | {summary} |\n");
    }
    for run in runs {
        if let Ok(report) = &run.outcome
            && report.verdict != Verdict::Pass
        {
            text += &format!("\n## {}\n{}", escape(&run.name), of_report(report));
        }
    }
    text
}

fn of_report(report: &Report) -> String {
    let mut text = String::new();
    if report.interrupted {
        text += &format!("\n**{}**\n", words::INTERRUPTED);
    }
    for check in &report.checks {
        text += &section(check);
    }
    if let (Some(command), Verdict::Fail) = (&report.command, report.verdict) {
        text += &format!("\nTo repeat this run:\n\n{}\n", fenced(command));
    }
    let mut run = vec![
        ("device", words::device(&report.device)),
        ("problem", words::problem(&report.problem)),
        ("time", words::time(report.seconds)),
    ];
    run.extend(words::agreement(report).map(|it| ("agreement", it)));
    text + "\n" + &details("This run", &run)
}

fn section(check: &Check) -> String {
    let mut text = format!(
        "\n### {} {}\n\n**{}**\n",
        mark(check.verdict),
        check.wrt.grad_name(),
        escape(&words::sentence(check))
    );
    for finding in &check.findings {
        text += &cause(finding);
    }
    if check.verdict == Verdict::Fail && !check.worst.is_empty() {
        text += "\n| entry | analytic | numeric | relative error | error / allowed |\n";
        text += "|---|--:|--:|--:|--:|\n";
        for entry in check.worst.iter().take(SHOWN) {
            let place = entry.place(check.wrt);
            text += &format!(
                "| `{place}` | {:.4e} | {:.4e} | {:.2e} | {:.2e} |\n",
                entry.analytic,
                entry.numeric,
                entry.rel_err,
                entry.severity()
            );
        }
    }
    text + "\n" + &details("Details", &words::facts(check))
}

fn cause(finding: &Finding) -> String {
    let mut text = format!(
        "\n- **{}**{}: {}.\n  - *Fix*: {}.\n",
        finding.code,
        words::confidence(finding),
        escape(&finding.message),
        escape(&finding.fix)
    );
    if let Some(proof) = &finding.proof
        && !proof.correction.is_empty()
    {
        text += &format!("  - *Proof*: {}.\n", escape(&words::proof(proof)));
    }
    if let Some(test) = &finding.test {
        text += &format!("  - *To confirm*: {}.\n", escape(test));
    }
    text
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✅",
        Verdict::Inconclusive => "⚠️",
        Verdict::Fail => "❌",
    }
}

/// Renders labels and facts as a collapsed table.
fn details(summary: &str, facts: &[(&'static str, String)]) -> String {
    let rows = facts
        .iter()
        .map(|(label, fact)| format!("| {label} | {} |\n", escape(fact)));
    let rows: String = rows.collect();
    format!("<details><summary>{summary}</summary>\n\n| | |\n|---|---|\n{rows}\n</details>\n")
}

/// Renders a command as a code block, with a fence that is longer than any fence in it.
fn fenced(code: &str) -> String {
    let mut fence = "```".to_owned();
    while code.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}sh\n{code}\n{fence}")
}

/// Escapes the characters that have a meaning in Markdown.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if "\\`*_[]<>|#".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
