//! shaders/residual.wgsl: the residual, the gradient and the conditioning of a block of logits.

use super::{
    Binding, Constant, FUNCTIONS, Kernel, Launch, Outcome, ROWS,
    operand::{Disagreement, Operand, each, first_disagreement, targets},
    params::params,
    reads, rows,
    sample::{Sample, Sampler},
    writes,
};
use crate::{cpu, report::DeviceKind, rounding::RoundingModel, scheme::Precision};

const BINDINGS: [Binding; 9] = [
    reads("logits"),
    reads("magnitude"),
    reads("labels"),
    reads("totals"),
    reads("linear"),
    writes("residual"),
    writes("gradient"),
    writes("conditioning"),
    writes("bounds"),
];

/// The kernel's row in the table.
pub static KERNEL: Kernel = Kernel {
    name: "residual",
    shared: &[FUNCTIONS, ROWS],
    wgsl: include_str!("../../../shaders/residual.wgsl"),
    bindings: &BINDINGS,
    samples,
};

params! {
    /// Takes all classes of some rows.
    Residual {
        /// The model's [`RoundingModel::sums`].
        sums: f64,
        /// The model's [`RoundingModel::alike`].
        alike: f64,
        /// The model's [`RoundingModel::at_max`].
        at_max: f64,
        /// The model's [`RoundingModel::lost_at_max`].
        lost_at_max: f64,
        /// The model's [`RoundingModel::unit_roundoff`].
        unit_roundoff: f64,
        /// The model's [`RoundingModel::accumulation`].
        accumulation: f64,
        /// The number of rows of the logits.
        rows: u32,
        /// The number of classes, k.
        classes: u32,
        /// 1 if the targets have a linear part.
        has_linear: u32,
    }
}

impl Launch for Residual {
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
        let [
            logits,
            magnitude,
            labels,
            totals,
            linear,
            residual,
            gradient,
            conditioning,
            bounds,
        ] = each(operands);
        let targets = targets(labels, totals, linear, self.has_linear == 1);
        let model = RoundingModel {
            sums: self.sums,
            alike: self.alike,
            at_max: self.at_max,
            lost_at_max: self.lost_at_max,
            unit_roundoff: self.unit_roundoff,
            accumulation: self.accumulation,
        };
        let (z, a, k) = (logits.numbers(), magnitude.numbers(), self.classes as usize);
        let results = cpu::residual::residual(z, a, &targets, model, k);
        *residual = results.residual.into();
        *gradient = results.gradient.into();
        *conditioning = results.conditioning.into();
        *bounds = results.bounds.into();
    }

    fn disagreement(&self, outcome: &Outcome<'_>) -> Option<Disagreement> {
        let [.., residual, _, conditioning, bounds] = outcome.expected else {
            return None;
        };
        first_disagreement(&KERNEL, outcome, |operand, i| match operand {
            // The exponent z - max z is rounded, by u times itself.
            5 => 40.0 * residual.numbers()[i].abs(),
            6 | 7 => 40.0 * conditioning.numbers()[i],
            _ => 2.0 * bounds.numbers()[i],
        })
    }
}

fn samples(sampler: &mut Sampler) -> Vec<Sample> {
    let Sampler { n, k, .. } = *sampler;
    let sample = |(has_linear, accumulation)| {
        let logits = sampler.scaled(n * k, 4.0);
        let magnitude: Vec<f64> = logits.iter().map(|z| 2.0 * z.abs()).collect();
        let launch = Residual {
            sums: 1.5,
            alike: 0.75,
            at_max: 0.5,
            lost_at_max: 0.125,
            unit_roundoff: 1e-9,
            accumulation,
            rows: n as u32,
            classes: k as u32,
            has_linear: u32::from(has_linear),
        };
        let [labels, totals, linear] = sampler.target_operands(has_linear);
        let mut operands = vec![logits.into(), magnitude.into(), labels, totals, linear];
        let lengths = [n * k, n * k, n * k, 2 * n];
        operands.extend(lengths.map(Operand::zeros));
        Sample::new(launch, operands)
    };
    [(true, 0.25), (true, 1.0), (false, 0.25)]
        .map(sample)
        .into()
}
