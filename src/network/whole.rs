//! Values and gradients of all samples, put together from blocks.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    build::Network,
    reverse::{Handed, Reverse},
};
use crate::tensor::Tensor;

impl Network {
    /// Returns the values at a place, [n, ...].
    pub(super) fn value(&self, place: usize) -> Tensor {
        self.whole(place, |rows| {
            self.forward(rows, None).values.swap_remove(place)
        })
    }

    /// Returns the numeric gradient at a place, [n, ...].
    pub(super) fn numeric_gradient(&self, place: usize) -> Tensor {
        let of_block = |mut block: Reverse| block.gradients.swap_remove(place).0;
        self.whole(place, |rows| {
            of_block(self.block(rows, Handed::Given, None))
        })
    }

    fn whole(&self, place: usize, of: impl Fn(&Range<usize>) -> Vec<f64> + Send + Sync) -> Tensor {
        let blocks = self.blocks(0..self.n);
        let values: Vec<f64> = blocks.par_iter().flat_map_iter(of).collect();
        let shape = [&[self.n], self.values[place].shape.as_slice()].concat();
        Tensor::from_f64(&shape, &values)
    }
}
