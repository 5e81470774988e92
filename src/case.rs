//! A case: what a file holds to check, a problem of one layer or a network.

use std::time::Instant;

use crate::{
    check::{self, Listener, Options, Subject},
    device::Device,
    error::Result,
    io::{self, Content, Inputs, Request, Source},
    network::Tested,
    problem::{Layout, Problem},
    report::{Check, Report},
    sweep::{self, Sweep},
    tensor::Tensor,
};

/// A case, as read from a file.
#[derive(Debug)]
pub struct Case {
    /// The problem or the network, and the gradients to check.
    pub content: Content,
    /// The time to read it.
    pub seconds: f64,
}

impl Case {
    /// Reads a case.
    ///
    /// The gradient of a parameter is a sum over all samples, so it cannot be checked on some of
    /// them. If the options select rows, it is skipped, with a note, unless the request names it or
    /// the file holds no other gradient.
    ///
    /// # Errors
    /// Those of [`io::read`].
    pub fn load(source: &Source, request: &Request, options: &Options) -> Result<Self> {
        let started = Instant::now();
        let mut content = io::read(source, request)?;
        if let Content::Layer(inputs) = &mut content
            && request.wrt.is_empty()
        {
            leave_out_parameters(inputs, options);
        }
        Ok(Self {
            content,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Returns the problem of one layer, or `None` for a network.
    pub fn layer(&self) -> Option<&Inputs> {
        match &self.content {
            Content::Layer(inputs) => Some(inputs),
            Content::Network(_) => None,
        }
    }

    /// Returns the device that checks the case. A network takes the CPU.
    ///
    /// # Errors
    /// Those of `select`.
    pub fn device(&self, select: impl FnOnce() -> Result<Device>) -> Result<Device> {
        match self.content {
            Content::Layer(_) => select(),
            Content::Network(_) => Ok(Device::Cpu { note: None }),
        }
    }

    /// Validates the gradients and the options, before anything is computed.
    ///
    /// # Errors
    /// Those of [`check::validate`] and [`check::validate_network`].
    pub fn validate(&self, options: &Options) -> Result<()> {
        match &self.content {
            Content::Layer(inputs) => check::validate(&inputs.problem, &inputs.subjects, options),
            Content::Network(network) => check::validate_network(network, options),
        }
    }

    /// Returns the approximate peak memory of a check, in bytes.
    pub fn memory(&self, options: &Options) -> u64 {
        match &self.content {
            Content::Layer(inputs) => check::memory(&inputs.problem, &inputs.subjects, options),
            Content::Network(network) => network.memory(),
        }
    }

    /// Returns the approximate multiply-adds of a check.
    pub fn work(&self, options: &Options) -> f64 {
        match &self.content {
            Content::Layer(Inputs {
                problem, subjects, ..
            }) => {
                let of = |it: &Subject| options.derivative(it.wrt).work(problem) as f64;
                problem.n() as f64 * subjects.iter().map(of).sum::<f64>()
            }
            Content::Network(network) => network.work(),
        }
    }

    /// Returns the number of entries to check.
    pub fn entries(&self) -> usize {
        let gradients = self.gradients().into_iter();
        gradients.map(|it| it.shape.iter().product::<usize>()).sum()
    }

    /// Returns the gradients to check.
    pub fn gradients(&self) -> Vec<Gradient<'_>> {
        match &self.content {
            Content::Layer(inputs) => {
                let of = |subject| Gradient::of_layer(&inputs.problem, subject);
                inputs.subjects.iter().map(of).collect()
            }
            Content::Network(network) => network
                .tested()
                .into_iter()
                .map(Gradient::of_network)
                .collect(),
        }
    }

    /// Checks the case.
    ///
    /// # Errors
    /// Those of [`check::check`] and [`check::network`].
    pub fn check(
        &self,
        options: &Options,
        device: &Device,
        listener: &mut dyn Listener,
    ) -> Result<Report> {
        let mut report = match &self.content {
            Content::Layer(Inputs {
                problem,
                subjects,
                notes,
            }) => {
                let mut report = check::check(problem, subjects, options, device, listener)?;
                report.notes.clone_from(notes);
                report
            }
            Content::Network(network) => check::network(network, options, listener)?,
        };
        report.seconds.load = self.seconds;
        report.seconds.total += self.seconds;
        Ok(report)
    }

    /// Sweeps over the step sizes for each check of a report, for the HTML page. An element is
    /// `None` if the check did not cover all rows, or if [`sweep::glance`] returns `None`.
    ///
    /// # Errors
    /// Those of [`sweep::glance`].
    pub fn sweeps(&self, options: &Options, report: &Report) -> Result<Vec<Option<Sweep>>> {
        let is_whole = options.rows.is_none() && options.sample.is_none() && !report.interrupted;
        let Some(inputs) = self.layer().filter(|_| is_whole) else {
            return Ok(Vec::new());
        };
        let of_check = |check: &Check| {
            let mut subjects = inputs.subjects.iter();
            match subjects.find(|subject| subject.wrt == check.wrt) {
                Some(subject) => sweep::glance(&inputs.problem, subject),
                None => Ok(None),
            }
        };
        report.checks.iter().map(of_check).collect()
    }
}

/// A gradient to check.
pub struct Gradient<'a> {
    /// Its name in the file.
    pub name: &'a str,
    /// Its shape: [rows, m] for that of a layer, as in the file for that of a network.
    pub shape: Vec<usize>,
    /// Its axes in the file, if they are others.
    pub layout: Option<&'a Layout>,
    /// The gradient. `None` checks gradprobe's own.
    pub tensor: Option<&'a Tensor>,
}

impl<'a> Gradient<'a> {
    fn of_layer(problem: &'a Problem, subject: &'a Subject) -> Self {
        Self {
            name: subject.wrt.grad_name(),
            shape: problem.gradient_shape(subject.wrt).to_vec(),
            layout: problem.layout(subject.wrt),
            tensor: subject.gradient.as_ref(),
        }
    }

    fn of_network(tested: &'a Tested) -> Self {
        Self {
            name: &tested.name,
            shape: tested.tensor.shape().to_vec(),
            layout: None,
            tensor: Some(&tested.tensor),
        }
    }
}

fn leave_out_parameters(inputs: &mut Inputs, options: &Options) {
    let flag = match (&options.rows, options.sample) {
        (Some(_), _) => "--rows",
        (None, Some(_)) => "--sample",
        (None, None) => return,
    };
    let is_parameter = |subject: &Subject| subject.wrt.is_parameter();
    if inputs.subjects.iter().all(is_parameter) {
        return;
    }
    for subject in inputs.subjects.iter().filter(|it| is_parameter(it)) {
        let name = subject.wrt.grad_name();
        inputs.notes.push(format!(
            "{name} is not checked: it is a sum over all samples, \
             and {flag} selects some of them"
        ));
    }
    inputs.subjects.retain(|subject| !is_parameter(subject));
}
