//! The settings of a check. They are the same on the command line, in gradprobe.toml and in a
//! request to a service. clap parses all three, so each takes the same names and reports the same
//! errors.

use std::ops::Range;

use clap::{Arg, Args, Command, Parser};

use crate::{
    case::Case,
    check::{CompareOn, Options, RandomRows},
    error::{Error, Result},
    io::{Request, Source},
    loss::Reduction,
    problem::WeightLayout,
    scheme::{Method, Precision, Scheme},
    tensor::Dtype,
};

mod values;
mod words;

pub(crate) use values::number;
#[cfg(feature = "serve")]
pub(crate) use words::flags;
pub(crate) use words::{command_line, in_a_line};

use values::{eps, float_type, precision, rows, whole};

/// The longest name that a client of a service may give a check, in characters.
#[cfg(any(feature = "serve", feature = "remote"))]
pub(crate) const LONGEST_NAME: usize = 200;

// Headings of the help. Each flag sets its heading: one on a struct would also apply to the flags
// of the next struct.
const LOSS: &str = "Loss and gradients";
const DIFFERENCE: &str = "Finite difference";

/// Settings of the loss that a file may leave open, and the gradients to check.
#[derive(Args, Clone, Debug)]
pub struct LossSettings {
    /// Gradients to check [default: all in the file]
    ///
    /// input, logits, weight, bias, or the names of tensors of a network. Separate several by
    /// commas. Without this flag all gradients in the file are checked.
    #[arg(long, help_heading = LOSS, value_delimiter = ',', value_name = "NAME")]
    pub wrt: Vec<String>,
    /// Reduction of the loss [default: the file's, else mean]
    #[arg(
        long,
        help_heading = LOSS,
        value_enum,
        value_name = "mean|sum",
        hide_possible_values = true
    )]
    pub reduction: Option<Reduction>,
    /// Target of ignored samples [default: the file's, else -100]
    #[arg(
        long,
        help_heading = LOSS,
        value_name = "I",
        allow_negative_numbers = true,
        value_parser = whole::<i64>
    )]
    pub ignore_index: Option<i64>,
    /// Label smoothing, 0 to 1 [default: the file's, else 0]
    #[arg(
        long,
        help_heading = LOSS,
        value_name = "S",
        allow_negative_numbers = true,
        value_parser = number
    )]
    pub label_smoothing: Option<f64>,
    /// Check gradprobe's own backward pass
    ///
    /// No gradient in the file is checked. The pass is that with respect to the input, unless --wrt
    /// names others.
    #[arg(
        long,
        help_heading = LOSS,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        hide_default_value = true,
        hide_possible_values = true,
        value_name = "true|false"
    )]
    pub self_test: bool,
    /// Divisor of the sum of the losses [default: the reduction's]
    ///
    /// It replaces the number of samples, or the sum of their class weights, of a mean, for a
    /// gradient that is accumulated over several batches or workers: num_items_in_batch.
    #[arg(
        long,
        help_heading = LOSS,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = number
    )]
    pub normalizer: Option<f64>,
    /// Axes of weight: kd or dk [default: by the shapes]
    ///
    /// kd is classes by features, as in PyTorch, dk features by classes.
    ///
    /// PyTorch's nn.Linear has [k, d]; NumPy's X @ W, Keras and flax have [d, k]. The shapes leave
    /// the choice open if k equals d: it is then the file's weight_layout, else kd.
    #[arg(
        long,
        help_heading = LOSS,
        value_enum,
        value_name = "kd|dk",
        hide_possible_values = true
    )]
    pub weight_layout: Option<WeightLayout>,
    /// Type that the gradients were computed in [default: theirs]
    ///
    /// For numbers of a narrower type in a wider array, such as those of bf16 in the f32 gradients
    /// of torch.autocast. The rounding of this type is then allowed for.
    #[arg(
        long,
        help_heading = LOSS,
        value_name = "bf16|f16|f32|f64",
        hide_possible_values = true,
        value_parser = float_type()
    )]
    pub computed_in: Option<Dtype>,
}

impl LossSettings {
    /// Returns a request for all rows, with `memory` bytes for arrays apart from the weights.
    pub fn request(&self, memory: Option<u64>) -> Request {
        Request {
            model: None,
            memory: memory.map(|bytes| bytes as usize),
            unpacked: None,
            rows: None,
            is_part: false,
            wrt: self.wrt.clone(),
            reduction: self.reduction,
            ignore_index: self.ignore_index,
            label_smoothing: self.label_smoothing,
            self_test: self.self_test,
            normalizer: self.normalizer,
            weight_layout: self.weight_layout,
            computed_in: self.computed_in,
        }
    }
}

