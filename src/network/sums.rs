//! The gradient of a parameter: a sum over all rows.

use rayon::prelude::*;

use super::{
    arithmetic::{Arithmetic, growth, quadrature},
    values::Errors,
};
use crate::cpu::matmul::{Packed, matmul_into};

/// The sum behind the gradient of a parameter, and what bounds its errors. All `[entries]`.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) sum: Vec<f64>,
    /// Sums of magnitudes.
    magnitude: Vec<f64>,
    /// Sums of the squared errors of the terms; empty while there are none.
    squares: Vec<f64>,
    /// Sums of the changes by kinks; empty while there are none.
    flips: Vec<f64>,
    /// Terms of each entry.
    pub(super) terms: usize,
    /// True if partial sums are rounded to the type itself, even to 16 bits.
    pub(super) is_stored_each: bool,
}

/// A term of a sum: a gradient times the factor of the parameter, with the errors of both.
pub(super) struct Term {
    pub(super) g: f64,
    pub(super) of_g: f64,
    pub(super) flips: f64,
    pub(super) factor: f64,
    pub(super) of_factor: f64,
}

impl Sums {
    pub(super) fn zeros(entries: usize) -> Self {
        let zeros = || vec![0.0; entries];
        Self {
            sum: zeros(),
            magnitude: zeros(),
            squares: Vec::new(),
            flips: Vec::new(),
            terms: 0,
            is_stored_each: false,
        }
    }

    /// Adds a term to an entry.
    pub(super) fn add(&mut self, entry: usize, term: &Term) {
        let product = term.g * term.factor;
        self.sum[entry] += product;
        self.magnitude[entry] += product.abs();
        let square = (term.of_g * term.factor).powi(2) + (term.g * term.of_factor).powi(2);
        let flip = term.flips * term.factor.abs();
        let entries = self.sum.len();
        if square > 0.0 {
            self.squares.resize(entries, 0.0);
            self.squares[entry] += square;
        }
        if flip > 0.0 {
            self.flips.resize(entries, 0.0);
            self.flips[entry] += flip;
        }
    }

    /// Adds the products of the transposed `g` [k, rows] with x [rows, m].
    pub(super) fn add_products(&mut self, g: Vec<f64>, x: &[f64], m: usize) {
        let magnitudes = |values: &[f64]| values.iter().map(|it| it.abs()).collect::<Vec<_>>();
        let magnitude = product(&magnitudes(&g), &magnitudes(x), m);
        add(&mut self.sum, product(&g, x, m));
        add(&mut self.magnitude, magnitude);
    }

    /// Adds the squares of the same products to the squared errors.
    pub(super) fn add_squares(&mut self, g: Vec<f64>, x: &[f64], m: usize) {
        let squares = |values: &[f64]| values.iter().map(|it| it * it).collect::<Vec<_>>();
        add(&mut self.squares, product(&squares(&g), &squares(x), m));
    }

    /// Adds their magnitudes to the changes by kinks.
    pub(super) fn add_flips(&mut self, g: Vec<f64>, x: &[f64], m: usize) {
        let magnitudes: Vec<f64> = x.iter().map(|it| it.abs()).collect();
        add(&mut self.flips, product(&g, &magnitudes, m));
    }

    /// Returns the errors of a program's sums.
    pub(super) fn errors(&self, arithmetic: &Arithmetic) -> Errors {
        let together = growth(self.terms);
        let entry = |i: usize| {
            quadrature([
                together * self.squares.get(i).map_or(0.0, |square| square.sqrt()),
                if self.is_stored_each {
                    let floors = (self.terms as f64).sqrt() * arithmetic.of_result(0.0);
                    together * (self.magnitude[i] + floors)
                } else {
                    arithmetic.of_sum(self.terms, self.magnitude[i])
                },
                arithmetic.of_storing(self.sum[i]),
            ])
        };
        Errors {
            smooth: (0..self.sum.len()).map(entry).collect(),
            flips: if self.flips.is_empty() {
                vec![0.0; self.sum.len()]
            } else {
                self.flips.clone()
            },
        }
    }
}

/// Adds values to sums, which may be empty for zeros.
fn add(sums: &mut Vec<f64>, more: Vec<f64>) {
    if sums.is_empty() {
        *sums = more;
        return;
    }
    sums.iter_mut()
        .zip(more)
        .for_each(|(sum, more)| *sum += more);
}

/// Rows of a product that are worth a thread.
const ROWS: usize = 64;

/// Returns the product of left [k, rows] and right [rows, m], [k, m].
fn product(left: &[f64], right: &[f64], m: usize) -> Vec<f64> {
    let (packed, rows) = (Packed::new([right], m), right.len() / m);
    let mut product = vec![0.0; left.len() / rows * m];
    let parts = product
        .par_chunks_mut(ROWS * m)
        .zip(left.par_chunks(ROWS * rows));
    parts.for_each(|(part, left)| {
        let mut computed = Vec::new();
        matmul_into(&mut computed, left, &packed);
        part.copy_from_slice(&computed);
    });
    product
}
