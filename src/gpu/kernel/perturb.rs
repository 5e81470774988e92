//! shaders/perturb.wgsl: copies of samples, each with one entry moved by the step.

use super::{
    Binding, Constant, Kernel, Launch, Outcome, groups_of_entries,
    operand::{Disagreement, Operand, each, first_disagreement},
    params::params,
    reads,
    sample::{Sample, Sampler},
    writes,
};
use crate::{cpu, scheme::Precision};

const BINDINGS: [Binding; 2] = [reads("base"), writes("copies")];

/// The kernel's row in the table.
pub static KERNEL: Kernel = Kernel {
    name: "perturb",
    shared: &[],
    wgsl: include_str!("../../../shaders/perturb.wgsl"),
    bindings: &BINDINGS,
    samples,
};

params! {
    /// Makes a copy for each of `rows` entries.
    Perturb {
        /// The step.
        step: f64,
        /// The number of copies.
        rows: u32,
        /// The number of columns, m.
        columns: u32,
        /// The entry of the first copy.
        first: u32,
    }
}

impl Launch for Perturb {
    fn kernel(&self) -> &'static Kernel {
        &KERNEL
    }

    fn workgroups(&self, _constants: &[Constant]) -> usize {
        groups_of_entries(self.rows as usize * self.columns as usize)
    }

    fn twin(&self, precision: Precision, operands: &mut [Operand]) {
        let [base, copies] = each(operands);
        let m = self.columns as usize;
        let step = precision.round(self.step);
        let samples = base.numbers().chunks_exact(m);
        let all = samples.flat_map(|sample| cpu::perturb::perturb(sample, step, 0..m));
        // The sum of two f32 values that is rounded to f64 and then to f32 is the f32 sum: 53 bits
        // are at least 2·24 + 2 (Figueroa, "When is double rounding innocuous?", 1995).
        let all = all
            .skip(self.first as usize * m)
            .map(|v| precision.round(v));
        for (copy, value) in copies.numbers_mut().iter_mut().zip(all) {
            *copy = value;
        }
    }

    fn disagreement(&self, outcome: &Outcome<'_>) -> Option<Disagreement> {
        first_disagreement(&KERNEL, outcome, |_, _| 0.0)
    }
}

fn samples(sampler: &mut Sampler) -> Vec<Sample> {
    let Sampler { n, d, .. } = *sampler;
    let first = d / 2;
    let copies = n * d - first;
    let launch = Perturb {
        step: 1e-3,
        rows: copies as u32,
        columns: d as u32,
        first: first as u32,
    };
    let base = sampler.normal(n * d);
    vec![Sample::new(
        launch,
        vec![base.into(), Operand::zeros(copies * d)],
    )]
}
