//! The arithmetic of the kernels.

use bytemuck::Pod;

use crate::{scheme::Precision, tensor::Real};

/// A type that the kernels compute in: f32 on every adapter, f64 if the adapter has it.
pub trait Element: Real + Pod {
    /// The precision of the type.
    const PRECISION: Precision;
}

impl Element for f32 {
    const PRECISION: Precision = Precision::F32;
}

impl Element for f64 {
    const PRECISION: Precision = Precision::F64;
}
