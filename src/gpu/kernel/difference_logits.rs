//! shaders/difference_logits.wgsl: the derivative with respect to the logits, from loss
//! differences.

use super::{
    Binding, Constant, FUNCTIONS, Kernel, Launch, Outcome, groups_of_entries,
    operand::{Disagreement, Operand, each, first_disagreement, targets},
    params::{Steps, params},
    reads,
    sample::{Sample, Sampler},
    writes,
};
use crate::{cpu, scheme::Precision};

const BINDINGS: [Binding; 5] = [
    reads("residual"),
    reads("labels"),
    reads("totals"),
    reads("linear"),
    writes("derivative"),
];

/// The kernel's row in the table.
pub static KERNEL: Kernel = Kernel {
    name: "difference_logits",
    shared: &[FUNCTIONS],
    wgsl: include_str!("../../../shaders/difference_logits.wgsl"),
    bindings: &BINDINGS,
    samples,
};

params! {
    /// Takes all steps of a scheme.
    DifferenceLogits {
        /// The steps of the scheme.
        steps: Steps,
        /// The number of rows of the residual.
        rows: u32,
        /// The number of classes, k.
        classes: u32,
        /// 1 if the targets have a linear part.
        has_linear: u32,
    }
}

impl Launch for DifferenceLogits {
    fn kernel(&self) -> &'static Kernel {
        &KERNEL
    }

    fn workgroups(&self, _constants: &[Constant]) -> usize {
        groups_of_entries(self.rows as usize * self.classes as usize)
    }

    fn twin(&self, _precision: Precision, operands: &mut [Operand]) {
        let [residual, labels, totals, linear, derivative] = each(operands);
        let targets = targets(labels, totals, linear, self.has_linear == 1);
        let (steps, k) = (self.steps.quotients(), self.classes as usize);
        let values = cpu::difference::difference_logits(residual.numbers(), &steps, &targets, k);
        *derivative = values.into();
    }

    fn disagreement(&self, outcome: &Outcome<'_>) -> Option<Disagreement> {
        let residual = outcome.expected[0].numbers();
        let linear = 1.0 / f64::from(self.classes);
        first_disagreement(&KERNEL, outcome, |_, i| 16.0 * (residual[i].abs() + linear))
    }
}

fn samples(sampler: &mut Sampler) -> Vec<Sample> {
    let Sampler { n, k, .. } = *sampler;
    let small = 2f64.powi(-13);
    let one: &[(f64, f64)] = &[(-small, 1.0)];
    let sample = |(quotients, has_linear): (&[(f64, f64)], bool)| {
        let launch = DifferenceLogits {
            steps: Steps::new(quotients.iter().copied()),
            rows: n as u32,
            classes: k as u32,
            has_linear: u32::from(has_linear),
        };
        let residual = sampler.scaled(n * k, 0.25);
        let [labels, totals, linear] = sampler.target_operands(has_linear);
        let derivative = Operand::zeros(n * k);
        let operands = vec![residual.into(), labels, totals, linear, derivative];
        Sample::new(launch, operands)
    };
    [
        (one, true),
        (&[(0.125, 1.0)], true),
        (&[(small, 0.5), (-small, 0.5)], false),
    ]
    .map(sample)
    .into()
}
