//! The scalar types of the kernels.

use std::{fmt::Debug, ops::AddAssign};

use num_traits::{Float, FromPrimitive};

/// A type that a gradient can be computed in: f32 or f64.
pub trait Real:
    Float + FromPrimitive + Default + Send + Sync + AddAssign + Debug + 'static
{
    /// Rounds from f64.
    fn of(value: f64) -> Self;
    /// Widens to f64, exactly.
    fn f64(self) -> f64;
    /// Widens every value to f64. A vector of f64 is returned unchanged.
    fn widen(values: Vec<Self>) -> Vec<f64>;
    /// Returns a vector to overwrite. Takes the memory of `widened` if the types are equal.
    fn reuse(widened: &mut Vec<f64>) -> Vec<Self>;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn f64(self) -> f64 {
        f64::from(self)
    }
    fn widen(values: Vec<Self>) -> Vec<f64> {
        values.into_iter().map(f64::from).collect()
    }
    fn reuse(_widened: &mut Vec<f64>) -> Vec<Self> {
        Vec::new()
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn f64(self) -> f64 {
        self
    }
    fn widen(values: Vec<Self>) -> Vec<f64> {
        values
    }
    fn reuse(widened: &mut Vec<f64>) -> Vec<Self> {
        std::mem::take(widened)
    }
}
