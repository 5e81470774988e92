//! shaders/logits.wgsl: the logits of a block of rows, and the magnitude of each.

use super::{
    Binding, Constant, GROUP, Kernel, Launch, Outcome, TILE_COLUMNS,
    operand::{Disagreement, Operand, columns, each, first_disagreement},
    params::params,
    reads,
    sample::{Sample, Sampler},
    writes,
};
use crate::{cpu, scheme::Precision};

/// Classes of a workgroup, `TILE_CLASSES` in the shader.
const TILE_CLASSES: usize = 4;

const BINDINGS: [Binding; 5] = [
    reads("input"),
    reads("weight"),
    reads("bias"),
    writes("logits"),
    writes("magnitude"),
];

/// The kernel's row in the table.
pub static KERNEL: Kernel = Kernel {
    name: "logits",
    shared: &[],
    wgsl: include_str!("../../../shaders/logits.wgsl"),
    bindings: &BINDINGS,
    samples,
};

params! {
    /// Adds the columns `tile_begin..tile_end` to the logits of some classes.
    Logits {
        /// The number of rows of the input.
        rows: u32,
        /// The number of columns, d, padded to a multiple of [`TILE_COLUMNS`].
        columns: u32,
        /// The number of classes, k.
        classes: u32,
        /// The first class in `weight`.
        class_begin: u32,
        /// The end of the classes in `weight`.
        class_end: u32,
        /// The first column, a multiple of [`TILE_COLUMNS`].
        tile_begin: u32,
        /// The end of the columns.
        tile_end: u32,
    }
}

impl Launch for Logits {
    fn kernel(&self) -> &'static Kernel {
        &KERNEL
    }

    fn workgroups(&self, _constants: &[Constant]) -> usize {
        let classes = (self.class_end - self.class_begin) as usize;
        (self.rows as usize).div_ceil(GROUP) * classes.div_ceil(TILE_CLASSES)
    }

    fn twin(&self, _precision: Precision, operands: &mut [Operand]) {
        let [input, weight, bias, logits, magnitude] = each(operands);
        let [begin, end] = [self.tile_begin, self.tile_end].map(|column| column as usize);
        let of_tile = |matrix: &Operand| {
            let width = self.columns as usize;
            columns(matrix.numbers(), width, begin, end)
        };
        let classes = self.class_begin as usize..self.class_end as usize;
        let bias = if begin == 0 {
            bias.numbers()[classes.clone()].to_vec()
        } else {
            vec![0.0; classes.len()]
        };
        let length = end - begin;
        let sums = cpu::logits::logits(&of_tile(input), &of_tile(weight), &bias, length);
        for (operand, sums) in [(logits, sums.logits), (magnitude, sums.magnitude)] {
            let rows = operand
                .numbers_mut()
                .chunks_exact_mut(self.classes as usize);
            for (row, sums) in rows.zip(sums.chunks_exact(classes.len())) {
                for (value, sum) in row[classes.clone()].iter_mut().zip(sums) {
                    *value = if begin == 0 { *sum } else { *value + *sum };
                }
            }
        }
    }

    fn disagreement(&self, outcome: &Outcome<'_>) -> Option<Disagreement> {
        let magnitude = outcome.expected[4].numbers();
        let roundings = f64::from(self.columns) / 16.0 + 8.0;
        first_disagreement(&KERNEL, outcome, |_, i| roundings * magnitude[i])
    }
}

fn samples(sampler: &mut Sampler) -> Vec<Sample> {
    let Sampler { n, d, k, .. } = *sampler;
    let d = d.next_multiple_of(TILE_COLUMNS);
    let launch = |classes: [usize; 2], tile: [usize; 2]| Logits {
        rows: n as u32,
        columns: d as u32,
        classes: k as u32,
        class_begin: classes[0] as u32,
        class_end: classes[1] as u32,
        tile_begin: tile[0] as u32,
        tile_end: tile[1] as u32,
    };
    // The second tile of the last classes, if there is one.
    let middle = d / 2 / TILE_COLUMNS * TILE_COLUMNS;
    let launches = [launch([0, k], [0, d]), launch([k / 2, k], [middle, d])];
    let sample = |launch: Logits| {
        let bound = (launch.class_end - launch.class_begin) as usize;
        let (input, weight) = (sampler.normal(n * d), sampler.normal(bound * d));
        let (bias, logits) = (sampler.normal(k), sampler.normal(n * k));
        let magnitude: Vec<f64> = logits.iter().map(|z| 2.0 * z.abs()).collect();
        let operands = [input, weight, bias, logits, magnitude];
        Sample::new(launch, operands.map(Operand::Numbers).to_vec())
    };
    launches.map(sample).into()
}
