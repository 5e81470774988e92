//! The kernel table: a row for each shader, with its source and bindings. Each has a twin of the same name in `cpu`.

use super::Params;
use crate::{cpu::compare::BLOCK_ROWS, report::DeviceKind, scheme::Precision};

/// What a kernel does with one of its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Reads the [`Params`].
    Params,
    /// Reads a storage buffer.
    Read,
    /// Writes a storage buffer.
    Write,
}

/// The kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kernel {
    Logits,
    Residual,
    Matmul,
    Difference,
    DifferenceLogits,
    DifferenceWeight,
    Outer,
    Perturb,
    Loss,
    Compare,
}

/// Threads a workgroup, as in shaders/common.wgsl.
pub(super) const GROUP: usize = 64;

/// Columns that the kernels take at a time: those of a matrix with d columns are padded to a multiple.
pub const TILE_COLUMNS: usize = 4;
/// Rows of a tile, as in shaders/product.wgsl.
pub(super) const TILE_ROWS: usize = 8;
/// Classes of a tile, as in shaders/logits.wgsl.
const TILE_CLASSES: usize = 4;

macro_rules! source {
    ($($file:literal),*) => {
        concat!($(include_str!(concat!("../../shaders/", $file, ".wgsl"))),*)
    };
    ($precision:expr, $($file:literal),*) => {
        match $precision {
            Precision::F32 => source!("f32", "common", $($file),*),
            Precision::F64 => source!("f64", "common", $($file),*),
        }
    };
}

impl Kernel {
    /// All of them, in the order of the forward pass.
    pub const ALL: [Self; 10] = [
        Self::Logits,
        Self::Residual,
        Self::Matmul,
        Self::Difference,
        Self::DifferenceLogits,
        Self::DifferenceWeight,
        Self::Outer,
        Self::Perturb,
        Self::Loss,
        Self::Compare,
    ];

    /// The name of its file in shaders/ and of its twin in `cpu`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Residual => "residual",
            Self::Matmul => "matmul",
            Self::Difference => "difference",
            Self::DifferenceLogits => "difference_logits",
            Self::DifferenceWeight => "difference_weight",
            Self::Outer => "outer",
            Self::Perturb => "perturb",
            Self::Loss => "loss",
            Self::Compare => "compare",
        }
    }

    /// Its WGSL, with what it shares.
    pub fn source(self, precision: Precision) -> &'static str {
        match self {
            Self::Logits => source!(precision, "logits"),
            Self::Residual => source!(precision, "rows", "residual"),
            Self::Matmul => source!(precision, "product", "matmul"),
            Self::Difference => source!(precision, "product", "difference"),
            Self::DifferenceLogits => source!(precision, "difference_logits"),
            Self::DifferenceWeight => source!(precision, "difference_weight"),
            Self::Outer => source!(precision, "outer"),
            Self::Perturb => source!(precision, "perturb"),
            Self::Loss => source!(precision, "rows", "loss"),
            Self::Compare => source!(precision, "allowance", "sums", "compare"),
        }
    }

    /// Its bindings in group 0, in order.
    pub fn bindings(self) -> &'static [Binding] {
        use Binding::{Params, Read, Write};
        match self {
            Self::Logits => &[Params, Read, Read, Read, Write, Write],
            Self::Residual => &[
                Params, Read, Read, Read, Read, Read, Write, Write, Write, Write,
            ],
            Self::Matmul => &[Params, Read, Read, Write],
            Self::Difference => &[Params, Read, Read, Read, Read, Read, Write, Write],
            Self::DifferenceLogits => &[Params, Read, Read, Read, Read, Write],
            Self::DifferenceWeight => &[Params, Read, Read, Read, Read, Read, Write],
            Self::Outer => &[Params, Read, Read, Write],
            Self::Perturb => &[Params, Read, Write],
            Self::Loss => &[Params, Read, Read, Read, Read, Write],
            Self::Compare => &[Params, Read, Read, Read, Read, Read, Write, Write],
        }
    }

    /// The constants that its pipeline is made for: how many threads take a row of classes; or how many invocations of a workgroup lie
    /// beside each other in a row of tiles, and whether they share what they read, as suits the kind of device.
    pub(super) fn constants(self, params: &Params, kind: DeviceKind) -> Vec<Constant> {
        match self {
            // One where that is as quick, else a whole workgroup, whose pairwise sums are also more accurate.
            Self::Residual | Self::Loss => vec![if params.classes > GROUP as u32 {
                Constant("threads_per_row", GROUP)
            } else {
                Constant("threads_per_row", 1)
            }],
            Self::Matmul | Self::Difference => {
                let width = params.columns as usize / TILE_COLUMNS;
                // Fewer invocations side by side waste its vectors: a real GPU's are 32 wide, a software adapter's 8.
                let (least, shares) = match kind {
                    DeviceKind::Software => (8, 0),
                    _ => (32, 1),
                };
                vec![
                    Constant("lanes", lanes(width, least)),
                    Constant("shares", shares),
                ]
            }
            _ => Vec::new(),
        }
    }

    /// Workgroups for `params`, with a pipeline made for `constants`.
    pub(super) fn workgroups(self, params: &Params, constants: &[Constant]) -> usize {
        let (rows, columns, classes) = (
            params.rows as usize,
            params.columns as usize,
            params.classes as usize,
        );
        let constant = constants.first().map_or(1, |Constant(_, value)| *value);
        match self {
            Self::Logits => {
                let bound = (params.class_end - params.class_begin) as usize;
                rows.div_ceil(GROUP) * bound.div_ceil(TILE_CLASSES)
            }
            Self::Matmul | Self::Difference => {
                rows.div_ceil(TILE_ROWS) * (columns / TILE_COLUMNS).div_ceil(constant)
            }
            Self::DifferenceLogits => (rows * classes).div_ceil(GROUP),
            Self::Perturb => (rows * columns).div_ceil(GROUP),
            Self::DifferenceWeight | Self::Outer => (classes * columns).div_ceil(GROUP),
            Self::Residual | Self::Loss => (rows * constant).div_ceil(GROUP),
            Self::Compare => rows.div_ceil(BLOCK_ROWS) * columns.div_ceil(GROUP),
        }
    }
}

/// A constant of a pipeline, by its name in the shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Constant(pub(super) &'static str, pub(super) usize);

/// The share of invocations that may have no columns.
const MOST_IDLE: f64 = 0.1;

/// How many invocations beside each other suit so many tiles in a row: many, unless too many of them had nothing to do.
fn lanes(width: usize, least: usize) -> usize {
    let idle = |lanes: &usize| (width.next_multiple_of(*lanes) - width) as f64 / width as f64;
    let choices = || [64, 32, 16, 8].into_iter().filter(|lanes| *lanes >= least);
    choices()
        .find(|lanes| idle(lanes) <= MOST_IDLE)
        .or_else(|| choices().min_by(|a, b| idle(a).total_cmp(&idle(b))))
        .unwrap_or(GROUP)
}
