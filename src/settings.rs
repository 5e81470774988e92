//! What can be said of a check, the same on the command line, in gradprobe.toml and to a service.

use std::{ops::Range, str::FromStr};

use clap::{
    Arg, Args, Command, Parser, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

use crate::{
    check::{CompareOn, Options, RandomRows, Subject},
    error::{Error, Result},
    io::{self, Inputs, Request, Source},
    loss::Reduction,
    problem::Wrt,
    report::{CheckReport, Report},
    scheme::{Method, Precision, Scheme},
    sweep::{self, Sweep},
};

/// Characters of the name that a client of a service may give a check.
#[cfg(any(feature = "serve", feature = "remote"))]
pub(crate) const LONGEST_NAME: usize = 200;

/// What the loss is, where the file does not say, and which of its gradients are meant.
#[derive(Args, Clone, Debug)]
pub struct LossSettings {
    /// Which gradients to check [default: those in the file; the built-in backward pass's where there is none]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub wrt: Vec<Wrt>,
    /// How the samples' losses become one number [default: the file's, or mean]
    #[arg(long, value_enum)]
    pub reduction: Option<Reduction>,
    /// The target that marks samples which count for nothing [default: the file's, or -100]
    #[arg(long, value_name = "I", allow_negative_numbers = true, value_parser = whole::<i64>)]
    pub ignore_index: Option<i64>,
    /// The share of the target that is spread over all classes [default: the file's, or 0]
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = number)]
    pub label_smoothing: Option<f64>,
}

impl LossSettings {
    /// What is to be read: all rows, with so many bytes beside the weights.
    pub fn request(&self, memory: Option<u64>) -> Request {
        Request {
            memory: memory.map(|bytes| bytes as usize),
            unpacked: None,
            rows: None,
            wrt: self.wrt.clone(),
            reduction: self.reduction,
            ignore_index: self.ignore_index,
            label_smoothing: self.label_smoothing,
        }
    }
}

/// What is checked, and how.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The loss and its gradients.
    #[command(flatten)]
    pub loss: LossSettings,

    /// The step: auto, or a number
    #[arg(long, default_value = "auto", allow_negative_numbers = true, value_parser = eps)]
    pub eps: Auto<f64>,
    /// How the losses at the perturbed points are computed
    #[arg(long, value_enum, default_value_t)]
    pub method: Method,
    /// Where the losses are taken: central (2 an entry), forward (1), or five-point (4)
    #[arg(
        long,
        default_value = "central",
        value_name = "central|forward|five-point",
        hide_possible_values = true,
        value_enum
    )]
    pub scheme: Scheme,
    /// The arithmetic of the losses; auto is f64 for an f64 gradient (on the CPU where the device has none) and on the CPU, else f32
    #[arg(long, default_value = "auto", value_name = "auto|f32|f64", hide_possible_values = true, value_parser = precision())]
    pub precision: Auto<Precision>,
    /// Where errors are found: host (derivatives are read back), device (sums are, and the rows that the host is to look at again), or auto
    /// (on a GPU where a gradient has more than 4 million entries)
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "auto|host|device",
        hide_possible_values = true
    )]
    pub compare: CompareOn,
    /// Relative tolerance, in place of what rounding to the gradient's type explains
    #[arg(long, allow_negative_numbers = true, value_parser = number)]
    pub rtol: Option<f64>,
    /// Absolute tolerance, likewise
    #[arg(long, allow_negative_numbers = true, value_parser = number)]
    pub atol: Option<f64>,
    /// Check the rows from A to before B only
    #[arg(long, value_name = "A..B", value_parser = rows)]
    pub rows: Option<Range<usize>>,
    /// Check so many rows only, drawn at random
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub sample: Option<usize>,
    /// What the random numbers of --sample begin with
    #[arg(long, default_value_t = 0, value_name = "S", requires = "sample", value_parser = whole::<u64>)]
    pub seed: u64,
}

/// A value, or the program's own choice.
#[derive(Clone, Copy, Debug)]
pub enum Auto<T> {
    /// The program's.
    Auto,
    /// The value.
    Given(T),
}

