//! The check of several files, `--jobs` at a time.

use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use super::{arguments::name, command::CheckCommand};
use crate::{
    cli::{
        interrupts::{INTERRUPTED, Interrupts},
        outputs::Outputs,
        remote::Remote,
    },
    device::Device,
    error::{Error, Result},
    io::{Content, Source},
    output::Run,
};

/// The place where a thread's files are checked. A device serves one thread.
enum Place<'a> {
    Local(Result<Device>),
    Remote(&'a Remote),
}

/// The result of one file, and the error if its failures could not be saved.
type Checked = (Run, Result<()>);

impl CheckCommand {
    /// Checks all files, and prints a line on each as soon as it and those before it are done.
    ///
    /// # Errors
    /// [`Error::Usage`] with `--numeric`, and any error that keeps a result from being written. A
    /// file that cannot be checked is part of the report.
    pub(super) fn run_several(&self, sources: &[Source], remote: Option<&Remote>) -> Result<u8> {
        if self.arguments.numeric.is_some() {
            return Err(Error::Usage(format!(
                "--numeric takes one gradient, but {} files are checked; name one",
                sources.len()
            )));
        }
        let outputs = Outputs::open(&self.arguments.output)?;
        if remote.is_some() && self.arguments.output.html.is_some() {
            tracing::warn!("the HTML page has no plots if a service checks several files");
        }
        let interrupts = Interrupts::listen();
        let next = AtomicUsize::new(0);
        let mut runs: Vec<Run> = Vec::new();
        let mut saved = Ok(());
        std::thread::scope(|scope| -> Result<()> {
            let (send, arrived) = mpsc::channel();
            for _ in 0..self.arguments.jobs.min(sources.len()) {
                let (send, next, interrupts) = (send.clone(), &next, &interrupts);
                scope.spawn(move || self.work(sources, next, remote, interrupts, &send));
            }
            // With this sender gone, the channel ends when the last thread does.
            drop(send);
            let mut early: BTreeMap<usize, Run> = BTreeMap::new();
            for (index, (run, saving)) in arrived {
                early.insert(index, run);
                saved = std::mem::replace(&mut saved, Ok(())).and(saving);
                while let Some(run) = early.remove(&runs.len()) {
                    outputs.print_line(&run)?;
                    runs.push(run);
                }
            }
            Ok(())
        })?;
        let code = self.exit_code(&runs);
        outputs.deliver(&runs)?;
        saved?;
        if runs.len() < sources.len() {
            Ok(INTERRUPTED)
        } else {
            Ok(code)
        }
    }

    /// Takes one file after the other and sends its index and result, until none is left or the
    /// program is interrupted.
    fn work(
        &self,
        sources: &[Source],
        next: &AtomicUsize,
        remote: Option<&Remote>,
        interrupts: &Interrupts,
        send: &mpsc::Sender<(usize, Checked)>,
    ) {
        let place = match remote {
            Some(remote) => Place::Remote(remote),
            None => Place::Local(self.arguments.device()),
        };
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(source) = sources.get(index) else {
                return;
            };
            let checked = match &place {
                Place::Local(device) => Some(self.check_local(source, device.as_ref(), interrupts)),
                Place::Remote(remote) => self.check_remote(source, remote, interrupts),
            };
            // No result means that the check was interrupted; no receiver means that stdout failed.
            let Some(checked) = checked else { return };
            if send.send((index, checked)).is_err() {
                return;
            }
        }
    }

    /// Checks one of several files at a service. Returns `None` if interrupted.
    fn check_remote(
        &self,
        source: &Source,
        remote: &Remote,
        interrupts: &Interrupts,
    ) -> Option<Checked> {
        let checked = remote.check(&name(source), interrupts, &mut |_, _| {});
        let run = checked.unwrap_or_else(|error| Some(Run::failed(name(source), error)));
        let mut run = run?;
        if let Ok(report) = &mut run.outcome {
            report.command = Some(self.repeat_for(source));
        }
        Some((run, Ok(())))
    }

    /// Checks one of several files on this machine.
    fn check_local(
        &self,
        source: &Source,
        device: std::result::Result<&Device, &Error>,
        interrupts: &Interrupts,
    ) -> Checked {
        let checked = || -> Result<Checked> {
            let case = self.arguments.load(source)?;
            let again;
            let device = match (&case.content, device) {
                (Content::Layer(_), Ok(device)) => device,
                // Errors cannot be cloned, so each file opens the device itself and reports its own
                // error.
                _ => {
                    again = case.device(|| self.arguments.device())?;
                    &again
                }
            };
            let mut interrupts = interrupts.clone();
            let mut report = case.check(&self.arguments.options(), device, &mut interrupts)?;
            report.command = Some(self.repeat_for(source));
            let run = self.arguments.to_run(source, &case, report)?;
            let saved = self.save_failures(&case, &run, device);
            Ok((run, saved))
        };
        checked().unwrap_or_else(|error| (Run::failed(name(source), error), Ok(())))
    }
}
