//! A case in many files, and the check of some of its units.

use std::{collections::BTreeSet, ops::Range, time::Instant};

use super::{
    Extract, Index, Partial,
    index::targets_only,
    kept::KeptRows,
    partial::{self, CaseId},
    sums::SumTree,
};
use crate::{
    check::{self, Listener, Options, Subject},
    device::Device,
    error::{Error, Result},
    io::{self, Inputs, Request, Source},
    problem::Whole,
    report::{Comparison, Coverage, Ranges},
};

/// Entries of a parameter's gradient whose sums a partial may hold. Chosen: 90 MB of JSON.
const MOST_SUMS: usize = 1 << 20;

/// A case in many files, and the way to check it.
#[derive(Clone, Debug)]
pub struct Case {
    pub(super) index: Index,
    /// The file of the tensors that all files share.
    shared: Option<Source>,
    pub(super) request: Request,
    pub(super) options: Options,
    pub(super) whole: Whole,
    pub(super) id: CaseId,
    units: Vec<Unit>,
    /// The number of the first unit: 0, unless the index is an extract.
    first: usize,
    /// The settings by name, for partials to carry.
    settings: Vec<(String, String)>,
}

/// Rows that are always checked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The file, by its place in the index.
    pub file: usize,
    /// The rows of the file.
    pub rows: Range<usize>,
}

/// A listener of one unit. The progress is that of all units.
struct Quiet<'a>(&'a mut dyn Listener);

impl Listener for Quiet<'_> {
    fn is_interrupted(&self) -> bool {
        self.0.is_interrupted()
    }
}

impl Case {
    /// Prepares a case. Makes the first pass over the targets, unless the index has a summary and
    /// the request changes none of the settings that it depends on.
    ///
    /// # Errors
    /// Those of the first pass, and [`Error::Setting`] for options that select rows.
    pub fn new(mut index: Index, request: Request, mut options: Options) -> Result<Self> {
        if options.rows.is_some() || options.sample.is_some() {
            return Err(Error::Usage(
                "--rows and --sample select rows of one file, and an index has several".to_owned(),
            ));
        }
        // A picture of parts cannot be merged.
        options.picture = false;
        let changes = request.reduction.is_some()
            || request.ignore_index.is_some()
            || request.normalizer.is_some();
        let whole = match index.summary {
            Some(whole) if !changes && index.unit_rows > 0 => whole,
            Some(whole) if index.extract.is_some() => whole,
            _ => index.summarize(&request)?,
        };
        let unit_rows = index.unit_rows.max(1);
        let units = index.files.iter().enumerate().flat_map(|(file, indexed)| {
            let starts = (0..indexed.rows).step_by(unit_rows);
            starts.map(move |start| Unit {
                file,
                rows: start..indexed.rows.min(start + unit_rows),
            })
        });
        let units: Vec<Unit> = units.collect();
        let extract = index.extract.unwrap_or(Extract {
            first_unit: 0,
            files: index.files.len(),
            units: units.len(),
        });
        let id = CaseId {
            files: extract.files,
            rows: whole.rows,
            units: extract.units,
            normalizer: whole.normalizer,
            settings: partial::settings(&request, &options),
        };
        Ok(Self {
            shared: index.open_shared(&request)?,
            index,
            request,
            options,
            whole,
            id,
            units,
            first: extract.first_unit,
            settings: Vec::new(),
        })
    }

    /// Returns the case with its settings by name. Its partials carry them.
    pub fn with_settings(self, settings: Vec<(String, String)>) -> Self {
        Self { settings, ..self }
    }

    /// Returns the number of units.
    pub fn units(&self) -> usize {
        self.id.units
    }

    /// Returns the index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Returns an index of the files of some units alone, for a machine that checks these.
    pub fn extract(&self, units: Range<usize>) -> Index {
        let files = self.units[units.start - self.first..units.end - self.first].iter();
        let files: BTreeSet<usize> = files.map(|unit| unit.file).collect();
        let first = files.first().copied().unwrap_or(0);
        let first_unit = self.units.iter().position(|unit| unit.file == first);
        Index {
            files: files
                .iter()
                .map(|&file| self.index.files[file].clone())
                .collect(),
            summary: Some(self.whole),
            extract: Some(Extract {
                first_unit: self.first + first_unit.unwrap_or(0),
                files: self.id.files,
                units: self.id.units,
            }),
            ..self.index.clone()
        }
    }

    /// Returns the number of rows in all files.
    pub fn rows(&self) -> usize {
        self.whole.rows
    }

    /// Returns the rows of a unit in the whole case.
    pub fn rows_of(&self, unit: usize) -> Range<usize> {
        let Unit { file, rows } = &self.units[unit - self.first];
        let offset = self.index.files[*file].offset;
        offset + rows.start..offset + rows.end
    }

    /// Returns the file of a unit, by its place in the index, and its rows there.
    pub(super) fn unit(&self, unit: usize) -> (usize, Range<usize>) {
        let Unit { file, rows } = &self.units[unit - self.first];
        (*file, rows.clone())
    }

    /// Returns the units of part `part` of `of`, counted from 1: as many as the others have, or one
    /// more.
    pub fn part(&self, part: usize, of: usize) -> Range<usize> {
        let at = |part: usize| part * self.id.units / of;
        at(part - 1)..at(part)
    }

