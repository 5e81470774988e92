//! The report as text for a terminal: the verdict first, then the facts behind it.

use anstyle::{AnsiColor, Style};

use super::{Run, single, words};
use crate::report::{Check, Finding, Report, Verdict};

/// The number of worst entries that are shown; JSON has all of them.
const SHOWN: usize = 5;
/// The width of a label: the longest is "relative error".
const LABEL: usize = 14;

/// The layout of a text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layout {
    /// True if the text has ANSI escape sequences for colours.
    pub coloured: bool,
    /// The width of a line in columns, except in tables and commands; `None` for no limit.
    pub width: Option<usize>,
}

/// Renders a report, with a line break at its end.
pub fn render(report: &Report, layout: Layout) -> String {
    let mut page = Page::new(layout);
    if report.interrupted {
        page.paragraph(words::INTERRUPTED);
    }
    if let Some(layers) = words::layers(report) {
        page.paragraph(&layers);
    }
    for (index, check) in report.checks.iter().enumerate() {
        if index > 0 && !report.checks[index - 1].findings.is_empty() {
            page.blank();
        }
        page.sentence(check);
        write_diagnosis(&mut page, check);
    }
    if let Some(agreement) = words::agreement(report) {
        page.labelled("agreement", &agreement);
    }
    if let (Some(command), Verdict::Fail) = (&report.command, report.verdict) {
        page.unbroken("repeat", command);
    }
    write_run(&mut page, report);
    let is_right = |check: &&Check| check.verdict == Verdict::Pass;
    let is_network = report.problem.network.is_some();
    for check in report
        .checks
        .iter()
        .filter(|check| !is_network || !is_right(check))
    {
        write_check(&mut page, check);
    }
    let right = report
        .checks
        .iter()
        .filter(is_right)
        .map(|check| check.detectable);
    if is_network && report.checks.iter().any(|check| is_right(&check)) {
        page.blank();
        let most = right.fold(0.0, f64::max);
        let detected = format!("a relative error of {most:.1e} or more in all entries of a tensor");
        page.labelled("would detect", &detected);
    }
    page.text
}

/// Renders the report of a single file. For several files, renders the reports that did not pass
/// and the number of files that passed; the [lines](line()) of the files have been printed before.
pub fn render_all(runs: &[Run], layout: Layout) -> String {
    if let Some(report) = single(runs) {
        return render(report, layout);
    }
    let mut text = String::new();
    for run in runs {
        if let Ok(report) = &run.outcome
            && report.verdict != Verdict::Pass
        {
            let name = Page::new(layout).styled(Style::new().bold(), &run.name);
            text += &format!("\n== {name}\n\n{}", render(report, layout));
        }
    }
    text + "\n" + &words::counts(runs) + "\n"
}

/// Renders a sentence for each gradient that did not pass.
pub fn sentences(report: &Report, layout: Layout) -> String {
    let mut page = Page::new(layout);
    let checks = report.checks.iter();
    for check in checks.filter(|check| check.verdict != Verdict::Pass) {
        page.sentence(check);
    }
    page.text
}

/// Renders one line for one of several files, with a line break at its end.
pub fn line(run: &Run, layout: Layout) -> String {
    let summary = match &run.outcome {
        Err(error) => error.to_string(),
        Ok(report) => words::brief(report),
    };
    let mut name = run.name.clone();
    if !summary.is_empty() {
        name += ": ";
    }
    let heading = format!("{:<13}", words::heading(run).to_uppercase());
    let style = style(run.outcome.as_ref().ok().map(|report| report.verdict));
    let heading = Page::new(layout).styled(style, &heading);
    format!("{heading} {name}{summary}\n")
}

/// Returns the style of a verdict, or of an error.
fn style(verdict: Option<Verdict>) -> Style {
    let colour = match verdict {
        Some(Verdict::Pass) => AnsiColor::Green,
        Some(Verdict::Inconclusive) => AnsiColor::Yellow,
        Some(Verdict::Fail) | None => AnsiColor::Red,
    };
    colour.on_default().bold()
}

/// A text that grows by lines and paragraphs.
struct Page {
    text: String,
    layout: Layout,
}

