//! Workflow commands of GitHub Actions: an annotation for each gradient.

use super::words;
use crate::report::{CheckReport, Report, Verdict};

/// A line for each check; `file` is what was checked.
pub fn render(report: &Report, file: Option<&str>) -> String {
    let lines = report.checks.iter().map(|check| line(check, file) + "\n");
    lines.collect()
}

fn line(check: &CheckReport, file: Option<&str>) -> String {
    let level = match check.verdict() {
        Verdict::Pass => "notice",
        Verdict::Inconclusive => "warning",
        Verdict::Fail => "error",
    };
    let title = match check.findings.first() {
        Some(finding) => format!("gradprobe: {} ({})", check.wrt.grad_name(), finding.code),
        None => format!("gradprobe: {}", check.wrt.grad_name()),
    };
    let file = file.map_or_else(String::new, |file| format!("file={},", property(file)));
    let fix = check.findings.first();
    let fix = fix.map_or_else(String::new, |finding| {
        format!("\nTo mend it: {}.", finding.fix)
    });
    let message = words::sentence(check) + &fix;
    format!(
        "::{level} {file}title={}::{}",
        property(&title),
        data(&message)
    )
}

/// What would end a message.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// What would end a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
