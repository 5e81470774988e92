//! Row-major tensors as they lie in a file: element type, shape and little-endian bytes, in memory
//! or mapped. Values are converted where they are used, a range of rows at a time.

use std::{fmt, ops::Range, sync::Arc};

use half::{bf16, f16};
use num_traits::{Float, FromPrimitive};
use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result};

/// The two types that a gradient can be computed in.
pub trait Real:
    Float + FromPrimitive + Default + Send + Sync + std::ops::AddAssign + fmt::Debug + 'static
{
    /// Rounds from f64.
    fn of(value: f64) -> Self;
    /// Widens to f64, exactly.
    fn f64(self) -> f64;
    /// Widens a vector.
    fn widen(values: Vec<Self>) -> Vec<f64>;
    /// A vector to be overwritten, in the memory of one that was widened, if that can be.
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

/// An element type, by its name in safetensors and PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
    /// All of them.
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

    /// Bytes an element.
    pub fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Whether it is one of the four floating-point types.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// The unit roundoff u = 2^-p, p the bits of the significand; 0 for integers.
    pub fn unit_roundoff(self) -> f64 {
        match self {
            Self::F16 => 2f64.powi(-11),
            Self::BF16 => 2f64.powi(-8),
            Self::F32 => 2f64.powi(-24),
            Self::F64 => 2f64.powi(-53),
            _ => 0.0,
        }
    }

    /// How far 1/z, rounded to this type, is from 1/z, in units of its roundoff: 0 to 1; 0 for integers.
    pub fn lost_in_reciprocal(self, z: f64) -> f64 {
        let rounded = match self {
            Self::F16 => f16::from_f64(1.0 / z).to_f64(),
            Self::BF16 => bf16::from_f64(1.0 / z).to_f64(),
            Self::F32 => f64::from((1.0 / z) as f32),
            _ => return 0.0,
        };
        (rounded * z - 1.0).abs() / self.unit_roundoff()
    }

    /// The nearest value of this type; of integers, the value itself.
    pub fn round(self, value: f64) -> f64 {
        match self {
            Self::F16 => f16::from_f64(value).to_f64(),
            Self::BF16 => bf16::from_f64(value).to_f64(),
            Self::F32 => f64::from(value as f32),
            _ => value,
        }
    }

    /// The smallest positive value that a framework keeps: where subnormals may be flushed to zero the smallest
    /// normal one, but f16, whose subnormals every device computes with; 0 for integers.
    pub fn smallest_kept(self) -> f64 {
        match self {
            Self::F16 => 2f64.powi(-24),
            Self::BF16 | Self::F32 => f64::from(f32::MIN_POSITIVE),
            Self::F64 => f64::MIN_POSITIVE,
            _ => 0.0,
        }
    }
}

impl fmt::Display for Dtype {
    /// Writes the name in JSON, `f32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Where bytes are kept: a vector, or a file's mapping.
pub trait Storage: Send + Sync {
    /// All of them.
    fn bytes(&self) -> &[u8];

    /// Is told how many of them were just read: a mapping keeps only so many in memory.
    fn was_read(&self, _bytes: usize) {}
}

impl Storage for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// Bytes that tensors share.
pub type Bytes = Arc<dyn Storage>;

/// A row-major tensor: `shape[0]` rows of `shape[1..]` elements each.
#[derive(Clone)]
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Bytes,
    /// Where in `bytes` the elements lie.
    place: Range<usize>,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)
    }
}

impl Tensor {
    /// A tensor over `bytes[place]`, little-endian. `None` where the place lies outside of the bytes or
    /// its length is not the product of the shape and the element's size.
    pub fn over(
        dtype: Dtype,
        shape: Vec<usize>,
        bytes: Bytes,
        place: Range<usize>,
    ) -> Option<Self> {
        let size = shape
            .iter()
            .try_fold(dtype.size(), |size, &extent| size.checked_mul(extent))?;
        let fits = bytes.bytes().get(place.clone())?.len() == size;
        fits.then_some(Self {
            dtype,
            shape,
            bytes,
            place,
        })
    }

