//! The inner product with a given gradient of the output: the check of an operator, or of a part of
//! a network, by its upstream gradient `grad_output`.

use std::ops::Range;

use super::{Loss, LossSpec};
use crate::{
    error::Result,
    network::values::{At, Errors},
    tensor::Tensor,
};

struct Dot {
    grad_output: Tensor,
}

pub(super) fn new(spec: &mut LossSpec) -> Result<Box<dyn Loss>> {
    let grad_output = spec.like_output("grad_output")?;
    Ok(Box::new(Dot { grad_output }))
}

impl Loss for Dot {
    fn difference(&self, rows: Range<usize>, y: &[f64], d: &[f64]) -> Vec<f64> {
        let width = self.grad_output.columns();
        let g = self.grad_output.rows::<f64>(rows);
        let products: Vec<f64> = (0..y.len()).map(|i| g[i] * d[i]).collect();
        products.chunks(width).map(|row| row.iter().sum()).collect()
    }

    fn pull(&self, rows: Range<usize>, _at: &At, gy: &mut [f64], _errors: &mut Errors) {
        gy.copy_from_slice(&self.grad_output.rows::<f64>(rows));
    }
}
