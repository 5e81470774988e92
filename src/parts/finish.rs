//! From the partial of all units to the report.

use super::{Case, Partial};
use crate::{
    check::{self, Options, Subject},
    device::Device,
    error::{Error, Result},
    problem::{Problem, Wrt},
    report::{Check, Code, Comparison, DeviceInfo, Finding, Report, Seconds, Verdict},
};

/// The causes that only neighbouring rows show. A sample of rows has none.
const OF_NEIGHBOURS: [Code; 2] = [Code::RowsPermuted, Code::LabelsShifted];

/// Most files that a note names.
const NAMED_FILES: usize = 3;

/// The causes that were found and tried.
type Diagnosed = (Wrt, Vec<Finding>, Vec<Code>);

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
        let mut comparisons = partial.comparisons;
        let mut notes: Vec<String> = partial.notes.into_iter().collect();
        if missing.is_empty() {
            let sums = partial.sums.total().unwrap_or_default();
            for sums in sums {
                let subject = inputs.subjects.iter().find(|it| it.wrt == sums.wrt);
                let Some(subject) = subject else { continue };
                let options = self.plain_options();
                let problem = &inputs.problem;
                comparisons.push(sums.compare(problem, subject, &options, device, &mut ())?);
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
        let mut diagnoses = Vec::new();
        if comparisons
            .iter()
            .any(|it| is_wrong(it) && !it.wrt.is_parameter())
            && let Some((problem, subjects)) =
                partial.kept.to_problem(&inputs.problem, self.whole)?
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
            diagnoses = self.diagnose(&problem, &subjects, device)?;
        }
        let checks = comparisons.into_iter().map(|comparison| {
            let wrt = comparison.wrt;
            let layout = if wrt.is_parameter() {
                inputs.problem.layout(wrt)
            } else {
                None
            };
            let at = diagnoses.iter().position(|(of, ..)| *of == wrt);
            let (findings, tried) = match at {
                Some(at) => {
                    let (_, findings, tried) = diagnoses.remove(at);
                    (findings, tried)
                }
                None => (Vec::new(), Vec::new()),
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

    /// Returns the options without a selection of rows or a picture.
    fn plain_options(&self) -> Options {
        Options {
            rows: None,
            sample: None,
            picture: false,
            ..self.options.clone()
        }
    }

    /// Looks for the causes of wrong gradients in a sample of the rows.
    fn diagnose(
        &self,
        problem: &Problem,
        subjects: &[Subject],
        device: &Device,
    ) -> Result<Vec<Diagnosed>> {
        let options = self.plain_options();
        let report = check::check(problem, subjects, &options, device, &mut ())?;
        let of_check = |check: Check| {
            let findings = check.findings.into_iter();
            let findings = findings.filter(|it| !OF_NEIGHBOURS.contains(&it.code));
            let tried = check.tried.into_iter();
            let tried = tried.filter(|code| !OF_NEIGHBOURS.contains(code));
            (check.wrt, findings.collect(), tried.collect())
        };
        Ok(report.checks.into_iter().map(of_check).collect())
    }

    /// Returns notes on units that are missing or repeated, by file.
    fn gaps(&self, what: &str, units: &crate::report::Ranges) -> Vec<String> {
        let count = units.len();
        let named = units.iter().take(NAMED_FILES).map(|unit| {
            let (file, rows) = self.place_of(unit);
            let last = rows.end - 1;
            format!("rows {} to {last} of {file} {what}", rows.start)
        });
        let mut notes: Vec<String> = named.collect();
        if count > NAMED_FILES {
            let more = count - NAMED_FILES;
            notes.push(format!("{more} more runs of rows {what}"));
        }
        notes
    }

    /// Returns the name of a unit's file and its rows there.
    fn place_of(&self, unit: usize) -> (String, std::ops::Range<usize>) {
        let (file, rows) = self.unit(unit);
        (self.index.files[file].file.display().to_string(), rows)
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