impl<T> Auto<T> {
    fn given(self) -> Option<T> {
        match self {
            Self::Auto => None,
            Self::Given(value) => Some(value),
        }
    }
}

impl Settings {
    /// What can be said, as clap has it: names, texts and types.
    pub fn arguments() -> Vec<Arg> {
        let command = Self::augment_args(Command::new("check"));
        command.get_arguments().cloned().collect()
    }

    /// Reads names and values, each name that of a flag without its dashes.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that there is not, or a value that cannot be used.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self> {
        let arguments = Self::arguments();
        let names: Vec<&str> = arguments.iter().filter_map(Arg::get_long).collect();
        let unknown = pairs
            .iter()
            .find(|(name, _)| !names.contains(&&*flag(name)));
        if let Some((name, _)) = unknown {
            let said = format!(
                "there is no setting '{name}'; there are {}",
                names.join(", ")
            );
            return Err(Error::Usage(said));
        }
        #[derive(Parser)]
        #[command(no_binary_name = true, disable_help_flag = true)]
        struct Words {
            #[command(flatten)]
            settings: Settings,
        }
        let parsed =
            Words::try_parse_from(flags(pairs)).map_err(|error| Error::Usage(in_a_line(&error)));
        Ok(parsed?.settings)
    }

    /// How to check, and whether a picture is wanted.
    pub fn options(&self, picture: bool) -> Options {
        Options {
            method: self.method,
            scheme: self.scheme,
            eps: self.eps.given(),
            precision: self.precision.given(),
            rtol: self.rtol,
            atol: self.atol,
            rows: self.rows.clone(),
            sample: self.sample.map(|rows| RandomRows {
                rows,
                seed: self.seed,
            }),
            compare: self.compare,
            picture,
        }
    }

    /// For each check of a report the errors at every step size, for a page's pictures; none where rows are left out.
    ///
    /// # Errors
    /// Those of [`sweep::glance`].
    pub fn sweeps(&self, inputs: &Inputs, report: &Report) -> Result<Vec<Option<Sweep>>> {
        let is_whole = self.rows.is_none() && self.sample.is_none() && !report.interrupted;
        let of_check = |check: &CheckReport| {
            let mut subjects = inputs.subjects.iter();
            match subjects.find(|subject| is_whole && subject.wrt == check.wrt) {
                Some(subject) => sweep::glance(&inputs.problem, subject),
                None => Ok(None),
            }
        };
        report.checks.iter().map(of_check).collect()
    }

    /// Reads what is checked, with so many bytes beside the weights, and compressed arrays of so many at most. Gradients that sum over all
    /// samples cannot be checked on some of them: they are left out with a note, unless they were asked for.
    ///
    /// # Errors
    /// Those of [`io::load`].
    pub fn load(&self, source: &Source, memory: u64, unpacked: Option<u64>) -> Result<Inputs> {
        let mut request = self.loss.request(Some(memory));
        request.unpacked = unpacked.map(|bytes| bytes as usize);
        request.rows = match self.sample {
            Some(_) => Some(0..0),
            None => self.rows.clone(),
        };
        let mut inputs = io::load(source, &request)?;
        self.leave_out_sums(&mut inputs);
        Ok(inputs)
    }

    fn leave_out_sums(&self, inputs: &mut Inputs) {
        let flag = match (&self.rows, self.sample) {
            (Some(_), _) => "--rows",
            (None, Some(_)) => "--sample",
            (None, None) => return,
        };
        let is_sum = |subject: &Subject| subject.wrt.is_parameter();
        if !self.loss.wrt.is_empty() || inputs.subjects.iter().all(is_sum) {
            return;
        }
        for sum in inputs.subjects.iter().filter(|subject| is_sum(subject)) {
            let name = sum.wrt.grad_name();
            inputs.notes.push(format!(
                "{name} is not checked: it is a sum over all samples, and {flag} takes some of them"
            ));
        }
        inputs.subjects.retain(|subject| !is_sum(subject));
    }
}

/// Names and values as flags.
pub fn flags(pairs: &[(String, String)]) -> impl Iterator<Item = String> {
    let pairs = pairs.iter();
    pairs.map(|(name, value)| format!("--{}={value}", flag(name)))
}

