//! Element types, and the error of rounding to them.

use std::{fmt, str::FromStr};

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// An element type of safetensors and PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Dtype {
    F16,
    BF16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
}

impl Dtype {
    /// Every element type.
    pub const ALL: [Self; 12] = [
        Self::F16,
        Self::BF16,
        Self::F32,
        Self::F64,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
    ];

    /// Returns the size of an element in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Returns true for the four floating-point types.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// Returns true for the types of half precision, f16 and bf16.
    pub(crate) fn is_half(self) -> bool {
        matches!(self, Self::F16 | Self::BF16)
    }

    /// Returns the unit roundoff u = 2^-p, with p the bits of the significand. Returns 0 for
    /// integers.
    pub fn unit_roundoff(self) -> f64 {
        match self {
            Self::F16 => 2f64.powi(-11),
            Self::BF16 => 2f64.powi(-8),
            Self::F32 => 2f64.powi(-24),
            Self::F64 => 2f64.powi(-53),
            _ => 0.0,
        }
    }

    /// Returns the error of 1/z rounded to this type, relative to 1/z, in units of the unit
    /// roundoff: 0 to 1. Returns 0 for f64, in which 1/z is computed, and for integers.
    pub fn lost_in_reciprocal(self, z: f64) -> f64 {
        match self {
            Self::F16 | Self::BF16 | Self::F32 => {
                (self.round(1.0 / z) * z - 1.0).abs() / self.unit_roundoff()
            }
            _ => 0.0,
        }
    }

    /// Rounds `value` to the nearest value of this type. Integer types return it unchanged.
    pub fn round(self, value: f64) -> f64 {
        match self {
            Self::F16 => f16::from_f64(value).to_f64(),
            Self::BF16 => bf16::from_f64(value).to_f64(),
            Self::F32 => f64::from(value as f32),
            _ => value,
        }
    }

    /// Returns the smallest positive value that a framework keeps. Devices may flush subnormals to
    /// zero, so this is the smallest normal value. For f16 it is the smallest subnormal, because
    /// every device computes with those. Returns 0 for integers.
    pub fn smallest_kept(self) -> f64 {
        match self {
            Self::F16 => 2f64.powi(-24),
            Self::BF16 | Self::F32 => f64::from(f32::MIN_POSITIVE),
            Self::F64 => f64::MIN_POSITIVE,
            _ => 0.0,
        }
    }
}

/// Reads the name of a floating-point type: as JSON uses it, or as PyTorch and NumPy do.
impl FromStr for Dtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.trim().to_lowercase();
        match name.strip_prefix("torch.").unwrap_or(&name) {
            "bf16" | "bfloat16" => Ok(Self::BF16),
            "f16" | "float16" | "half" => Ok(Self::F16),
            "f32" | "float32" | "float" => Ok(Self::F32),
            "f64" | "float64" | "double" => Ok(Self::F64),
            _ => Err("it must be bf16, f16, f32 or f64".to_owned()),
        }
    }
}

impl fmt::Display for Dtype {
    /// Writes the name that JSON uses, such as `f32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
