//! shaders/difference.wgsl: the derivative with respect to the input, from loss differences.

use super::{
    Binding, Constant, FUNCTIONS, Kernel, Launch, Outcome, PRODUCT, TILE, TILE_COLUMNS,
    operand::{Disagreement, Operand, columns, each, first_disagreement},
    params::{Steps, params},
    product, reads,
    sample::{Sample, Sampler},
    writes,
};
use crate::{
    cpu::{difference::growth, matmul::matmul},
    report::DeviceKind,
    scheme::Precision,
};

const BINDINGS: [Binding; 7] = [
    reads("left"),
    reads("right"),
    reads("labels"),
    reads("totals"),
    reads("linear"),
    writes("carried"),
    writes("derivative"),
];

/// The kernel's row in the table.
pub static KERNEL: Kernel = Kernel {
    name: "difference",
    shared: &[FUNCTIONS, TILE, PRODUCT],
    wgsl: include_str!("../../../shaders/difference.wgsl"),
    bindings: &BINDINGS,
    samples,
};

params! {
    /// Adds the classes `tile_begin..tile_end`, for all steps of a scheme.
    Difference {
        /// The steps of the scheme.
        steps: Steps,
        /// The number of rows of the residual.
        rows: u32,
        /// The number of columns, m: a multiple of [`TILE_COLUMNS`].
        columns: u32,
        /// The number of classes, k.
        classes: u32,
        /// The first class in `right`.
        class_begin: u32,
        /// The end of the classes in `right`.
        class_end: u32,
        /// The first class.
        tile_begin: u32,
        /// The end of the classes. The launch that reaches k finishes the derivative.
        tile_end: u32,
        /// 1 if the targets have a linear part.
        has_linear: u32,
    }
}

impl Difference {
    /// Returns the sums of a step over the classes of the tile, `[rows, m]`.
    fn sums(&self, left: &Operand, right: &Operand, step: usize) -> Vec<f64> {
        let m = self.columns as usize;
        let [begin, end] = [self.tile_begin, self.tile_end].map(|class| class as usize);
        let left = columns(left.numbers(), self.classes as usize, begin, end);
        let first = self.first_row(step).wrapping_add(begin);
        let right = &right.numbers()[first * m..(first + end - begin) * m];
        matmul(&left, right, m)
    }

    /// Returns the row of `right` that holds class 0 in the table of a step. If the window begins
    /// with a later class, returns the row where class 0 would be; it may wrap around below 0.
    fn first_row(&self, step: usize) -> usize {
        let [begin, end] = [self.class_begin, self.class_end].map(|class| class as usize);
        (step * (end - begin)).wrapping_sub(begin)
    }
}

impl Launch for Difference {
    fn kernel(&self) -> &'static Kernel {
        &KERNEL
    }

    fn constants(&self, kind: DeviceKind) -> Vec<Constant> {
        product::constants(self.columns, kind)
    }

    fn workgroups(&self, constants: &[Constant]) -> usize {
        product::workgroups(self.rows, self.columns, constants)
    }

    fn twin(&self, precision: Precision, operands: &mut [Operand]) {
        let [left, right, labels, totals, linear, carried, derivative] = each(operands);
        let (m, entries) = (self.columns as usize, derivative.len());
        let (carried, derivative) = (carried.numbers_mut(), derivative.numbers_mut());
        for (s, (step, weight)) in self.steps.quotients().into_iter().enumerate() {
            let step = precision.round(step);
            for (entry, sum) in self.sums(left, right, s).into_iter().enumerate() {
                let (row, column) = (entry / m, entry % m);
                let so_far = 2 * s * entries + entry;
                let at_label = so_far + entries;
                let (mut whole, mut growth) = (sum, 0.0);
                if self.tile_begin > 0 {
                    whole += carried[so_far];
                    growth = carried[at_label];
                }
                let label = labels.counts()[row];
                if (self.tile_begin..self.tile_end).contains(&label) {
                    let right_row = self.first_row(s).wrapping_add(label as usize);
                    growth = right.numbers()[right_row * m + column];
                }
                if self.tile_end < self.classes {
                    carried[so_far] = whole;
                    carried[at_label] = growth;
                    continue;
                }
                let quotient = whole / (1.0 + step * growth);
                let mut part = weight * totals.numbers()[row] * (step * quotient).ln_1p() / step;
                if s > 0 {
                    part += derivative[entry];
                } else if self.has_linear == 1 {
                    part += linear.numbers()[entry];
                }
                derivative[entry] = part;
            }
        }
    }

    fn disagreement(&self, outcome: &Outcome<'_>) -> Option<Disagreement> {
        let sizes: Vec<Operand> = outcome.before.iter().map(Operand::magnitudes).collect();
        let [left, right, _, _, linear, carried, derivative] = sizes.as_slice() else {
            return None;
        };
        let entries = derivative.len();
        // The magnitude behind the sum of each step.
        let of_step = |s: usize| {
            let mut sums = self.sums(left, right, s);
            if self.tile_begin > 0 {
                let carried = carried.numbers()[2 * s * entries..].iter();
                sums.iter_mut().zip(carried).for_each(|(sum, c)| *sum += c);
            }
            sums
        };
        let of_steps: Vec<Vec<f64>> = (0..self.steps.count()).map(of_step).collect();
        let quotients = self.steps.quotients();
        let whole = |entry: usize| {
            let sums = of_steps.iter().zip(&quotients);
            let sum: f64 = sums
                .map(|(sums, (_, weight))| weight.abs() * sums[entry])
                .sum();
            sum + linear.numbers().get(entry).copied().unwrap_or(0.0)
        };
        // 1 + step·growth is within 0.3 of 1, and log1p is close to its argument.
        let roundings = (f64::from(self.classes) / 4.0 + 12.0) * 1.5;
        first_disagreement(&KERNEL, outcome, |operand, i| match operand {
            5 => roundings * of_steps[i / (2 * entries)][i % entries],
            _ => roundings * whole(i),
        })
    }
}

