//! shaders/matmul.wgsl: left · right / normalizer, `[rows, k]` · `[k, m]`.

use super::{
    Binding, Constant, Kernel, Launch, Outcome, PRODUCT, TILE, TILE_COLUMNS,
    operand::{Disagreement, Operand, columns, each, first_disagreement},
    params::params,
    product, reads,
    sample::{Sample, Sampler},
    writes,
};
use crate::{cpu, report::DeviceKind, scheme::Precision};

const BINDINGS: [Binding; 3] = [reads("left"), reads("right"), writes("product")];

/// The kernel's row in the table.
pub static KERNEL: Kernel = Kernel {
    name: "matmul",
    shared: &[TILE, PRODUCT],
    wgsl: include_str!("../../../shaders/matmul.wgsl"),
    bindings: &BINDINGS,
    samples,
};

params! {
    /// Adds the classes `tile_begin..tile_end` to a product.
    Matmul {
        /// The divisor of the finished product.
        normalizer: f64,
        /// The number of rows of the left side.
        rows: u32,
        /// The number of columns, m: a multiple of [`TILE_COLUMNS`].
        columns: u32,
        /// The number of classes, k.
        classes: u32,
        /// The first class in `right`.
        class_begin: u32,
        /// The first class.
        tile_begin: u32,
        /// The end of the classes. The launch that reaches k finishes the product.
        tile_end: u32,
        /// 1 to multiply by the magnitudes of the right side.
        magnitudes: u32,
    }
}

impl Launch for Matmul {
    fn kernel(&self) -> &'static Kernel {
        &KERNEL
    }

    fn constants(&self, kind: DeviceKind) -> Vec<Constant> {
        product::constants(self.columns, kind)
    }

    fn workgroups(&self, constants: &[Constant]) -> usize {
        product::workgroups(self.rows, self.columns, constants)
    }

    fn twin(&self, _precision: Precision, operands: &mut [Operand]) {
        let [left, right, product] = each(operands);
        let (k, m) = (self.classes as usize, self.columns as usize);
        let [window, begin, end] =
            [self.class_begin, self.tile_begin, self.tile_end].map(|class| class as usize);
        let left = columns(left.numbers(), k, begin, end);
        let mut right = right.numbers()[(begin - window) * m..(end - window) * m].to_vec();
        if self.magnitudes == 1 {
            right.iter_mut().for_each(|v| *v = v.abs());
        }
        let sums = cpu::matmul::matmul(&left, &right, m);
        for (product, sum) in product.numbers_mut().iter_mut().zip(sums) {
            *product = if begin == 0 { sum } else { *product + sum };
            if end == k {
                *product /= self.normalizer;
            }
        }
    }

    fn disagreement(&self, outcome: &Outcome<'_>) -> Option<Disagreement> {
        let mut magnitudes: Vec<_> = outcome.before.iter().map(Operand::magnitudes).collect();
        self.twin(outcome.precision, &mut magnitudes);
        let magnitudes = magnitudes[2].numbers();
        let roundings = f64::from(self.classes) / 4.0 + 8.0;
        first_disagreement(&KERNEL, outcome, |_, i| roundings * magnitudes[i])
    }
}

fn samples(sampler: &mut Sampler) -> Vec<Sample> {
    let Sampler { n, d, k, .. } = *sampler;
    let m = d.next_multiple_of(TILE_COLUMNS);
    let whole = Matmul {
        normalizer: 3.0,
        rows: n as u32,
        columns: m as u32,
        classes: k as u32,
        class_begin: 0,
        tile_begin: 0,
        tile_end: k as u32,
        magnitudes: 0,
    };
    let magnitudes = Matmul {
        normalizer: 1.0,
        magnitudes: 1,
        ..whole
    };
    // The second and the last of three tiles, in a window that begins with the second.
    let third = k as u32 / 3;
    let second = Matmul {
        class_begin: third,
        tile_begin: third,
        tile_end: k as u32 - third,
        ..whole
    };
    let last = Matmul {
        tile_begin: k as u32 - third.max(1),
        tile_end: k as u32,
        ..second
    };
    let sample = |launch: Matmul| {
        let window = k - launch.class_begin as usize;
        let (left, right) = (sampler.normal(n * k), sampler.normal(window * m));
        let operands = [left, right, sampler.normal(n * m)];
        Sample::new(launch, operands.map(Operand::Numbers).into())
    };
    [whole, magnitudes, second, last].map(sample).into()
}
