//! The report as text for a terminal: the verdict first, then what it rests on.

use anstyle::{AnsiColor, Style};

use super::{Run, single, words};
use crate::{
    problem::Wrt,
    report::{Check, Entry, Finding, Report, Verdict},
};

/// How many of the worst entries are shown.
const SHOWN: usize = 5;
/// How many of the causes that were ruled out are shown; JSON has all.
const RULED_OUT: usize = 6;
/// Columns before what a label stands for.
const INDENT: &str = "             ";

/// How a text lies on what shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layout {
    /// Whether it has ANSI escape sequences for colours.
    pub coloured: bool,
    /// The columns that a line may take, but for tables; none for lines of any length.
    pub width: Option<usize>,
}

/// The report, with a line break at its end.
pub fn render(report: &Report, layout: Layout) -> String {
    let mut page = Page::new(layout);
    if report.interrupted {
        page.paragraph("INTERRUPTED: this is what was found before, and not diagnosed.");
    }
    for check in &report.checks {
        page.sentence(check);
        write_diagnosis(&mut page, check);
    }
    if let (Some(command), Verdict::Fail) = (&report.command, report.verdict) {
        page.whole("repeat", command);
    }
    write_run(&mut page, report);
    for check in &report.checks {
        write_check(&mut page, check);
    }
    page.text
}

/// Of a single file its report; of several, whose lines have been told, those that did not pass in full, and how many did.
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

/// A sentence on each gradient that did not pass.
pub fn sentences(report: &Report, layout: Layout) -> String {
    let mut page = Page::new(layout);
    let checks = report.checks.iter();
    for check in checks.filter(|check| check.verdict != Verdict::Pass) {
        page.sentence(check);
    }
    page.text
}

/// What came of one of several files, with a line break at its end.
pub fn line(run: &Run, layout: Layout) -> String {
    let told = match &run.outcome {
        Err(error) => error.to_string(),
        Ok(report) => words::brief(report),
    };
    let mut name = run.name.clone();
    if !told.is_empty() {
        name += ": ";
    }
    let heading = format!("{:<13}", words::heading(run).to_uppercase());
    let style = style(run.outcome.as_ref().ok().map(|report| report.verdict));
    let heading = Page::new(layout).styled(style, &heading);
    format!("{heading} {name}{told}\n")
}

/// That of a verdict, or of an error.
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

    /// The verdict on a gradient.
    fn sentence(&mut self, check: &Check) {
        let sentence = words::sentence(check);
        let (verdict, rest) = sentence.split_once(' ').unwrap_or((&sentence, ""));
        let verdict = self.styled(style(Some(check.verdict)), verdict);
        self.paragraph(&format!("{verdict} {rest}"));
    }

    /// A label, and what it stands for.
    fn labelled(&mut self, label: &str, text: &str) {
        let label = self.label(label);
        self.fill(&format!("{label}{text}"), INDENT);
    }

    /// The same with a text that is copied as it is.
    fn whole(&mut self, label: &str, text: &str) {
        let label = self.label(label);
        self.row(&format!("{label}{text}"));
    }

    fn label(&self, label: &str) -> String {
        let label = format!("  {label:<10} ");
        self.styled(Style::new().dimmed(), &label)
    }

    /// A line of a table.
    fn row(&mut self, text: &str) {
        self.text += text;
        self.blank();
    }

    /// Lines that are not too long, from the second on with the indent before them.
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

/// Where the errors are, how large, what they point to, and what was ruled out.
fn write_diagnosis(page: &mut Page, check: &Check) {
    if check.verdict == Verdict::Fail && check.wrong > 0 {
        page.blank();
        page.labelled("where", &words::whereabouts(check));
        if let Some(size) = words::size(check) {
            page.labelled("size", &size);
        }
    }
    let mut before: Option<&Finding> = None;
    for finding in &check.findings {
        page.blank();
        let code = page.styled(Style::new().bold(), &finding.code.to_string());
        let sure = words::sure(finding);
        match before {
            // The sentence has said the rest.
            None => page.labelled("cause", &format!("{code}{sure}")),
            Some(before) => {
                let (label, also) = if before.step == finding.step {
                    ("or", "which the arrays cannot tell apart: ")
                } else {
                    ("then", "with that undone, ")
                };
                page.labelled(label, &format!("{also}{} ({code}{sure})", finding.message));
            }
        }
        before = Some(finding);
        page.labelled("fix", &finding.fix);
        if let Some(proof) = &finding.proof
            && !proof.correction.is_empty()
        {
            page.labelled("proof", &words::proved(proof));
        }
        if !finding.evidence.is_empty() {
            let numbers = finding
                .evidence
                .iter()
                .map(|(name, value)| format!("{name} {}", words::rounded(*value)));
            page.labelled("numbers", &numbers.collect::<Vec<_>>().join(", "));
        }
        if let Some(test) = &finding.test {
            page.labelled("to tell", test);
        }
    }
    let tried = &check.tried;
    if !tried.is_empty() {
        let shown = tried.len().min(RULED_OUT);
        let more = match tried.len() - shown {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        page.blank();
        page.labelled("ruled out", &(words::listed(&tried[..shown], ", ") + &more));
    }
}

/// What all checks share.
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
    page.labelled("gradient", &words::gradient(check));
    if let Some(rows) = &check.rows {
        page.labelled("rows", &words::coverage(rows));
    }
    page.labelled("numeric", &words::numeric(check));
    page.labelled("tolerance", &words::tolerance(check));
    if let Some(sees) = words::sees(check) {
        page.labelled("sees", &sees);
    }
    page.labelled("rel. error", &words::rel_err(check));
    page.labelled("cs231n", words::grade(check.rel_err.mean));
    page.blank();
    page.row("  worst entries          analytic      numeric   rel. error   error/allowed");
    for entry in check.worst.iter().take(SHOWN) {
        page.row(&format!("  {}", worst(check.wrt, entry)));
    }
}

fn worst(wrt: Wrt, entry: &Entry) -> String {
    let place = entry.place(wrt);
    format!(
        "{place:<20} {:>11.4e}  {:>11.4e}     {:>8.2e}        {:>8.2e}",
        entry.analytic,
        entry.numeric,
        entry.rel_err,
        entry.severity()
    )
}
