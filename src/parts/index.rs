//! The files of a case, and the counts of a first pass over their targets.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{parse, require_schema};
use crate::{
    error::{Error, Result},
    io::{self, OutputFile, Request, Source, broken, url},
    loss::Reduction,
    problem::{Problem, Whole},
    report::ExactSum,
};

/// The name of the JSON schema of an index.
const SCHEMA: &str = "gradprobe/index/1";
/// The name of the format in messages.
const FORMAT: &str = "gradprobe.index.json";
/// Bytes of input and gradients that make a unit: enough to outweigh the cost of opening a file,
/// few enough for a cluster to share a file. Chosen.
const UNIT_BYTES: usize = 64 << 20;

/// The files of a case: `gradprobe.index.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The name of the JSON schema.
    #[serde(default = "schema")]
    pub schema: String,
    /// The file of the tensors that all files share: weight and bias, and their gradients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<PathBuf>,
    /// The most rows of a unit. It follows from the first file if it is missing.
    #[serde(default)]
    pub unit_rows: usize,
    /// The files, in the order of their rows.
    pub files: Vec<IndexedFile>,
    /// The result of the first pass, if there was one. It holds for the settings of that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Whole>,
    /// The place of the files in a larger index, if this is an extract of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract: Option<Extract>,
}

/// The place of an extract in the whole index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extract {
    /// The number of the first unit of the first file.
    pub first_unit: usize,
    /// Files of the whole index.
    pub files: usize,
    /// Units of the whole index.
    pub units: usize,
}

/// A file of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexedFile {
    /// The file. In JSON it is relative to the folder of the index.
    pub file: PathBuf,
    /// The number of its rows.
    pub rows: usize,
    /// The number of rows in the files before it.
    #[serde(default)]
    pub offset: usize,
}

fn schema() -> String {
    SCHEMA.to_owned()
}

/// The counts of a pass over targets. Summaries merge in any order to the same one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Samples.
    pub rows: usize,
    /// Samples that are not ignored.
    pub counted: usize,
    /// The sum of their class weights, or of the probabilities.
    pub weights: ExactSum,
}

impl Summary {
    /// Counts the targets of a problem.
    pub fn of(problem: &Problem) -> Self {
        let (rows, counted) = problem.valid_samples();
        let mut weights = ExactSum::default();
        weights.add(problem.mean_normalizer());
        Self {
            rows,
            counted,
            weights,
        }
    }

    /// Returns the summary of both.
    pub fn merge(mut self, other: &Self) -> Self {
        self.rows += other.rows;
        self.counted += other.counted;
        self.weights.merge(&other.weights);
        self
    }

    /// Returns the whole for the loss of a problem.
    ///
    /// # Errors
    /// [`Error::Setting`] if the mean has no sample to average over.
    fn whole(&self, problem: &Problem) -> Result<Whole> {
        let loss = problem.loss();
        let normalizer = match (loss.normalizer, loss.reduction) {
            (Some(normalizer), _) => normalizer,
            (None, Reduction::Sum) => 1.0,
            (None, Reduction::Mean) => self.weights.value(),
        };
        if normalizer > 0.0 {
            return Ok(Whole {
                rows: self.rows,
                counted: self.counted,
                normalizer,
            });
        }
        Err(Error::Setting {
            name: "the number of samples that count",
            found: "0".to_owned(),
            expected: "the mean needs at least one in all files".to_owned(),
        })
    }
}

impl Index {
    /// Names files in this order, before the first pass. Without a shared file, the only one that
    /// holds no target is taken.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] for a file that cannot be read, and [`Error::Usage`] if
    /// there is none.
    pub fn of_files(files: Vec<PathBuf>, shared: Option<PathBuf>) -> Result<Self> {
        if files.is_empty() {
            return Err(Error::Usage("an index needs at least one file".to_owned()));
        }
        let files = files.into_iter().map(|file| IndexedFile {
            file,
            rows: 0,
            offset: 0,
        });
        let mut index = Self {
            schema: schema(),
            shared,
            unit_rows: 0,
            files: files.collect(),
            summary: None,
            extract: None,
        };
        if index.shared.is_none() {
            index.shared = index.take_shared()?;
        }
        Ok(index)
    }

