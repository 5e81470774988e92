//! The GPU engine, the only module that names wgpu.
//!
//! | files | contents |
//! |---|---|
//! | adapter, device, buffer, pipeline | wgpu: adapters, an open one, buffers and pipelines |
//! | batch, readback | launches that are submitted as one, and their results |
//! | kernel, element | the kernel table: shaders, their parameters, their CPU twins, samples |
//! | probe, trial | the self-probe that a device passes before its first use |
//! | columns, tiles, sizes | padding, the splitting of long sums, the sizes of a call's buffers |
//! | weight, forward, derivative, losses, comparison | one part of an evaluation each |
//! | engine, comparing, evaluated | the complete engine, behind the traits of [`crate::engine`] |
//!
//! Shaders compute in f32, or in f64 if the adapter has it. Losses are subtracted on the host, in
//! f64.

mod adapter;
mod batch;
mod buffer;
mod columns;
mod comparing;
mod comparison;
mod derivative;
mod device;
mod element;
mod engine;
mod evaluated;
mod forward;
pub mod kernel;
mod losses;
mod pipeline;
mod probe;
mod readback;
mod sizes;
mod tiles;
mod trial;
mod weight;

#[cfg(test)]
mod tests;

pub use adapter::{Adapter, adapters};
pub use batch::Batch;
pub use buffer::Buffer;
pub use device::GpuDevice;
pub use element::Element;
pub use engine::GpuEngine;
pub use readback::{Readback, Submitted};

use columns::Columns;
