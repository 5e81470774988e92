//! The program's command line.

use clap::{ArgAction, Parser, Subcommand};

#[cfg(feature = "serve")]
use super::serve::ServeArguments;
use super::{
    bench::BenchArguments, check::CheckArguments, index::IndexArguments, merge::MergeArguments,
    sweep::SweepArguments,
};

const CHECK_EXAMPLES: &str = "\
Examples:
  gradprobe check mine.safetensors
  gradprobe check mine.npz --wrt input --reduction sum
  gradprobe check --input x.npy --weight w.npy --target t.npy --grad g.npy
  gradprobe check big.safetensors --sample 1000 --html report.html
  gradprobe check tests/gradients --jobs 2 --junit report.xml
  gradprobe check mine.safetensors --json - | jq '.checks[].findings'";
const SWEEP_EXAMPLES: &str = "\
Examples:
  gradprobe sweep mine.safetensors
  gradprobe sweep mine.safetensors --wrt weight --precision f64";
const MERGE_EXAMPLES: &str = "\
Examples:
  gradprobe index 'run/step-*.safetensors' --shared run/layer.safetensors
  gradprobe check --index gradprobe.index.json --part 3/8 --out part-3.json
  gradprobe merge 'part-*.json' --html report.html";
const BENCH_EXAMPLES: &str = "\
Examples:
  gradprobe bench
  gradprobe bench -n 4096 -d 256 -k 1000 --device cpu --json timings.json";

/// Checks a gradient entry by entry against a finite difference that cannot cancel
#[derive(Parser)]
#[command(version, propagate_version = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
    /// Print each step to stderr (-vv: more detail)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Check the gradients in files
    ///
    /// Each gradient is compared, entry by entry, with a finite difference of the loss. The report
    /// gives a verdict and, for a wrong gradient, the likely cause.
    ///
    /// Exit code: 0 pass, 1 fail or inconclusive, 2 could not run, 130 interrupted.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Box<CheckArguments>),
    /// Name the files of one case whose samples lie in many
    ///
    /// The index has the files, their rows, and the divisor of the loss over all of them.
    Index(Box<IndexArguments>),
    /// Print the report on a case that was checked in parts
    ///
    /// The settings are those of the parts. Exit code: 0 pass, 1 fail or inconclusive, 2 could
    /// not run, 130 if parts are missing.
    #[command(after_help = MERGE_EXAMPLES)]
    Merge(Box<MergeArguments>),
    /// Print the error of the finite difference at every step, for two methods
    ///
    /// The table and the plot compare gradprobe's difference with the difference of two forward
    /// passes, as a loop in PyTorch computes it, and show the noise floor of the latter.
    #[command(after_help = SWEEP_EXAMPLES)]
    Sweep(Box<SweepArguments>),
    /// Show, on ten samples, how a numeric gradient check can be 90 % off at every step
    Demo,
    /// List the devices that can compute, and test each
    Devices,
    /// Time the same check on every device, and compare the results
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchArguments),
    /// Run a service that checks gradients sent over HTTP
    #[cfg(feature = "serve")]
    Serve(Box<ServeArguments>),
    /// Run a service that checks gradients sent over HTTP (not in this build)
    #[cfg(not(feature = "serve"))]
    #[command(hide = true, disable_help_flag = true)]
    Serve {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        _ignored: Vec<std::ffi::OsString>,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page in roff format
    Man,
}