    /// Reads an index from a file. Paths are relative to its folder.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = io::read_text(path)?;
        let mut index = Self::from_json(&text, path)?;
        let beside = |file: &mut PathBuf| *file = url::beside(path, file);
        index.paths().for_each(beside);
        Ok(index)
    }

    /// Writes the index to a file, with paths relative to its folder where the files lie below it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut index = self.clone();
        index
            .paths()
            .for_each(|path| *path = relative(path, folder));
        let text = serde_json::to_string_pretty(&index).expect("an index is JSON");
        let mut output = OutputFile::create(path)?;
        output.write(text.as_bytes())?;
        output.write(b"\n")?;
        output.finish()
    }

    /// Removes the only file that holds no target, and returns it.
    fn take_shared(&mut self) -> Result<Option<PathBuf>> {
        let lacks_target = |file: &IndexedFile| {
            let names = io::names(&Source::File(file.file.clone()))?;
            Ok(!names.iter().any(|name| name == "target"))
        };
        let lacking = self.files.par_iter().map(lacks_target);
        let lacking = lacking.collect::<Result<Vec<bool>>>()?;
        let mut places = (0..lacking.len()).filter(|&place| lacking[place]);
        match (places.next(), places.next()) {
            (Some(place), None) if lacking.len() > 1 => Ok(Some(self.files.remove(place).file)),
            _ => Ok(None),
        }
    }

    /// Reads an index from JSON, with paths as they are. `path` names it in messages.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn from_json(text: &str, path: &Path) -> Result<Self> {
        let mut index: Self = parse(text, path, FORMAT)?;
        require_schema(&index.schema, SCHEMA, path, FORMAT)?;
        if index.files.is_empty() {
            return Err(broken(path, FORMAT, "it names no file"));
        }
        if index.extract.is_none() {
            index.number();
        }
        Ok(index)
    }

    /// Returns the index as JSON, with paths as they are.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an index is JSON")
    }

    /// Returns the index with full paths.
    pub fn absolute(mut self) -> Self {
        self.paths().for_each(|path| *path = absolute(path));
        self
    }

    /// Iterates over the paths of all files.
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let files = self.files.iter_mut().map(|file| &mut file.file);
        files.chain(&mut self.shared)
    }

    /// Opens the shared file, if there is one.
    ///
    /// # Errors
    /// Those of [`Source::opened`].
    pub(super) fn open_shared(&self, request: &Request) -> Result<Option<Source>> {
        let shared = self.shared.clone().map(Source::File);
        shared.map(|file| file.opened(request.memory)).transpose()
    }

    /// Returns the source of a file's tensors, with those of the shared file.
    pub(super) fn source(&self, file: usize, shared: Option<&Source>) -> Source {
        let file = Source::File(self.files[file].file.clone());
        match shared {
            Some(shared) => Source::Shared(Box::new(file), Box::new(shared.clone())),
            None => file,
        }
    }

    /// Counts the rows and targets of all files: the first pass.
    ///
    /// # Errors
    /// Those of [`io::load`] for any file.
    pub fn summarize(&mut self, request: &Request) -> Result<Whole> {
        let shared = self.open_shared(request)?;
        let read = |file: usize| {
            let source = self.source(file, shared.as_ref());
            let inputs = io::load(&source, &targets_only(request))?;
            Ok((Summary::of(&inputs.problem), inputs))
        };
        let (first, inputs) = read(0)?;
        let others = (1..self.files.len()).into_par_iter();
        let others = others.map(|file| read(file).map(|(summary, _)| summary));
        let others = others.collect::<Result<Vec<Summary>>>()?;
        let summaries = std::iter::once(first).chain(others);
        let mut all = Summary::default();
        for (file, summary) in self.files.iter_mut().zip(summaries) {
            if file.rows != 0 && file.rows != summary.rows {
                let reason = format!(
                    "the index gives {} rows; it has {}",
                    file.rows, summary.rows
                );
                return Err(broken(&file.file, "indexed", reason));
            }
            file.rows = summary.rows;
            all = all.merge(&summary);
        }
        if self.unit_rows == 0 {
            let row = inputs.problem.samples().nbytes() / inputs.problem.n().max(1);
            let rows = UNIT_BYTES / (2 * row).max(1);
            self.unit_rows = (rows + 1).next_power_of_two() / 2;
            self.unit_rows = self.unit_rows.max(1);
        }
        self.number();
        let whole = all.whole(&inputs.problem)?;
        self.summary = Some(whole);
        Ok(whole)
    }

    /// Numbers the rows of the files.
    fn number(&mut self) {
        let mut offset = 0;
        for file in &mut self.files {
            file.offset = offset;
            offset += file.rows;
        }
    }
}

/// Returns the path from a folder to a file below it, or the file's full path.
fn relative(file: &Path, folder: &Path) -> PathBuf {
    let below = file.strip_prefix(folder).map(Path::to_owned);
    below.unwrap_or_else(|_| absolute(file))
}

/// Returns the full path of a file, or an address as it is.
fn absolute(file: &Path) -> PathBuf {
    if url::is_url(file) {
        return file.to_owned();
    }
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

/// Returns a request for a file of a case that reads no rows of the input.
pub(super) fn targets_only(request: &Request) -> Request {
    Request {
        rows: Some(0..0),
        is_part: true,
        ..request.clone()
    }
}