fn samples(sampler: &mut Sampler) -> Vec<Sample> {
    let Sampler { n, d, k, .. } = *sampler;
    let m = d.next_multiple_of(TILE_COLUMNS);
    let small = 2f64.powi(-12);
    let whole = |quotients: &[(f64, f64)]| Difference {
        steps: Steps::new(quotients.iter().copied()),
        rows: n as u32,
        columns: m as u32,
        classes: k as u32,
        class_begin: 0,
        class_end: k as u32,
        tile_begin: 0,
        tile_end: k as u32,
        has_linear: 1,
    };
    let pair = whole(&[(small, 0.5), (-small, 0.5)]);
    let one_hot = Difference {
        has_linear: 0,
        ..pair
    };
    // The second and the last of three tiles, in a window that begins with the second.
    let third = k as u32 / 3;
    let second = Difference {
        class_begin: third,
        tile_begin: third,
        tile_end: k as u32 - third,
        ..pair
    };
    let last = Difference {
        tile_begin: k as u32 - third.max(1),
        tile_end: k as u32,
        ..second
    };
    let (one, large) = (whole(&[(small, 1.0)]), whole(&[(0.0625, 1.0)]));
    let sample = |launch: Difference| {
        let residual = sampler.normal(n * k);
        let residual = residual.iter().map(|r| f64::from((r / k as f64) as f32));
        let mut tables = Vec::new();
        for (step, _) in launch.steps.quotients() {
            let window = (launch.class_end - launch.class_begin) as usize;
            tables.extend(growth::<f64>(&sampler.normal(window * m), step));
        }
        let linear = sampler.normal(n * m);
        let [labels, totals, _] = sampler.target_operands(launch.has_linear == 1);
        let carries = launch.tile_begin > 0 || launch.tile_end < launch.classes;
        let carried = if carries {
            2 * launch.steps.count() * n * m
        } else {
            1
        };
        let operands = vec![
            residual.collect::<Vec<f64>>().into(),
            tables.into(),
            labels,
            totals,
            linear.into(),
            sampler.normal(carried).into(),
            Operand::zeros(n * m),
        ];
        Sample::new(launch, operands)
    };
    [one, large, pair, one_hot, second, last].map(sample).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cpu::difference::{Growths, difference},
        gpu::kernel::{operand::targets, params::Value},
    };

    /// Compares the twin with [`difference`], which the CPU engine runs. Only the twin covers
    /// launches of several tiles.
    #[test]
    fn the_twin_is_the_cpu_engines_kernel() {
        let mut sampler = Sampler::new(3, Precision::F64, [7, 5, 6]);
        let m = 8;
        for sample in samples(&mut sampler).iter().take(2) {
            let operands = sample.expected(Precision::F64);
            let [left, right, labels, totals, linear, _, derivative] = operands.as_slice() else {
                panic!("seven operands");
            };
            let targets = targets(labels, totals, linear, false);
            let Value::Numbers([step, ..]) = sample.launch().params()[0].1 else {
                panic!("steps come first");
            };
            let growths = Growths::of_table(right.numbers(), m, (step, 1.0));
            let mut expected = Vec::new();
            let linear = Some(linear.numbers());
            difference(&mut expected, left.numbers(), &growths, &targets, linear);
            for (found, expected) in derivative.numbers().iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-13, "{found} {expected}");
            }
        }
    }
}
