//! The numeric gradient of a problem.

use gradprobe::{
    check::{self, Options, Subject},
    device::Device,
    problem::{Problem, Wrt},
};

/// Returns the numeric gradient from a check of the built-in backward pass.
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
