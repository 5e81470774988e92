//! shaders/loss.wgsl: the losses of perturbed copies of samples.

use super::{
    Binding, Constant, FUNCTIONS, Kernel, Launch, Outcome, ROWS,
    operand::{Disagreement, Operand, each, first_disagreement, targets},
    params::params,
    reads, rows,
    sample::{Sample, Sampler},
    writes,
};
use crate::{cpu, report::DeviceKind, scheme::Precision};

const BINDINGS: [Binding; 5] = [
    reads("logits"),
    reads("labels"),
    reads("totals"),
    reads("linear"),
    writes("losses"),
];

/// The kernel's row in the table.
pub static KERNEL: Kernel = Kernel {
    name: "loss",
    shared: &[FUNCTIONS, ROWS],
    wgsl: include_str!("../../../shaders/loss.wgsl"),
    bindings: &BINDINGS,
    samples,
};

params! {
    /// Takes the logits of `rows` copies, m for each sample.
    Loss {
        /// The number of copies.
        rows: u32,
        /// The number of columns, m.
        columns: u32,
        /// The number of classes, k.
        classes: u32,
        /// The entry of the first copy.
        first: u32,
        /// 1 if the targets have a linear part.
        has_linear: u32,
    }
}

impl Launch for Loss {
    fn kernel(&self) -> &'static Kernel {
        &KERNEL
    }

    fn constants(&self, _kind: DeviceKind) -> Vec<Constant> {
        rows::constants(self.classes)
    }

    fn workgroups(&self, constants: &[Constant]) -> usize {
        rows::workgroups(self.rows, constants)
    }

    fn twin(&self, _precision: Precision, operands: &mut [Operand]) {
        let [logits, labels, totals, linear, losses] = each(operands);
        let targets = targets(labels, totals, linear, self.has_linear == 1);
        let [first, m, k] = [self.first, self.columns, self.classes].map(|count| count as usize);
        let results = cpu::loss::loss(logits.numbers(), &targets, first, m, k);
        losses.numbers_mut()[first..][..results.len()].copy_from_slice(&results);
    }

    fn disagreement(&self, outcome: &Outcome<'_>) -> Option<Disagreement> {
        // Logits are as large as 20. The logarithm's argument is a sum of up to k exponentials,
        // each off by about 20 u.
        first_disagreement(&KERNEL, outcome, |_, _| 80.0)
    }
}

fn samples(sampler: &mut Sampler) -> Vec<Sample> {
    let Sampler { n, k, .. } = *sampler;
    // Three copies of each sample, without the first copy.
    let copies = 3 * n - 1;
    let sample = |has_linear: bool| {
        let launch = Loss {
            rows: copies as u32,
            columns: 3,
            classes: k as u32,
            first: 1,
            has_linear: u32::from(has_linear),
        };
        let logits = sampler.scaled(copies * k, 4.0);
        let [labels, totals, linear] = sampler.target_operands(has_linear);
        let losses = Operand::zeros(3 * n);
        Sample::new(launch, vec![logits.into(), labels, totals, linear, losses])
    };
    [true, false].map(sample).into()
}