    /// An f64 tensor of `values`, whose number is the product of `shape`.
    pub fn from_f64(shape: &[usize], values: &[f64]) -> Self {
        Self::from_le(
            Dtype::F64,
            shape,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    /// An f32 tensor of `values`, whose number is the product of `shape`.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Self {
        Self::from_le(
            Dtype::F32,
            shape,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    /// The same times a factor, each value rounded to its type; of floats only, and itself where the factor is 1.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        if factor == 1.0 {
            return self.clone();
        }
        let values = self.values::<f64>().into_iter().map(|value| value * factor);
        let bytes = match self.dtype {
            Dtype::F16 => values
                .flat_map(|v| f16::from_f64(v).to_le_bytes())
                .collect(),
            Dtype::BF16 => values
                .flat_map(|v| bf16::from_f64(v).to_le_bytes())
                .collect(),
            Dtype::F32 => values.flat_map(|v| (v as f32).to_le_bytes()).collect(),
            _ => return Self::from_f64(&self.shape, &values.collect::<Vec<_>>()),
        };
        Self::from_le(self.dtype, &self.shape, bytes)
    }

    /// An i64 tensor `[n]` of class indices.
    pub fn from_classes(classes: &[i64]) -> Self {
        Self::from_le(
            Dtype::I64,
            &[classes.len()],
            classes.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    fn from_le(dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> Self {
        let place = 0..bytes.len();
        Self::over(dtype, shape.to_vec(), Arc::new(bytes), place)
            .expect("as many values as the shape holds")
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements a row.
    pub fn columns(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// The elements of a range of rows, converted to `T`; integers too.
    pub fn rows<T: Real>(&self, rows: Range<usize>) -> Vec<T> {
        let mut values = Vec::new();
        self.read(rows, &mut values);
        values
    }

    /// The same into `values`, whatever that held.
    pub fn read<T: Real>(&self, rows: Range<usize>, values: &mut Vec<T>) {
        let bytes = self.bytes_of(&rows);
        macro_rules! convert {
            ($type:ty, $to:expr) => {{
                let (chunks, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
                values.resize(chunks.len(), T::zero());
                // Several at a time.
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        for (value, bytes) in values.iter_mut().zip(chunks) {
                            *value = $to(<$type>::from_le_bytes(*bytes));
                        }
                    },
                );
            }};
        }
        match self.dtype {
            Dtype::F16 => convert!(f16, |v: f16| T::of(v.to_f64())),
            Dtype::BF16 => convert!(bf16, |v: bf16| T::of(v.to_f64())),
            Dtype::F32 => convert!(f32, |v| T::of(f64::from(v))),
            Dtype::F64 => convert!(f64, T::of),
            _ => {
                let integers = self.integers(rows).into_iter();
                *values = integers.map(|v| T::of(v as f64)).collect();
            }
        }
        self.bytes.was_read(bytes.len());
    }

    /// All elements, converted to `T`.
    pub fn values<T: Real>(&self) -> Vec<T> {
        self.rows(0..self.shape.first().copied().unwrap_or(1))
    }

    /// The elements of a range of rows of an integer tensor; u64 values past i64 become negative, which
    /// no class index is. Empty for a floating-point tensor.
    pub fn integers(&self, rows: Range<usize>) -> Vec<i64> {
        let bytes = self.bytes_of(&rows);
        macro_rules! convert {
            ($type:ty) => {
                bytes
                    .chunks_exact(size_of::<$type>())
                    .map(|b| {
                        <$type>::from_le_bytes(b.try_into().expect("chunks of that size")) as i64
                    })
                    .collect()
            };
        }
        match self.dtype {
            Dtype::I8 => convert!(i8),
            Dtype::I16 => convert!(i16),
            Dtype::I32 => convert!(i32),
            Dtype::I64 => convert!(i64),
            Dtype::U8 => convert!(u8),
            Dtype::U16 => convert!(u16),
            Dtype::U32 => convert!(u32),
            Dtype::U64 => convert!(u64),
            _ => Vec::new(),
        }
    }

    /// How many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.place.len()
    }

    /// All of its bytes, little-endian.
    pub(crate) fn contents(&self) -> &[u8] {
        &self.bytes.bytes()[self.place.clone()]
    }

    fn bytes_of(&self, rows: &Range<usize>) -> &[u8] {
        &self.bytes.bytes()[self.rows_place(rows)]
    }

    /// Where in the storage a range of rows lies.
    fn rows_place(&self, rows: &Range<usize>) -> Range<usize> {
        let width = self.columns() * self.dtype.size();
        self.place.start + rows.start * width..self.place.start + rows.end * width
    }

    /// A range of its rows, where they lie.
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let place = self.rows_place(&rows);
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        Self {
            shape,
            place,
            ..self.clone()
        }
    }

    /// A copy of some of its rows.
    pub fn gather(&self, rows: &[usize]) -> Self {
        let copied = rows
            .iter()
            .flat_map(|&row| self.bytes_of(&(row..row + 1)))
            .copied()
            .collect();
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        self.bytes
            .was_read(rows.len() * self.columns() * self.dtype.size());
        Self::from_le(self.dtype, &shape, copied)
    }

    /// # Errors
    /// [`Error::Dtype`] if it holds integers, [`Error::Shape`] if an extent is 0.
    pub fn require_float(&self, name: &'static str) -> Result<()> {
        if !self.dtype.is_float() {
            let found = self.dtype.to_string();
            return Err(Error::Dtype {
                name: name.to_owned(),
                expected: "f16, bf16, f32 or f64 values",
                found,
            });
        }
        self.require_elements(name)
    }

    /// # Errors
    /// [`Error::Shape`] if an extent is 0.
    pub fn require_elements(&self, name: &'static str) -> Result<()> {
        if self.shape.contains(&0) {
            let expected = "a tensor without elements cannot be checked".to_owned();
            return Err(Error::Shape {
                name,
                expected,
                found: self.shape.clone(),
            });
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::NotFinite`], naming the first entry that is NaN or infinite.
    pub fn require_finite(&self, name: &'static str) -> Result<()> {
        self.require_finite_rows(name, 0..self.shape.first().copied().unwrap_or(1), 0)
    }

    /// The same of a range of rows, of which the tensor's first has the number `first`.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn require_finite_rows(
        &self,
        name: &'static str,
        rows: Range<usize>,
        first: usize,
    ) -> Result<()> {
        let columns = self.columns();
        let bad = rows.into_par_iter().with_min_len(64).find_map_first(|row| {
            let values = self.rows::<f64>(row..row + 1);
            let column = values.iter().position(|v| !v.is_finite())?;
            Some((row, column, values[column]))
        });
        match bad {
            None => Ok(()),
            Some((row, column, value)) => {
                let index = if self.shape.len() > 1 {
                    vec![first + row, column % columns]
                } else {
                    vec![first + row]
                };
                Err(Error::NotFinite { name, index, value })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_convert_every_float_type() {
        let values = [1.0, -2.5, 0.0, 3.0, 0.5, -0.25];
        let halves = values
            .iter()
            .flat_map(|&v| f16::from_f64(v).to_le_bytes())
            .collect();
        let brains = values
            .iter()
            .flat_map(|&v| bf16::from_f64(v).to_le_bytes())
            .collect();
        let tensors = [
            Tensor::from_f64(&[3, 2], &values),
            Tensor::from_f32(&[3, 2], &values.map(|v| v as f32)),
            Tensor::from_le(Dtype::F16, &[3, 2], halves),
            Tensor::from_le(Dtype::BF16, &[3, 2], brains),
        ];
        for tensor in tensors {
            assert_eq!(tensor.rows::<f64>(1..3), &values[2..], "{tensor:?}");
            assert_eq!(
                tensor.values::<f32>(),
                values.map(|v| v as f32),
                "{tensor:?}"
            );
        }
    }

    #[test]
    fn a_place_that_does_not_fit_is_refused() {
        let bytes: Bytes = Arc::new(vec![0u8; 16]);
        assert!(Tensor::over(Dtype::F32, vec![2, 2], bytes.clone(), 0..16).is_some());
        assert!(Tensor::over(Dtype::F32, vec![2, 2], bytes.clone(), 0..12).is_none());
        assert!(Tensor::over(Dtype::F32, vec![2, 2], bytes.clone(), 4..20).is_none());
        assert!(Tensor::over(Dtype::F32, vec![usize::MAX, 2], bytes, 0..16).is_none());
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_named() {
        let mut values = vec![0.0; 200 * 3];
        values[150 * 3 + 2] = f64::NAN;
        values[199 * 3] = f64::INFINITY;
        let error = Tensor::from_f64(&[200, 3], &values)
            .require_finite("input")
            .unwrap_err();
        assert!(
            error.to_string().starts_with("input[150,2] is NaN,"),
            "{error}"
        );
    }
}