/// The settings of a check.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The loss and its gradients.
    #[command(flatten)]
    pub loss: LossSettings,
    /// Model of a network: a chain, or a .json file
    ///
    /// A chain names the layers and the loss by PyTorch's functions, each with the name whose
    /// parameters it takes: 'linear:fc1 relu linear:fc2 cross_entropy'. A file may hold its model
    /// itself. docs/networks.md has all layers.
    #[arg(long, help_heading = "Network", value_name = "MODEL")]
    pub model: Option<String>,

    /// Step: auto, or a number
    ///
    /// The step is added to one element of the input, logits, weight or bias. auto picks a power of
    /// two that suits the method, the scheme and the precision.
    #[arg(
        long,
        help_heading = DIFFERENCE,
        default_value = "auto",
        allow_negative_numbers = true,
        value_parser = eps
    )]
    pub eps: Auto<f64>,
    /// difference (cannot cancel) or forward-pass
    ///
    /// difference computes the difference of two losses itself, by an identity. forward-pass
    /// computes both losses and subtracts them, as a loop in PyTorch would; most digits cancel.
    #[arg(
        long,
        help_heading = DIFFERENCE,
        value_enum,
        default_value_t,
        value_name = "METHOD",
        hide_possible_values = true
    )]
    pub method: Method,
    /// central, forward or five-point
    ///
    /// central takes 2 losses per entry, forward 1, and five-point 4. Their errors fall as eps^2,
    /// eps and eps^4.
    #[arg(
        long,
        help_heading = DIFFERENCE,
        default_value = "central",
        value_name = "SCHEME",
        hide_possible_values = true,
        value_enum
    )]
    pub scheme: Scheme,
    /// Precision of the finite difference
    ///
    /// auto is f64 on the CPU and for an f64 gradient, else f32. If a GPU has no f64, the CPU
    /// computes.
    #[arg(
        long,
        help_heading = DIFFERENCE,
        default_value = "auto",
        value_name = "auto|f32|f64",
        hide_possible_values = true,
        value_parser = precision()
    )]
    pub precision: Auto<Precision>,
    /// Compare on the CPU (host) or on the GPU (device)
    ///
    /// host reads every derivative back from the GPU. device compares on the GPU and reads back
    /// sums, and the rows that need a closer look. auto is device on a GPU for more than 4 million
    /// entries, else host. The verdict is the same.
    #[arg(
        long,
        help_heading = DIFFERENCE,
        value_enum,
        default_value_t,
        value_name = "auto|host|device",
        hide_possible_values = true
    )]
    pub compare: CompareOn,
    /// Relative tolerance [default: the rounding of the gradient's dtype]
    ///
    /// With --rtol, --atol or both, an entry may be off by rtol * max(|analytic|, |numeric|) +
    /// atol. Without them, an entry may be off by the rounding error of the gradient's dtype.
    #[arg(
        long,
        help_heading = "Tolerance",
        value_name = "R",
        allow_negative_numbers = true,
        value_parser = number
    )]
    pub rtol: Option<f64>,
    /// Absolute tolerance [default: 0 with --rtol, else as for --rtol]
    #[arg(
        long,
        help_heading = "Tolerance",
        value_name = "A",
        allow_negative_numbers = true,
        value_parser = number
    )]
    pub atol: Option<f64>,
    /// Largest error that a pass may miss [default: 0.1]
    ///
    /// A relative error of this size in all entries. If rounding would hide it, the check is
    /// inconclusive.
    #[arg(
        long,
        help_heading = "Tolerance",
        value_name = "P",
        allow_negative_numbers = true,
        value_parser = number
    )]
    pub min_power: Option<f64>,
    /// Check only rows A up to, not including, B
    #[arg(long, help_heading = "Rows", value_name = "A..B", value_parser = rows)]
    pub rows: Option<Range<usize>>,
    /// Check N rows, drawn at random
    #[arg(long, help_heading = "Rows", value_name = "N", value_parser = whole::<usize>)]
    pub sample: Option<usize>,
    /// Seed of the random rows
    #[arg(
        long,
        help_heading = "Rows",
        default_value_t = 0,
        value_name = "S",
        requires = "sample",
        value_parser = whole::<u64>
    )]
    pub seed: u64,
}

