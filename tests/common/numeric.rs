//! The numeric gradient of a problem, as a check hands it out.

use gradprobe::{
    check::{self, Listener, Options, Subject},
    engine::Device,
    error::Result,
    problem::{Problem, Wrt},
};

struct Collector(Vec<f64>);

impl Listener for Collector {
    fn wants_numeric(&self) -> bool {
        true
    }

    fn numeric(&mut self, rows: &[f64]) -> Result<()> {
        self.0.extend(rows);
        Ok(())
    }
}

/// Runs a check of the built-in backward pass and keeps the numeric gradient.
pub(crate) fn numeric(problem: &Problem, wrt: Wrt, options: &Options, device: &Device) -> Vec<f64> {
    let mut collector = Collector(Vec::new());
    check::check(
        problem,
        &[Subject {
            wrt,
            gradient: None,
        }],
        options,
        device,
        &mut collector,
    )
    .unwrap();
    collector.0
}
