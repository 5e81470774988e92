//! The arithmetic of the kernels.

use bytemuck::Pod;

use crate::{scheme::Precision, tensor::Real};

/// A type that the kernels are made for: f32 everywhere, f64 where the adapter has it.
pub trait Element: Real + Pod {
    /// What it is called.
    const PRECISION: Precision;
}

impl Element for f32 {
    const PRECISION: Precision = Precision::F32;
}

impl Element for f64 {
    const PRECISION: Precision = Precision::F64;
}