/// A value, or the program's own choice.
#[derive(Clone, Copy, Debug)]
pub enum Auto<T> {
    /// The program's choice.
    Auto,
    /// The user's value.
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
    /// Returns the settings as clap's arguments: names, help texts and types.
    pub fn arguments() -> Vec<Arg> {
        let command = Self::augment_args(Command::new("check"));
        command.get_arguments().cloned().collect()
    }

    /// Parses names and values. A name is a flag without its dashes.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown name or an invalid value.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self> {
        let arguments = Self::arguments();
        let names: Vec<&str> = arguments.iter().filter_map(Arg::get_long).collect();
        let mut unknown = pairs.iter();
        let unknown = unknown.find(|(name, _)| !names.contains(&&*words::flag(name)));
        if let Some((name, _)) = unknown {
            return Err(Error::Usage(format!(
                "unknown setting '{name}'; the settings are {}",
                names.join(", ")
            )));
        }
        #[derive(Parser)]
        #[command(no_binary_name = true, disable_help_flag = true)]
        struct Flags {
            #[command(flatten)]
            settings: Settings,
        }
        let parsed = Flags::try_parse_from(words::flags(pairs));
        let parsed = parsed.map_err(|error| Error::Usage(in_a_line(&error)));
        Ok(parsed?.settings)
    }

    /// Returns the options of a check. Its report has a picture of the errors if `picture` is set.
    pub fn options(&self, picture: bool) -> Options {
        Options {
            method: self.method,
            scheme: self.scheme,
            eps: self.eps.given(),
            precision: self.precision.given(),
            rtol: self.rtol,
            atol: self.atol,
            min_power: self.min_power,
            rows: self.rows.clone(),
            sample: self.sample.map(|rows| RandomRows {
                rows,
                seed: self.seed,
            }),
            compare: self.compare,
            picture,
        }
    }

    /// Reads a case. Arrays other than the weights may take `memory` bytes, and compressed arrays
    /// `unpacked` bytes.
    ///
    /// # Errors
    /// Those of [`Case::load`].
    pub fn load(&self, source: &Source, memory: u64, unpacked: Option<u64>) -> Result<Case> {
        let mut request = self.loss.request(Some(memory));
        request.model.clone_from(&self.model);
        request.unpacked = unpacked.map(|bytes| bytes as usize);
        request.rows = match self.sample {
            Some(_) => Some(0..0),
            None => self.rows.clone(),
        };
        Case::load(source, &request, &self.options(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_names_of_flags() {
        let settings = parse(&[
            ("wrt", "input,weight"),
            ("ignore_index", "-1"),
            ("label-smoothing", "0.1"),
            ("rtol", "1e-3"),
            ("rows", "2..4"),
            ("scheme", "five-point"),
            ("precision", "f32"),
            ("normalizer", "46"),
            ("weight_layout", "dk"),
            ("computed-in", "bf16"),
        ])
        .unwrap();
        assert_eq!(settings.loss.wrt, ["input", "weight"]);
        assert_eq!(settings.loss.ignore_index, Some(-1));
        let request = settings.loss.request(None);
        assert_eq!(request.normalizer, Some(46.0));
        assert_eq!(request.weight_layout, Some(WeightLayout::Dk));
        assert_eq!(request.computed_in, Some(Dtype::BF16));
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
    fn reports_bad_values_as_on_the_command_line() {
        for (pair, message) in [
            (
                ("rtols", "1"),
                "unknown setting 'rtols'; the settings are wrt, reduction, ignore-index, \
                 label-smoothing, self-test, normalizer, weight-layout, computed-in, model, eps, \
                 method, scheme, precision, compare, rtol, atol, min-power, rows, sample, seed",
            ),
            (
                ("eps", "x"),
                "invalid value 'x' for '--eps <EPS>': expected auto or a number, such as 1e-3",
            ),
            (
                ("scheme", "best"),
                "invalid value 'best' for '--scheme <SCHEME>' \
                 [possible values: forward, central, five-point]",
            ),
            (
                ("sample", "few"),
                "invalid value 'few' for '--sample <N>': expected a whole number",
            ),
        ] {
            let error = parse(&[pair]).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
