//! shaders/difference_weight.wgsl: the derivative with respect to the weight or the bias, from loss
//! differences.

use super::{
    Binding, Constant, FUNCTIONS, Kernel, Launch, Outcome, groups_of_entries,
    operand::{Disagreement, Operand, each, first_disagreement},
    params::{Steps, params},
    reads,
    sample::{Sample, Sampler},
    writes,
};
use crate::{cpu, loss::TargetRows, scheme::Precision};

const BINDINGS: [Binding; 6] = [
    reads("residual"),
    reads("input"),
    reads("labels"),
    reads("totals"),
    reads("linear"),
    writes("derivative"),
];

/// The kernel's row in the table.
pub static KERNEL: Kernel = Kernel {
    name: "difference_weight",
    shared: &[FUNCTIONS],
    wgsl: include_str!("../../../shaders/difference_weight.wgsl"),
    bindings: &BINDINGS,
    samples,
};

params! {
    /// Adds the samples `tile_begin..tile_end`, for all steps of a scheme.
    DifferenceWeight {
        /// The steps of the scheme.
        steps: Steps,
        /// The number of columns, m.
        columns: u32,
        /// The number of classes, k.
        classes: u32,
        /// The first sample.
        tile_begin: u32,
        /// The end of the samples.
        tile_end: u32,
        /// 1 if the targets have a linear part.
        has_linear: u32,
    }
}

impl Launch for DifferenceWeight {
    fn kernel(&self) -> &'static Kernel {
        &KERNEL
    }

    fn workgroups(&self, _constants: &[Constant]) -> usize {
        groups_of_entries(self.classes as usize * self.columns as usize)
    }

    fn twin(&self, _precision: Precision, operands: &mut [Operand]) {
        let [residual, input, labels, totals, linear, derivative] = each(operands);
        let (k, m) = (self.classes as usize, self.columns as usize);
        let rows = self.tile_begin as usize..self.tile_end as usize;
        let of_rows = |values: &Operand, width: usize| {
            values.numbers()[rows.start * width..rows.end * width].to_vec()
        };
        let targets = TargetRows {
            labels: labels.counts()[rows.clone()].to_vec(),
            totals: of_rows(totals, 1),
            linear: (self.has_linear == 1).then(|| of_rows(linear, k)),
        };
        let steps = self.steps.quotients();
        let (residual, input) = (of_rows(residual, k), of_rows(input, m));
        let sums = cpu::difference_weight::difference_weight;
        let sums = sums(&residual, &input, &steps, &targets, k, m);
        for (value, sum) in derivative.numbers_mut().iter_mut().zip(sums) {
            *value = if rows.start == 0 { sum } else { *value + sum };
        }
    }

    fn disagreement(&self, outcome: &Outcome<'_>) -> Option<Disagreement> {
        let (k, m) = (self.classes as usize, self.columns as usize);
        let linear = 1.0 / k as f64;
        let residual = outcome.before[0].numbers().iter();
        let terms: Vec<f64> = residual.map(|r| r.abs() + linear).collect();
        let input = outcome.before[1].magnitudes();
        let magnitudes = cpu::outer::outer(&terms, input.numbers(), k, m);
        let before = outcome.before[5].magnitudes();
        let roundings = f64::from(self.tile_end) / 8.0 + 16.0;
        first_disagreement(&KERNEL, outcome, |_, i| {
            roundings * (magnitudes[i] + before.numbers()[i])
        })
    }
}

fn samples(sampler: &mut Sampler) -> Vec<Sample> {
    let Sampler { n, d, k, .. } = *sampler;
    let small = 2f64.powi(-12);
    let one: &[(f64, f64)] = &[(small, 1.0)];
    let pair: &[(f64, f64)] = &[(small, 0.5), (-small, 0.5)];
    let sample = |(quotients, has_linear, tile_begin): (&[(f64, f64)], bool, usize)| {
        let launch = DifferenceWeight {
            steps: Steps::new(quotients.iter().copied()),
            columns: d as u32,
            classes: k as u32,
            tile_begin: tile_begin as u32,
            tile_end: n as u32,
            has_linear: u32::from(has_linear),
        };
        let residual = sampler.scaled(n * k, 0.25);
        let input = sampler.normal(n * d);
        let [labels, totals, linear] = sampler.target_operands(has_linear);
        let derivative = if tile_begin == 0 {
            vec![0.0; k * d]
        } else {
            sampler.normal(k * d)
        };
        let operands = vec![
            residual.into(),
            input.into(),
            labels,
            totals,
            linear,
            derivative.into(),
        ];
        Sample::new(launch, operands)
    };
    [
        (one, true, 0),
        (&[(-0.031_25, 1.0)], true, 0),
        (pair, false, 0),
        (pair, true, n / 2),
    ]
    .map(sample)
    .into()
}
