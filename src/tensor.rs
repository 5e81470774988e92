//! Row-major tensors as a file stores them: element type, shape and little-endian bytes, in memory
//! or memory-mapped. Nothing is converted on loading: readers convert the rows that they need.

use std::{fmt, ops::Range, sync::Arc};

use half::{bf16, f16};
use rayon::prelude::*;

pub use dtype::Dtype;
pub use real::Real;

use crate::error::{Error, Result};

mod dtype;
mod real;
mod transpose;

#[cfg(feature = "files")]
pub(crate) use transpose::transposed;

/// Memory that holds the bytes of tensors: a vector, a memory-mapped file, or an object in a store.
pub trait Storage: Send + Sync {
    /// Returns all bytes. Those of an object in a store are zero until they are fetched.
    fn bytes(&self) -> &[u8];

    /// Returns some of the bytes, which must have been fetched.
    fn range(&self, place: Range<usize>) -> &[u8] {
        &self.bytes()[place]
    }

    /// Fetches some of the bytes, unless they are in memory or in a file.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn fetch(&self, _place: Range<usize>) -> Result<()> {
        Ok(())
    }

    /// Records that `_bytes` bytes were read. A memory-mapped file counts them to decide when to
    /// release its pages.
    fn was_read(&self, _bytes: usize) {}
}

impl Storage for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// Storage that several tensors share.
pub type Bytes = Arc<dyn Storage>;

/// A row-major tensor: `shape[0]` rows of `shape[1..]` elements each.
#[derive(Clone)]
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Bytes,
    /// Range of the elements in `bytes`.
    place: Range<usize>,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)
    }
}

impl Tensor {
    /// Returns a tensor over the little-endian values in `bytes[place]`. Returns `None` if `place`
    /// is out of bounds, or if its length is not the product of `shape` times the size of an
    /// element.
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

