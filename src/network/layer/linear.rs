//! x Wᵀ + b, on the last axis.

use std::sync::OnceLock;

use super::{Built, Layer, Spec, Upstream};
use crate::{
    cpu::matmul::{Packed, matmul_into, matmul_magnitudes},
    error::Result,
    network::{
        arithmetic::{Arithmetic, quadrature},
        sums::{Sums, Term},
        values::{At, Errors},
    },
};

struct Linear {
    inputs: usize,
    outputs: usize,
    /// W [outputs, inputs].
    weight: Matrix,
    /// Wᵀ.
    transposed: Matrix,
    bias: Vec<f64>,
}

/// A matrix as a right side, and the squares of its entries, which errors need.
struct Matrix {
    values: Packed<f64, 1>,
    squares: OnceLock<Packed<f64, 1>>,
}

impl Matrix {
    fn new(values: &[f64], columns: usize) -> Self {
        Self {
            values: Packed::new([values], columns),
            squares: OnceLock::new(),
        }
    }

    fn squares(&self) -> &Packed<f64, 1> {
        self.squares
            .get_or_init(|| self.values.map(|value| value * value))
    }
}

pub(super) fn new(spec: &mut Spec) -> Result<Built> {
    let inputs = spec.width()?;
    let outputs = match spec.shape_of("weight") {
        Some(&[outputs, _]) => outputs,
        Some(found) => {
            let reason = format!("its weight must be [outputs, {inputs}], not {found:?}");
            return Err(spec.failed(reason));
        }
        None => 0,
    };
    let weight = spec.required("weight", &[outputs, inputs])?;
    let bias = spec.optional("bias", &[outputs])?;
    let mut shape = spec.input()?.to_vec();
    shape.pop();
    shape.push(outputs);
    let transposed: Vec<f64> = (0..inputs * outputs)
        .map(|i| weight[i % outputs * inputs + i / outputs])
        .collect();
    let linear = Linear {
        inputs,
        outputs,
        weight: Matrix::new(&weight, inputs),
        transposed: Matrix::new(&transposed, outputs),
        bias: bias.unwrap_or_else(|| vec![0.0; outputs]),
    };
    spec.build(shape, linear)
}

/// Returns the product of the magnitudes of a block and of a matrix.
fn magnitudes(block: &[f64], matrix: &Matrix) -> Vec<f64> {
    let block: Vec<f64> = block.iter().map(|value| value.abs()).collect();
    let mut product = Vec::new();
    matmul_magnitudes(&mut product, &block, &matrix.values);
    product
}

/// Returns the product of a block, each entry altered first, and a matrix.
fn times(block: &[f64], altered: impl Fn(f64) -> f64, matrix: &Packed<f64, 1>) -> Vec<f64> {
    let block: Vec<f64> = block.iter().map(|&value| altered(value)).collect();
    let mut product = Vec::new();
    matmul_into(&mut product, &block, matrix);
    product
}

/// Returns the square roots of squared errors times squares, or zeros if there are no errors. In
/// units of the largest error, so that no square vanishes.
fn spread(errors: &[f64], matrix: &Matrix, length: usize) -> Vec<f64> {
    let most = errors.iter().fold(0.0f64, |most, error| most.max(*error));
    if most == 0.0 {
        return vec![0.0; length];
    }
    let mut spread = times(errors, |error| (error / most).powi(2), matrix.squares());
    spread.iter_mut().for_each(|it| *it = most * it.sqrt());
    spread
}

/// Returns the errors of the products of a block and of a matrix by the rounding of their operands.
fn of_operands(block: &[f64], matrix: &Matrix, arithmetic: &Arithmetic, length: usize) -> Vec<f64> {
    match arithmetic.of_operand() {
        0.0 => vec![0.0; length],
        error => {
            let errors: Vec<f64> = block.iter().map(|value| error * value.abs()).collect();
            spread(&errors, matrix, length)
        }
    }
}

impl Layer for Linear {
    fn forward(&self, x: &[&[f64]], y: &mut [f64]) {
        let product = times(x[0], |x| x, &self.transposed.values);
        for (i, (y, product)) in y.iter_mut().zip(product).enumerate() {
            *y = product + self.bias[i % self.outputs];
        }
    }

    fn difference(&self, _at: &At, d: &[&[f64]], out: &mut [f64]) {
        out.copy_from_slice(&times(d[0], |d| d, &self.transposed.values));
    }

    /// The difference of a linear function along an entry is exact, whatever the step: g W.
    fn pull(&self, _at: &At, _input: usize, g: &Upstream, gx: &mut [f64], errors: &mut Errors) {
        gx.copy_from_slice(&times(g.g, |g| g, &self.weight.values));
        let magnitude = magnitudes(g.g, &self.weight);
        let of_g = spread(&g.errors.smooth, &self.weight, gx.len());
        let of_operands = of_operands(g.g, &self.weight, g.arithmetic, gx.len());
        errors.flips = spread(&g.errors.flips, &self.weight, gx.len());
        for (i, error) in errors.smooth.iter_mut().enumerate() {
            *error = quadrature([
                g.arithmetic.of_sum(self.outputs, magnitude[i]),
                g.arithmetic.of_storing(gx[i]),
                of_g[i],
                of_operands[i],
            ]);
        }
    }

    fn errors(&self, at: &At, errors: &mut Errors) {
        let magnitude = magnitudes(at.inputs[0], &self.transposed);
        let length = magnitude.len();
        let of_x = spread(&at.of_inputs[0].smooth, &self.transposed, length);
        let of_operands = of_operands(at.inputs[0], &self.transposed, at.arithmetic, length);
        for (i, error) in errors.smooth.iter_mut().enumerate() {
            let magnitude = magnitude[i] + self.bias[i % self.outputs].abs();
            *error = quadrature([
                at.arithmetic.of_sum(self.inputs, magnitude),
                at.arithmetic.of_storing(at.output[i]),
                of_x[i],
                of_operands[i],
            ]);
        }
    }

    fn add_to_parameter(&self, parameter: usize, at: &At, g: &Upstream, sums: &mut Sums) {
        let rows = g.g.len() / self.outputs;
        sums.terms += rows;
        if parameter == 1 {
            for (i, &value) in g.g.iter().enumerate() {
                let term = Term {
                    g: value,
                    of_g: g.errors.smooth[i],
                    flips: g.errors.flips[i],
                    factor: 1.0,
                    of_factor: 0.0,
                };
                sums.add(i % self.outputs, &term);
            }
            return;
        }
        let across = |values: &[f64]| -> Vec<f64> {
            let place = |i: usize| i % rows * self.outputs + i / rows;
            (0..values.len()).map(|i| values[place(i)]).collect()
        };
        let (of_g, of_x) = (&g.errors.smooth, &at.of_inputs[0].smooth);
        sums.add_products(across(g.g), at.inputs[0], self.inputs);
        if of_g.iter().any(|error| *error > 0.0) {
            sums.add_squares(across(of_g), at.inputs[0], self.inputs);
        }
        if of_x.iter().any(|error| *error > 0.0) {
            sums.add_squares(across(g.g), of_x, self.inputs);
        }
        let error = g.arithmetic.of_operand();
        if error > 0.0 {
            let rounded: Vec<f64> = g.g.iter().map(|g| error * g).collect();
            sums.add_squares(across(&rounded), at.inputs[0], self.inputs);
        }
        if g.errors.flips.iter().any(|flip| *flip > 0.0) {
            sums.add_flips(across(&g.errors.flips), at.inputs[0], self.inputs);
        }
    }
}
