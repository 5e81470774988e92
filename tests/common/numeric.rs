//! The numeric gradient of a problem, as a check hands it out.

use gradprobe::{
    check::{self, Options, Subject},
    device::Device,
    problem::{Problem, Wrt},
};

/// Runs a check of the built-in backward pass and keeps the numeric gradient.
pub(crate) fn numeric(problem: &Problem, wrt: Wrt, options: &Options, device: &Device) -> Vec<f64> {
    let mut numeric = Vec::new();
    check::check(
        problem,
        &[Subject {
            wrt,
            gradient: None,
        }],
        options,
        device,
        &mut numeric,
    )
    .unwrap();
    numeric
}
