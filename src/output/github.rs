//! Workflow commands of GitHub Actions: an annotation for each gradient.

use super::{Run, words};
use crate::report::{Check, Verdict};

/// Renders a line for each check of each file.
pub fn render(runs: &[Run]) -> String {
    let lines = runs.iter().flat_map(|run| match &run.outcome {
        Ok(report) => {
            let checks = report.checks.iter();
            checks.map(|check| line(check, &run.name)).collect()
        }
        Err(error) => vec![format!(
            "::error file={},title=gradprobe::{}\n",
            property(&run.name),
            data(&error.to_string())
        )],
    });
    lines.collect()
}

fn line(check: &Check, file: &str) -> String {
    let level = match check.verdict {
        Verdict::Pass => "notice",
        Verdict::Inconclusive => "warning",
        Verdict::Fail => "error",
    };
    let (mut title, mut message) = (
        format!("gradprobe: {}", check.wrt.grad_name()),
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
