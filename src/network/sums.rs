//! The gradient of a parameter: a sum over all rows.

use super::{
    arithmetic::{Arithmetic, growth, quadrature},
    values::Errors,
};
use crate::cpu::matmul::matmul;

/// The sum behind the gradient of a parameter, and what bounds its errors. All `[entries]`.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) sum: Vec<f64>,
    /// Sums of magnitudes.
    magnitude: Vec<f64>,
    /// Sums of the squared errors of the terms.
    squares: Vec<f64>,
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
            squares: zeros(),
            flips: zeros(),
            terms: 0,
            is_stored_each: false,
        }
    }

    /// Adds a term to an entry.
    pub(super) fn add(&mut self, entry: usize, term: &Term) {
        let product = term.g * term.factor;
        self.sum[entry] += product;
        self.magnitude[entry] += product.abs();
        self.squares[entry] +=
            (term.of_g * term.factor).powi(2) + (term.g * term.of_factor).powi(2);
        self.flips[entry] += term.flips * term.factor.abs();
    }

    /// Adds the products of the transposed `g` [k, rows] with x [rows, m].
    pub(super) fn add_products(&mut self, g: Vec<f64>, x: &[f64], m: usize) {
        let magnitudes = |values: &[f64]| values.iter().map(|it| it.abs()).collect::<Vec<_>>();
        let magnitude = matmul(&magnitudes(&g), &magnitudes(x), m);
        add(&mut self.sum, matmul(&g, x, m));
        add(&mut self.magnitude, magnitude);
    }

    /// Adds the squares of the same products to the squared errors.
    pub(super) fn add_squares(&mut self, g: Vec<f64>, x: &[f64], m: usize) {
        let squares = |values: &[f64]| values.iter().map(|it| it * it).collect::<Vec<_>>();
        add(&mut self.squares, matmul(&squares(&g), &squares(x), m));
    }

    /// Adds their magnitudes to the changes by kinks.
    pub(super) fn add_flips(&mut self, g: Vec<f64>, x: &[f64], m: usize) {
        let magnitudes: Vec<f64> = x.iter().map(|it| it.abs()).collect();
        add(&mut self.flips, matmul(&g, &magnitudes, m));
    }

    /// Adds the sums over other rows.
    pub(super) fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.sum, &other.sum),
            (&mut self.magnitude, &other.magnitude),
            (&mut self.squares, &other.squares),
            (&mut self.flips, &other.flips),
        ];
        for (sums, more) in pairs {
            add(sums, more.iter().copied());
        }
        self.terms += other.terms;
        self.is_stored_each |= other.is_stored_each;
    }

    /// Returns the errors of a program's sums.
    pub(super) fn errors(&self, arithmetic: &Arithmetic) -> Errors {
        let together = growth(self.terms);
        let entry = |i: usize| {
            quadrature([
                together * self.squares[i].sqrt(),
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
            flips: self.flips.clone(),
        }
    }
}

fn add(sums: &mut [f64], more: impl IntoIterator<Item = f64>) {
    sums.iter_mut()
        .zip(more)
        .for_each(|(sum, more)| *sum += more);
}
