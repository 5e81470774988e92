//! The report as GitHub-flavoured Markdown, for the summary of a job or a comment.

use super::{Run, single, words};
use crate::report::{Check, Finding, Report, Verdict};

/// The number of worst entries that are shown; JSON has all of them.
const SHOWN: usize = 5;

/// The most bytes of a text: GitHub drops the summary of a step that has more than 1 MiB.
pub const MOST_BYTES: usize = 1 << 20;
/// Bytes that remain free for the closing notes. Chosen.
const RESERVE: usize = 1 << 10;

/// Renders the report of a single file. For several files, renders a table with a line for each and
/// the reports of those that did not pass, as far as they fit into [`MOST_BYTES`].
pub fn render(runs: &[Run]) -> String {
    render_within(runs, MOST_BYTES)
}

/// Renders the same in at most `most` bytes, if `most` is at least a few kilobytes. Reports that do
/// not fit are left out first, then lines of the table; the number of files is always there.
pub fn render_within(runs: &[Run], most: usize) -> String {
    let most = most.saturating_sub(RESERVE);
    if let Some(report) = single(runs) {
        let text = "## gradprobe\n".to_owned() + &of_report(report);
        return if text.len() <= most {
            text
        } else {
            format!("## gradprobe\n\n**{}**\n", escape(&words::brief(report)))
        };
    }
    let mut text = format!(
        "## gradprobe\n\n**{}**\n\n| | file | |\n|---|---|---|\n",
        words::counts(runs)
    );
    let lines: Vec<(bool, String)> = runs.iter().map(line).collect();
    let all: usize = lines.iter().map(|(_, line)| line.len()).sum();
    let lines = if text.len() + all <= most {
        lines
    } else {
        // Files that pass are the first to be left out.
        lines.into_iter().filter(|(is_pass, _)| !is_pass).collect()
    };
    let listed = add_while_it_fits(&mut text, lines.into_iter().map(|(_, line)| line), most);
    if listed < runs.len() {
        let left = words::group((runs.len() - listed) as u64);
        text += &format!("\nThe table leaves out {left} files: it does not fit here.\n");
    }
    let reports: Vec<_> = runs.iter().filter_map(not_passed).collect();
    let sections = reports
        .iter()
        .map(|(name, report)| format!("\n## {}\n{}", escape(name), of_report(report)));
    let shown = add_while_it_fits(&mut text, sections, most);
    if shown < reports.len() {
        let left = words::group((reports.len() - shown) as u64);
        text += &format!(
            "\nThe reports of {left} more files do not fit here; `--json` and `--html` write all \
             of them.\n"
        );
    }
    text
}

/// Appends the first of `parts` that leave `text` with at most `most` bytes, and returns their
/// number.
fn add_while_it_fits(text: &mut String, parts: impl Iterator<Item = String>, most: usize) -> usize {
    let mut added = 0;
    for part in parts {
        if text.len() + part.len() > most {
            break;
        }
        *text += &part;
        added += 1;
    }
    added
}

/// Returns the line of the table for a file, and true if the file passed.
fn line(run: &Run) -> (bool, String) {
    let (mark, summary) = match &run.outcome {
        Ok(report) => (mark(report.verdict), words::brief(report)),
        Err(error) => ("❗", error.to_string()),
    };
    let (name, summary) = (escape(&run.name), escape(&summary));
    let is_pass = matches!(&run.outcome, Ok(report) if report.verdict == Verdict::Pass);
    (is_pass, format!("| {mark} | {name} | {summary} |\n"))
}

fn not_passed(run: &Run) -> Option<(&str, &Report)> {
    let report = run.outcome.as_ref().ok()?;
    (report.verdict != Verdict::Pass).then_some((&run.name, report))
}

fn of_report(report: &Report) -> String {
    let mut text = String::new();
    if report.interrupted {
        text += &format!("\n**{}**\n", words::INTERRUPTED);
    }
    if let Some(layers) = words::layers(report) {
        text += &format!("\n{}\n", escape(&layers));
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
        check.name(),
        escape(&words::sentence(check))
    );
    for finding in &check.findings {
        text += &cause(finding);
    }
    if check.verdict == Verdict::Fail && !check.worst.is_empty() {
        text += "\n| entry | analytic | numeric | relative error | error / allowed |\n";
        text += "|---|--:|--:|--:|--:|\n";
        for entry in check.worst.iter().take(SHOWN) {
            let place = check.place(entry);
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