    /// Checks some units. If the listener interrupts, returns those that are done.
    ///
    /// # Errors
    /// Those of [`io::load`] and [`check::check`].
    pub fn run(
        &self,
        units: Range<usize>,
        device: &Device,
        listener: &mut dyn Listener,
    ) -> Result<Partial> {
        let started = Instant::now();
        let mut partial = Partial::new(self.id.clone());
        let mut opened: Option<(usize, Inputs)> = None;
        let all: usize = units.clone().map(|unit| self.rows_of(unit).len()).sum();
        for unit in units {
            if listener.is_interrupted() {
                break;
            }
            let (file, rows) = self.unit(unit);
            let inputs = match opened.take() {
                Some((last, inputs)) if last == file => inputs,
                _ => self.open(file)?,
            };
            inputs.fetch(&rows)?;
            inputs.problem.require_finite(rows)?;
            let mut quiet = Quiet(listener);
            match self.check_unit(unit, &inputs, device, &mut quiet)? {
                Some(checked) => partial = partial.merge(checked)?,
                None => break,
            }
            let entries = partial.comparisons.iter().map(|it| it.tally.counts.entries);
            let (entries, rows) = (entries.sum::<u64>(), partial.rows.len());
            listener.progress(entries, entries * all as u64 / rows as u64);
            opened = Some((file, inputs));
        }
        partial.settings.clone_from(&self.settings);
        partial.seconds = started.elapsed().as_secs_f64();
        Ok(partial)
    }

    /// Opens a file as a part of the whole.
    pub(super) fn open(&self, file: usize) -> Result<Inputs> {
        let source = self.index.source(file, self.shared.as_ref());
        let mut inputs = io::load(&source, &targets_only(&self.request))?;
        inputs.problem = inputs.problem.of_whole(self.whole);
        Ok(inputs)
    }

    /// Returns the gradients of parameters that are sums over the samples of all files: those of
    /// the shared file, or of the only one.
    pub(super) fn parameters<'a>(&self, inputs: &'a Inputs) -> Vec<&'a Subject> {
        let is_summed = self.index.shared.is_some() || self.id.files == 1;
        let subjects = inputs.subjects.iter();
        let parameters = subjects.filter(|it| it.wrt.is_parameter() && is_summed);
        let problem = &inputs.problem;
        let is_small = |it: &&Subject| problem.k() * problem.columns(it.wrt) <= MOST_SUMS;
        parameters.filter(is_small).collect()
    }

    fn check_unit(
        &self,
        unit: usize,
        inputs: &Inputs,
        device: &Device,
        listener: &mut dyn Listener,
    ) -> Result<Option<Partial>> {
        let problem = &inputs.problem;
        let (rows, here) = (self.rows_of(unit), self.unit(unit).1);
        let subjects = inputs.subjects.iter().filter(|it| !it.wrt.is_parameter());
        let subjects: Vec<Subject> = subjects.cloned().collect();
        let options = Options {
            rows: Some(here.clone()),
            ..self.options.clone()
        };
        let compared = check::compare_part(problem, &subjects, &options, device, listener)?;
        let Some(comparisons) = compared else {
            return Ok(None);
        };
        let first = rows.start - here.start;
        let placed = |mut comparison: Comparison| {
            comparison.tally.number_rows(|row| first + row);
            comparison.coverage = Coverage::new(Ranges::from(rows.clone()), self.whole.rows);
            comparison
        };
        let kept = KeptRows::choose(problem, &subjects, &comparisons, here.clone(), first);
        let slice = problem.slice(here);
        let mut sums = Vec::new();
        let parameters = self.parameters(inputs);
        for subject in &parameters {
            let of_unit = check::Sums::new(&slice, subject, &self.options, device, listener)?;
            let Some(of_unit) = of_unit else {
                return Ok(None);
            };
            sums.push(of_unit);
        }
        let mut notes: BTreeSet<String> = inputs.notes.iter().cloned().collect();
        let unsummed = inputs.subjects.iter().filter(|it| it.wrt.is_parameter());
        let unsummed = unsummed.filter(|it| parameters.iter().all(|summed| summed.wrt != it.wrt));
        notes.extend(unsummed.map(|subject| self.unsummed(subject, inputs)));
        let mut info = check::info(problem);
        info.n = self.whole.rows;
        Ok(Some(Partial {
            units: Ranges::from(unit..unit + 1),
            rows: Ranges::from(rows.clone()),
            problem: Some(info),
            devices: vec![device.info()],
            notes,
            comparisons: comparisons.into_iter().map(placed).collect(),
            sums: SumTree::leaf(unit, sums),
            kept,
            ..Partial::new(self.id.clone())
        }))
    }

    /// Returns a note on a gradient that is not checked in parts.
    fn unsummed(&self, subject: &Subject, inputs: &Inputs) -> String {
        let name = subject.wrt.grad_name();
        let entries = inputs.problem.k() * inputs.problem.columns(subject.wrt);
        if entries > MOST_SUMS {
            return format!(
                "{name} was not checked: its {entries} entries are too many to be summed in parts"
            );
        }
        format!(
            "{name} was not checked: it is a sum over the rows of all files; put it in the shared \
             file"
        )
    }
}
