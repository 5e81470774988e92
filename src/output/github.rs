//! Workflow commands of GitHub Actions: an annotation for each gradient that did not pass.

use super::{Run, words};
use crate::report::{Check, Verdict};

/// The number of annotations: GitHub shows ten of each type in a step. Chosen.
const SHOWN: usize = 10;

/// Renders a line for each check that did not pass, and for each file that could not be checked.
/// The last line counts those that are left out.
pub fn render(runs: &[Run]) -> String {
    let lines = runs.iter().flat_map(|run| match &run.outcome {
        Ok(report) => {
            let checks = report.checks.iter();
            let failures = checks.filter(|check| check.verdict != Verdict::Pass);
            failures.map(|check| line(check, &run.name)).collect()
        }
        Err(error) => vec![format!(
            "::error file={},title=gradprobe::{}\n",
            property(&run.name),
            data(&error.to_string())
        )],
    });
    let lines: Vec<String> = lines.collect();
    if lines.len() <= SHOWN {
        return lines.concat();
    }
    let left = words::group((lines.len() - SHOWN + 1) as u64);
    lines[..SHOWN - 1].concat()
        + &format!(
            "::error title=gradprobe::{left} more gradients or files did not pass; the job summary \
             lists them\n"
        )
}

fn line(check: &Check, file: &str) -> String {
    let level = match check.verdict {
        Verdict::Fail => "error",
        Verdict::Pass | Verdict::Inconclusive => "warning",
    };
    let (mut title, mut message) = (
        format!("gradprobe: {}", check.name()),
        words::sentence(check),
    );
    if let Some(finding) = check.findings.first() {
        title += &format!(" ({})", finding.code);
        message += &format!("\nFix: {}.", finding.fix);
    }
    let (file, title) = (property(file), property(&title));
    format!("::{level} file={file},title={title}::{}\n", data(&message))
}

/// Escapes the characters that would end a message.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Escapes the characters that would end a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
