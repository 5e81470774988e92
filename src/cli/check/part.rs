//! The flags of `gradprobe check` on a case in many files.

use std::path::PathBuf;

use clap::Args;

/// The heading of these flags in the help.
const HEADING: &str = "One case in many files";

/// The flags on a case in many files.
#[derive(Args)]
pub(in crate::cli) struct PartArguments {
    /// Check the files of an index as one case
    ///
    /// The loss is then taken over the samples of all files. gradprobe index writes the file; a
    /// folder or a quoted pattern does too.
    #[arg(long, help_heading = HEADING, value_name = "FILE.json", conflicts_with = "files")]
    pub(super) index: Option<PathBuf>,
    /// Check part P of N, and write the result for gradprobe merge
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "P/N",
        requires_all = ["index", "out"],
        value_parser = part
    )]
    pub(super) part: Option<(usize, usize)>,
    /// File for the result of the part
    #[arg(long, help_heading = HEADING, value_name = "FILE.json", requires = "part")]
    pub(super) out: Option<PathBuf>,
}

/// Parses the number of a part and the number of parts.
fn part(text: &str) -> std::result::Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(part, of)| {
        let (part, of) = (part.parse().ok()?, of.parse().ok()?);
        (part >= 1 && part <= of).then_some((part, of))
    });
    numbers.ok_or_else(|| "it must be P/N with 1 <= P <= N, such as 3/8".to_owned())
}
