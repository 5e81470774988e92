//! The kernel table: a row for each shader, with its source and bindings. Each has a twin of the same name in `cpu`.

use bytemuck::{Pod, Zeroable};

/// The uniform that every kernel reads; field by field the `Params` of shaders/common.wgsl.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows of the left operand in this dispatch.
    pub rows: u32,
    /// m: columns of the right operand, of the perturbed matrix, of the result.
    pub columns: u32,
    /// k.
    pub classes: u32,
    /// The first entry of this dispatch.
    pub first: u32,
    /// The part of the sum that this dispatch adds begins here,
    pub tile_begin: u32,
    /// and ends before this.
    pub tile_end: u32,
    /// 0, unknown to the compiler.
    pub zero: u32,
    /// offset·eps.
    pub step: f32,
    /// What the result is divided by.
    pub normalizer: f32,
    /// 1 where targets are more than a class alone.
    pub has_linear: u32,
    /// The weights of the conditioning: [`crate::plan::Law`].
    pub law_sums: f32,
    /// Likewise.
    pub law_accumulation: f32,
    /// 1 where the right operand counts by its magnitude.
    pub magnitudes: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            normalizer: 1.0,
            ..Self::zeroed()
        }
    }
}

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
}

/// Threads a workgroup, as in shaders/common.wgsl.
pub(super) const GROUP: usize = 64;

macro_rules! source {
    ($($file:literal),*) => {
        concat!(include_str!("../../shaders/common.wgsl"), $(include_str!(concat!("../../shaders/", $file, ".wgsl"))),*)
    };
}

impl Kernel {
    /// All of them, in the order of the forward pass.
    pub const ALL: [Self; 9] = [
        Self::Logits,
        Self::Residual,
        Self::Matmul,
        Self::Difference,
        Self::DifferenceLogits,
        Self::DifferenceWeight,
        Self::Outer,
        Self::Perturb,
        Self::Loss,
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
        }
    }

    /// Its WGSL, with what it shares.
    pub fn source(self) -> &'static str {
        match self {
            Self::Logits => source!("logits"),
            Self::Residual => source!("rows", "residual"),
            Self::Matmul => source!("product", "matmul"),
            Self::Difference => source!("product", "difference"),
            Self::DifferenceLogits => source!("difference_logits"),
            Self::DifferenceWeight => source!("difference_weight"),
            Self::Outer => source!("outer"),
            Self::Perturb => source!("perturb"),
            Self::Loss => source!("rows", "loss"),
        }
    }

    /// Its bindings in group 0, in order.
    pub fn bindings(self) -> &'static [Binding] {
        use Binding::{Params, Read, Write};
        match self {
            Self::Logits => &[Params, Read, Read, Read, Write, Write],
            Self::Residual => &[Params, Read, Read, Read, Read, Read, Write, Write, Write],
            Self::Matmul => &[Params, Read, Read, Write],
            Self::Difference => &[Params, Read, Read, Read, Read, Read, Write],
            Self::DifferenceLogits => &[Params, Read, Read, Read, Read, Write],
            Self::DifferenceWeight => &[Params, Read, Read, Read, Read, Read, Write],
            Self::Outer => &[Params, Read, Read, Write],
            Self::Perturb => &[Params, Read, Write],
            Self::Loss => &[Params, Read, Read, Read, Read, Write],
        }
    }

    /// Whether its threads share rows: then its pipeline is made for a number of threads a row.
    pub(super) fn reduces_rows(self) -> bool {
        matches!(self, Self::Residual | Self::Loss)
    }

    /// Threads that take one row of `classes`: one where that is as quick, else a whole workgroup, whose pairwise
    /// sums are also more accurate.
    pub(super) fn threads_per_row(self, classes: u32) -> usize {
        if self.reduces_rows() && classes > GROUP as u32 {
            GROUP
        } else {
            1
        }
    }

    /// Workgroups for `params`.
    pub(super) fn workgroups(self, params: &Params) -> usize {
        let (rows, columns, classes) = (
            params.rows as usize,
            params.columns as usize,
            params.classes as usize,
        );
        let threads = match self {
            Self::Logits | Self::DifferenceLogits => rows * classes,
            Self::Matmul | Self::Difference | Self::Perturb => rows * columns,
            Self::DifferenceWeight | Self::Outer => classes * columns,
            Self::Residual | Self::Loss => rows * self.threads_per_row(params.classes),
        };
        threads.div_ceil(GROUP)
    }
}
