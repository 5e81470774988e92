//! From the partial of all units to the report.

use super::{Case, Partial};
use crate::{
    check::{self, Subject},
    device::Device,
    error::{Error, Result},
    report::{Check, Code, Comparison, DeviceInfo, Finding, Ranges, Report, Seconds, Verdict},
};

/// The causes that only neighbouring rows show. A sample of rows has none.
const OF_NEIGHBOURS: [Code; 2] = [Code::RowsPermuted, Code::LabelsShifted];

/// Most files that a note names.
const NAMED_FILES: usize = 3;

impl Case {
    /// Returns the report on the units of a partial. If some are missing, the report is interrupted
    /// and does not pass.
    ///
    /// # Errors
    /// Those of [`Case::run`], and [`Error::Usage`] for a partial of another case, or of no unit.
    pub fn finish(&self, partial: Partial, device: &Device) -> Result<Report> {
        if partial.case != self.id {
            let message = "the parts do not belong to this index, or were checked with other \
                           settings";
            return Err(Error::Usage(message.to_owned()));
        }
        let Some(info) = partial.problem.clone() else {
            return Err(Error::Usage("no part of the case was checked".to_owned()));
        };
        let (missing, repeated) = (partial.missing(), partial.repeated.clone());
        let is_whole = missing.is_empty() && repeated.is_empty();
        let inputs = self.open(0)?;
        let sampled = partial.kept.to_problem(&inputs.problem, self.whole)?;
        let mut comparisons = partial.comparisons;
        let mut notes: Vec<String> = partial.notes.into_iter().collect();
        if let (true, Some((problem, _))) = (missing.is_empty(), &sampled) {
            let sums = partial.sums.total().unwrap_or_default();
            for sums in sums {
                let subject = inputs.subjects.iter().find(|it| it.wrt == sums.wrt);
                let Some(subject) = subject else { continue };
                comparisons.push(sums.compare(problem, subject, &self.options, device, &mut ())?);
            }
        } else {
            let parameters = self.parameters(&inputs).into_iter();
            notes.extend(parameters.map(|it| {
                let name = it.wrt.grad_name();
                format!("{name} was not checked: it needs the sums over all rows")
            }));
        }
        notes.extend(self.gaps("were not checked", &missing));
        notes.extend(self.gaps("were checked more than once", &repeated));
        notes.extend(self.places(&comparisons));
        let is_wrong = |it: &Comparison| it.verdict() == Verdict::Fail;
        let mut diagnosed = Vec::new();
        if comparisons
            .iter()
            .any(|it| is_wrong(it) && !it.wrt.is_parameter())
            && let Some((problem, subjects)) = sampled
        {
            let wrong = |subject: &Subject| {
                let mut of_it = comparisons.iter().filter(|it| it.wrt == subject.wrt);
                of_it.any(is_wrong)
            };
            let subjects: Vec<Subject> = subjects.into_iter().filter(wrong).collect();
            notes.push(format!(
                "the cause was looked for in a sample of {} rows, which cannot show that rows or \
                 labels were moved",
                problem.n()
            ));
            diagnosed = check::check(&problem, &subjects, &self.options, device, &mut ())?.checks;
        }
        let checks = comparisons.into_iter().map(|comparison| {
            let wrt = comparison.wrt;
            let layout = if wrt.is_parameter() {
                inputs.problem.layout(wrt)
            } else {
                None
            };
            let (findings, tried) = match diagnosed.iter().find(|it| it.wrt == wrt) {
                Some(sample) => found_and_tried(sample),
                None => Default::default(),
            };
            let mut check = Check::new(comparison, layout, findings, tried);
            if !is_whole && check.verdict == Verdict::Pass {
                check.verdict = Verdict::Inconclusive;
            }
            check
        });
        let checks = checks.collect();
        Ok(Report {
            notes,
            interrupted: !is_whole,
            seconds: Seconds {
                load: 0.0,
                compute: partial.seconds,
                total: partial.seconds,
            },
            ..Report::new(device_of(&partial.devices), info, checks)
        })
    }

    /// Returns notes on units that are missing or repeated, by file.
    fn gaps(&self, what: &str, units: &Ranges) -> Vec<String> {
        let count = units.len();
        let named = units.iter().take(NAMED_FILES).map(|unit| {
            let (file, rows) = self.unit(unit);
            let (file, last) = (self.index.files[file].file.display(), rows.end - 1);
            format!("rows {} to {last} of {file} {what}", rows.start)
        });
        let mut notes: Vec<String> = named.collect();
        if count > NAMED_FILES {
            let more = count - NAMED_FILES;
            notes.push(format!("{more} more runs of rows {what}"));
        }
        notes
    }

    /// Returns notes on the files of the first wrong rows.
    fn places(&self, comparisons: &[Comparison]) -> Vec<String> {
        let of_samples = comparisons.iter().filter(|it| !it.wrt.is_parameter());
        let first = of_samples.filter_map(|it| {
            let row = it.tally.places.rows.iter().next()?;
            let files = &self.index.files;
            let file = files.iter().rfind(|file| file.offset <= row)?;
            let (name, place) = (it.wrt.grad_name(), row - file.offset);
            let file = file.file.display();
            Some(format!(
                "row {row}, the first wrong one of {name}, is row {place} of {file}"
            ))
        });
        first.collect()
    }
}

/// Returns the causes that the check of a sample found and tried, without those of neighbours.
fn found_and_tried(sample: &Check) -> (Vec<Finding>, Vec<Code>) {
    let of_sample = |code: &Code| !OF_NEIGHBOURS.contains(code);
    let findings = sample.findings.iter().filter(|it| of_sample(&it.code));
    let tried = sample.tried.iter().copied().filter(of_sample);
    (findings.cloned().collect(), tried.collect())
}

/// Returns the device that computed, or one that stands for all.
fn device_of(devices: &[DeviceInfo]) -> DeviceInfo {
    let mut device = devices[0].clone();
    if devices.len() > 1 {
        let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
        device.name = names.join(", ");
        device.note = None;
    }
    device
}