impl Page {
    fn new(layout: Layout) -> Self {
        Self {
            text: String::new(),
            layout,
        }
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.layout.coloured {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn blank(&mut self) {
        self.text += "\n";
    }

    fn paragraph(&mut self, text: &str) {
        self.fill(text, "");
    }

    /// Adds the verdict on a gradient.
    fn sentence(&mut self, check: &Check) {
        let sentence = words::sentence(check);
        let (verdict, rest) = sentence.split_once(' ').unwrap_or((&sentence, ""));
        let verdict = self.styled(style(Some(check.verdict)), verdict);
        self.paragraph(&format!("{verdict} {rest}"));
    }

    /// Adds a label with its text.
    fn labelled(&mut self, label: &str, text: &str) {
        let label = self.label(label);
        let indent = " ".repeat(2 + LABEL + 1);
        self.fill(&format!("{label}{text}"), &indent);
    }

    /// Adds a label with a text that stays in one line, so that it can be copied.
    fn unbroken(&mut self, label: &str, text: &str) {
        let label = self.label(label);
        self.row(&format!("{label}{text}"));
    }

    fn label(&self, label: &str) -> String {
        let label = format!("  {label:<LABEL$} ");
        self.styled(Style::new().dimmed(), &label)
    }

    /// Adds a line of any length.
    fn row(&mut self, text: &str) {
        self.text += text;
        self.blank();
    }

    /// Adds lines of the layout's width. The second and later lines begin with `indent`.
    fn fill(&mut self, text: &str, indent: &str) {
        match self.layout.width {
            None => self.row(text),
            Some(width) => {
                let options = textwrap::Options::new(width)
                    .subsequent_indent(indent)
                    .break_words(false)
                    .word_splitter(textwrap::WordSplitter::NoHyphenation);
                self.row(&textwrap::fill(text, options));
            }
        }
    }
}

/// Writes the places and sizes of the errors, their causes, and the causes tried in vain.
fn write_diagnosis(page: &mut Page, check: &Check) {
    if let Some(location) = &check.location {
        page.blank();
        page.labelled("where", &location.text);
        if let Some(size) = words::error_size(check) {
            page.labelled("error size", &size);
        }
    }
    let mut before: Option<&Finding> = None;
    for finding in &check.findings {
        page.blank();
        write_finding(page, finding, before);
        before = Some(finding);
    }
    if let Some(tried) = words::tried(check) {
        page.blank();
        page.labelled("tried", &tried);
    }
}

/// Writes a finding, given the one `before` it.
fn write_finding(page: &mut Page, finding: &Finding, before: Option<&Finding>) {
    let code = page.styled(Style::new().bold(), &finding.code.to_string());
    let confidence = words::confidence(finding);
    match before {
        // The sentence has the message.
        None => page.labelled("cause", &format!("{code}{confidence}")),
        Some(before) => {
            let label = if before.step == finding.step {
                "or"
            } else {
                "and"
            };
            page.labelled(label, &format!("{code}{confidence}: {}", finding.message));
        }
    }
    page.labelled("fix", &finding.fix);
    if let Some(proof) = &finding.proof
        && !proof.correction.is_empty()
    {
        page.labelled("proof", &words::proof(proof));
    }
    if !finding.evidence.is_empty() {
        let numbers = finding.evidence.iter();
        let numbers =
            numbers.map(|(name, value)| format!("{name} {}", words::measured(name, *value)));
        page.labelled("numbers", &numbers.collect::<Vec<_>>().join(", "));
    }
    if let Some(test) = &finding.test {
        page.labelled("to confirm", test);
    }
}

/// Writes the facts that all checks share.
fn write_run(page: &mut Page, report: &Report) {
    page.blank();
    page.labelled("device", &words::device(&report.device));
    if let Some(note) = &report.device.note {
        page.labelled("", note);
    }
    page.labelled("problem", &words::problem(&report.problem));
    page.labelled("time", &words::time(report.seconds));
}

fn write_check(page: &mut Page, check: &Check) {
    page.blank();
    for (label, fact) in words::details(check) {
        page.labelled(label, &fact);
    }
    if check.worst.is_empty() {
        return;
    }
    page.blank();
    page.row("  worst entries          analytic      numeric   rel. error   error/allowed");
    for entry in check.worst.iter().take(SHOWN) {
        let place = check.place(entry);
        page.row(&format!(
            "  {place:<20} {:>11.4e}  {:>11.4e}     {:>8.2e}        {:>8.2e}",
            entry.analytic,
            entry.numeric,
            entry.rel_err,
            entry.severity()
        ));
    }
}