    /// Returns an f64 tensor. `shape` must multiply to the number of `values`.
    pub fn from_f64(shape: &[usize], values: &[f64]) -> Self {
        Self::from_le(
            Dtype::F64,
            shape,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    /// Returns an f32 tensor. `shape` must multiply to the number of `values`.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Self {
        Self::from_le(
            Dtype::F32,
            shape,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    /// Returns the tensor times `factor`, each product rounded to the element type. Defined for
    /// floating-point tensors only. A factor of 1 shares the bytes.
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

    /// Returns an i64 tensor `[n]` of class indices.
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
            .expect("the shape multiplies to the number of values")
    }

    /// Returns the element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Returns the size of each dimension, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the number of elements in a row.
    pub fn columns(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Returns the elements of a range of rows, converted to `T`. Integers are converted too.
    pub fn rows<T: Real>(&self, rows: Range<usize>) -> Vec<T> {
        let mut values = Vec::new();
        self.read(rows, &mut values);
        values
    }

    /// Overwrites `values` with the elements of a range of rows, converted to `T`.
    pub fn read<T: Real>(&self, rows: Range<usize>, values: &mut Vec<T>) {
        let bytes = self.bytes_of(&rows);
        macro_rules! convert {
            ($type:ty, $to:expr) => {{
                let (chunks, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
                values.resize(chunks.len(), T::zero());
                // Vector instructions convert several values at a time.
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

    /// Returns all elements, converted to `T`.
    pub fn values<T: Real>(&self) -> Vec<T> {
        self.rows(0..self.shape.first().copied().unwrap_or(1))
    }

    /// Returns the elements of a range of rows of an integer tensor. A u64 beyond the range of i64
    /// becomes negative, so that no caller takes it for a class index. Returns nothing for a
    /// floating-point tensor.
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

    /// Returns the size in bytes.
    pub fn nbytes(&self) -> usize {
        self.place.len()
    }

    /// Returns the elements as little-endian bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.range(self.place.clone())
    }

    fn bytes_of(&self, rows: &Range<usize>) -> &[u8] {
        self.bytes.range(self.rows_place(rows))
    }

    /// Fetches all elements, if an object in a store holds them.
    ///
    /// # Errors
    /// [`Error::Io`].
    #[cfg(feature = "files")]
    pub(crate) fn fetch(&self) -> Result<()> {
        self.bytes.fetch(self.place.clone())
    }

    /// Fetches a range of rows, if an object in a store holds them.
    ///
    /// # Errors
    /// [`Error::Io`].
    #[cfg(feature = "files")]
    pub(crate) fn fetch_rows(&self, rows: &Range<usize>) -> Result<()> {
        self.bytes.fetch(self.rows_place(rows))
    }

    /// Returns the place of a range of rows in the storage.
    fn rows_place(&self, rows: &Range<usize>) -> Range<usize> {
        let width = self.columns() * self.dtype.size();
        self.place.start + rows.start * width..self.place.start + rows.end * width
    }

    /// Returns a range of rows. They share the bytes of this tensor.
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

    /// Returns a copy of the given rows, in the given order.
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

    /// Returns the tensor in another shape of as many elements. It shares the bytes.
    ///
    /// # Panics
    /// If the number of elements differs.
    pub fn reshaped(&self, shape: &[usize]) -> Self {
        let count = |shape: &[usize]| shape.iter().product::<usize>();
        assert_eq!(count(shape), count(&self.shape));
        Self {
            shape: shape.to_vec(),
            ..self.clone()
        }
    }

    /// Returns a copy in which each of the consecutive row-major matrices [rows, columns] that the
    /// tensor consists of is transposed: a tensor [matrices, columns, rows].
    pub(crate) fn transposed(&self, rows: usize, columns: usize) -> Self {
        let bytes = transpose::transposed(self.as_bytes(), self.dtype.size(), rows, columns);
        self.bytes.was_read(bytes.len());
        let matrices = self.shape.iter().product::<usize>() / (rows * columns);
        Self::from_le(self.dtype, &[matrices, columns, rows], bytes)
    }

    /// Requires floating-point elements, and at least one of them. `name` is for the message.
    ///
    /// # Errors
    /// [`Error::Dtype`] if the tensor holds integers, [`Error::Shape`] if a dimension is 0.
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

    /// Requires at least one element. `name` is for the message.
    ///
    /// # Errors
    /// [`Error::Shape`] if a dimension is 0.
    pub fn require_elements(&self, name: &'static str) -> Result<()> {
        if self.shape.contains(&0) {
            let expected = "no dimension may be 0".to_owned();
            return Err(Error::Shape {
                name,
                expected,
                found: self.shape.clone(),
            });
        }
        Ok(())
    }

    /// Returns true if every element is finite.
    pub(crate) fn is_finite(&self) -> bool {
        self.not_finite(0..self.shape.first().copied().unwrap_or(1))
            .is_none()
    }

    /// Returns the row, the place in it and the value of the first element of a range of rows that
    /// is NaN or infinite.
    fn not_finite(&self, rows: Range<usize>) -> Option<(usize, usize, f64)> {
        rows.into_par_iter().with_min_len(64).find_map_first(|row| {
            let values = self.rows::<f64>(row..row + 1);
            let column = values.iter().position(|v| !v.is_finite())?;
            Some((row, column, values[column]))
        })
    }

    /// Requires every element to be finite. `name` is for the message.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first entry that is NaN or infinite.
    pub fn require_finite(&self, name: &'static str) -> Result<()> {
        self.require_finite_rows(name, 0..self.shape.first().copied().unwrap_or(1), 0)
    }

    /// Requires every element of a range of rows to be finite. `first` is the number of the
    /// tensor's first row in the file, for the message.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first entry that is NaN or infinite.
    pub(crate) fn require_finite_rows(
        &self,
        name: &'static str,
        rows: Range<usize>,
        first: usize,
    ) -> Result<()> {
        let columns = self.columns();
        match self.not_finite(rows) {
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
    fn converts_every_float_type() {
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
    fn rejects_a_place_that_does_not_fit() {
        let bytes: Bytes = Arc::new(vec![0u8; 16]);
        assert!(Tensor::over(Dtype::F32, vec![2, 2], bytes.clone(), 0..16).is_some());
        assert!(Tensor::over(Dtype::F32, vec![2, 2], bytes.clone(), 0..12).is_none());
        assert!(Tensor::over(Dtype::F32, vec![2, 2], bytes.clone(), 4..20).is_none());
        assert!(Tensor::over(Dtype::F32, vec![usize::MAX, 2], bytes, 0..16).is_none());
    }

    #[test]
    fn reports_the_first_value_that_is_not_finite() {
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