/// In a URL a name may well be written as in Python.
fn flag(name: &str) -> String {
    name.replace('_', "-")
}

/// What clap says in paragraphs: the fault, and how it might be mended.
pub fn in_a_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let fault = paragraphs.next().unwrap_or_default();
    let mut line = fault.trim_start_matches("error: ").to_owned();
    for tip in paragraphs.filter_map(|it| it.strip_prefix("tip: ").map(str::to_owned)) {
        line += &format!("; {tip}");
    }
    line
}

/// Arguments of the program as a shell takes them, with its name before them.
pub fn command_line(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let quoted = |word: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
        if !word.is_empty() && word.chars().all(is_plain) {
            word.to_owned()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    let words = words.into_iter().map(|word| quoted(word.as_ref()));
    std::iter::once("gradprobe".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

fn rows(text: &str) -> std::result::Result<Range<usize>, String> {
    let (first, end) = text.split_once("..").unwrap_or_default();
    match (first.parse(), end.parse()) {
        (Ok(first), Ok(end)) => Ok(first..end),
        _ => Err("expected two numbers, such as 1000..2000".to_owned()),
    }
}

fn eps(text: &str) -> std::result::Result<Auto<f64>, String> {
    match text {
        "auto" => Ok(Auto::Auto),
        text => text
            .parse()
            .map(Auto::Given)
            .map_err(|_| "expected auto or a number, such as 1e-3".to_owned()),
    }
}

fn number(text: &str) -> std::result::Result<f64, &'static str> {
    text.parse().map_err(|_| "expected a number, such as 1e-3")
}

fn whole<T: FromStr>(text: &str) -> std::result::Result<T, &'static str> {
    text.parse().map_err(|_| "expected a whole number")
}

fn precision() -> impl TypedValueParser<Value = Auto<Precision>> {
    PossibleValuesParser::new(["auto", "f32", "f64"]).map(|name| {
        let named = Precision::from_str(&name, false);
        named.map_or(Auto::Auto, Auto::Given)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::Scheme;

    #[test]
    fn names_are_those_of_flags() {
        let settings = parse(&[
            ("wrt", "input,weight"),
            ("ignore_index", "-1"),
            ("label-smoothing", "0.1"),
            ("rtol", "1e-3"),
            ("rows", "2..4"),
            ("scheme", "five-point"),
            ("precision", "f32"),
        ])
        .unwrap();
        assert_eq!(settings.loss.wrt, [Wrt::Input, Wrt::Weight]);
        assert_eq!(settings.loss.ignore_index, Some(-1));
        let options = settings.options(false);
        assert_eq!((options.rtol, options.rows), (Some(1e-3), Some(2..4)));
        assert_eq!(options.scheme, Scheme::FivePoint);
        assert_eq!(options.precision, Some(Precision::F32));
        let options = parse(&[]).unwrap().options(true);
        assert_eq!((options.eps, options.precision), (None, None));
    }

    fn parse(pairs: &[(&str, &str)]) -> Result<Settings> {
        let pairs = pairs.iter();
        let pairs: Vec<_> = pairs
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Settings::parse(&pairs)
    }

    #[test]
    fn what_cannot_be_used_is_told_as_on_the_command_line() {
        for (pair, said) in [
            (
                ("rtols", "1"),
                "there is no setting 'rtols'; there are wrt, reduction, ignore-index, label-smoothing, eps, method, scheme, precision, compare, rtol, atol, rows, sample, seed",
            ),
            (
                ("eps", "x"),
                "invalid value 'x' for '--eps <EPS>': expected auto or a number, such as 1e-3",
            ),
            (
                ("scheme", "best"),
                "invalid value 'best' for '--scheme <central|forward|five-point>' [possible values: forward, central, five-point]",
            ),
            (
                ("sample", "few"),
                "invalid value 'few' for '--sample <N>': expected a whole number",
            ),
        ] {
            let error = parse(&[pair]).unwrap_err();
            assert_eq!(error.to_string(), said);
        }
    }
}
