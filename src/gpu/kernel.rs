//! The kernel table: one row for each kernel in shaders/.
//!
//! A new kernel needs a file in shaders/, a file in this folder and a row in [`KERNELS`]. The file
//! in this folder holds the row, the parameters of a launch, the CPU twin, and sample launches. The
//! tests and the self-probe loop over the table: they run the samples on a device and compare each
//! result with the twin's.

use std::fmt;

use crate::{report::DeviceKind, scheme::Precision};

pub mod compare;
pub mod difference;
pub mod difference_logits;
pub mod difference_weight;
pub mod logits;
pub mod loss;
pub mod matmul;
pub mod operand;
pub mod outer;
pub mod params;
pub mod perturb;
mod product;
pub mod residual;
mod rows;
pub mod sample;

pub(super) use product::TILE_ROWS;

use operand::{Disagreement, Operand};
use sample::{Sample, Sampler};

/// All kernels, in the order of the forward pass.
pub static KERNELS: [&Kernel; 10] = [
    &logits::KERNEL,
    &residual::KERNEL,
    &matmul::KERNEL,
    &difference::KERNEL,
    &difference_logits::KERNEL,
    &difference_weight::KERNEL,
    &outer::KERNEL,
    &perturb::KERNEL,
    &loss::KERNEL,
    &compare::KERNEL,
];

/// One row of the kernel table.
pub struct Kernel {
    /// The name of the kernel's file in shaders/.
    pub name: &'static str,
    /// WGSL that the kernel shares with other kernels.
    pub shared: &'static [&'static str],
    /// The kernel's own WGSL.
    pub wgsl: &'static str,
    /// The storage buffers that the kernel binds, in order, after its parameters.
    pub bindings: &'static [Binding],
    /// Draws launches that together reach every branch of the shader.
    pub samples: fn(&mut Sampler) -> Vec<Sample>,
}

/// A storage buffer of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The buffer's name in the shader.
    pub name: &'static str,
    /// True if the kernel writes the buffer.
    pub is_written: bool,
}

/// One dispatch of a kernel: the values of the shader's `Params`.
pub trait Launch: params::Params + fmt::Debug {
    /// Returns the kernel's row.
    fn kernel(&self) -> &'static Kernel;

    /// Returns the pipeline constants that suit a kind of device.
    fn constants(&self, _kind: DeviceKind) -> Vec<Constant> {
        Vec::new()
    }

    /// Returns the number of workgroups, for a pipeline with these constants.
    fn workgroups(&self, constants: &[Constant]) -> usize;

    /// Computes the kernel's results on the host, in f64, as a reference for a device of
    /// `precision`. Takes the operands in the order of the bindings and overwrites those that the
    /// kernel writes.
    fn twin(&self, precision: Precision, operands: &mut [Operand]);

    /// Returns the first result that differs from the twin's by more than rounding explains.
    fn disagreement(&self, outcome: &Outcome<'_>) -> Option<Disagreement>;
}

/// The operands of one launch, before and after.
pub struct Outcome<'a> {
    /// The arithmetic of the device.
    pub precision: Precision,
    /// The operands before the launch.
    pub before: &'a [Operand],
    /// The operands as the device left them.
    pub found: &'a [Operand],
    /// The operands as the twin left them.
    pub expected: &'a [Operand],
}

/// A pipeline constant: its name in the shader, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Constant(pub &'static str, pub usize);

/// Threads of a workgroup, `GROUP` in shaders/common.wgsl.
pub(super) const GROUP: usize = 64;

/// Columns that a kernel reads at a time. A matrix with d columns is padded to a multiple of this
/// number.
pub const TILE_COLUMNS: usize = 4;

/// WGSL that every kernel includes after its arithmetic.
pub(super) const COMMON: &str = include_str!("../../shaders/common.wgsl");
/// WGSL of the elementary functions.
pub(super) const FUNCTIONS: &str = include_str!("../../shaders/functions.wgsl");
/// WGSL of reductions over the classes of a row.
const ROWS: &str = include_str!("../../shaders/rows.wgsl");
/// WGSL of the tiles of a product.
const TILE: &str = include_str!("../../shaders/tile.wgsl");
/// WGSL of the entry point of kernels that compute a product in tiles.
const PRODUCT: &str = include_str!("../../shaders/product.wgsl");

impl Kernel {
    /// Returns the kernel's WGSL with everything that it includes.
    pub fn source(&self, precision: Precision) -> String {
        let parts = [arithmetic(precision), COMMON];
        let parts = parts.iter().chain(self.shared).chain([&self.wgsl]);
        parts.copied().collect()
    }

    /// Returns true if the shader's `Params` end in `zero`, which `keep` in
    /// shaders/functions.wgsl reads.
    pub fn has_zero(&self) -> bool {
        self.shared.contains(&FUNCTIONS)
    }
}

/// Returns the WGSL that defines the arithmetic of a precision.
pub(super) fn arithmetic(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => include_str!("../../shaders/f32.wgsl"),
        Precision::F64 => include_str!("../../shaders/f64.wgsl"),
    }
}

const fn reads(name: &'static str) -> Binding {
    Binding {
        name,
        is_written: false,
    }
}

const fn writes(name: &'static str) -> Binding {
    Binding {
        name,
        is_written: true,
    }
}

/// Returns the number of workgroups that give each of `entries` entries an invocation.
fn groups_of_entries(entries: usize) -> usize {
    entries.div_ceil(GROUP)
}
