//! shaders/outer.wgsl: leftᵀ · right / normalizer, `[k, rows]` · `[rows, m]`.

use super::{
    Binding, Constant, Kernel, Launch, Outcome, groups_of_entries,
    operand::{Disagreement, Operand, each, first_disagreement},
    params::params,
    reads,
    sample::{Sample, Sampler},
    writes,
};
use crate::{cpu, scheme::Precision};

const BINDINGS: [Binding; 3] = [reads("left"), reads("right"), writes("product")];

/// The kernel's row in the table.
pub static KERNEL: Kernel = Kernel {
    name: "outer",
    shared: &[],
    wgsl: include_str!("../../../shaders/outer.wgsl"),
    bindings: &BINDINGS,
    samples,
};

params! {
    /// Adds the samples `tile_begin..tile_end` to a product.
    Outer {
        /// The divisor of the terms.
        normalizer: f64,
        /// The number of columns, m.
        columns: u32,
        /// The number of classes, k.
        classes: u32,
        /// The first sample.
        tile_begin: u32,
        /// The end of the samples.
        tile_end: u32,
        /// 1 to multiply by the magnitudes of the right side.
        magnitudes: u32,
        /// 1 to add the squares of the products.
        squares: u32,
    }
}

impl Launch for Outer {
    fn kernel(&self) -> &'static Kernel {
        &KERNEL
    }

    fn workgroups(&self, _constants: &[Constant]) -> usize {
        groups_of_entries(self.classes as usize * self.columns as usize)
    }

    fn twin(&self, _precision: Precision, operands: &mut [Operand]) {
        let [left, right, product] = each(operands);
        let (k, m) = (self.classes as usize, self.columns as usize);
        let [begin, end] = [self.tile_begin, self.tile_end].map(|row| row as usize);
        let left = &left.numbers()[begin * k..end * k];
        let mut right = right.numbers()[begin * m..end * m].to_vec();
        if self.magnitudes == 1 {
            right.iter_mut().for_each(|v| *v = v.abs());
        }
        let outer = if self.squares == 1 {
            cpu::outer::outer_squares
        } else {
            cpu::outer::outer
        };
        let sums = outer(left, &right, k, m);
        for (product, sum) in product.numbers_mut().iter_mut().zip(sums) {
            let sum = sum / self.normalizer;
            *product = if begin == 0 { sum } else { *product + sum };
        }
    }

    fn disagreement(&self, outcome: &Outcome<'_>) -> Option<Disagreement> {
        let mut magnitudes: Vec<_> = outcome.before.iter().map(Operand::magnitudes).collect();
        self.twin(outcome.precision, &mut magnitudes);
        let magnitudes = magnitudes[2].numbers();
        let roundings = f64::from(self.tile_end) / 8.0 + 8.0;
        first_disagreement(&KERNEL, outcome, |_, i| roundings * magnitudes[i])
    }
}

fn samples(sampler: &mut Sampler) -> Vec<Sample> {
    let Sampler { n, d, k, .. } = *sampler;
    let whole = Outer {
        normalizer: 1.0,
        columns: d as u32,
        classes: k as u32,
        tile_begin: 0,
        tile_end: n as u32,
        magnitudes: 0,
        squares: 0,
    };
    let squares = Outer {
        squares: 1,
        ..whole
    };
    let magnitudes = Outer {
        magnitudes: 1,
        ..whole
    };
    let tile = Outer {
        normalizer: 3.0,
        tile_begin: n as u32 / 2,
        ..whole
    };
    let sample = |launch: Outer| {
        let (left, right) = (sampler.normal(n * k), sampler.normal(n * d));
        let operands = [left, right, sampler.normal(k * d)];
        Sample::new(launch, operands.map(Operand::Numbers).into())
    };
    [whole, magnitudes, squares, tile].map(sample).into()
}
