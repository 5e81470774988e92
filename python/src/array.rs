//! Arrays of Python as tensors over the same memory: by DLPack, or by the buffer protocol.

use std::sync::Arc;

use dlpark::{
    ffi::DLDataType,
    python::{ImportedDlpack, from_dlpack},
};
use gradprobe::tensor::{Dtype, Storage, Tensor};
use pyo3::{
    buffer::{ElementType, PyUntypedBuffer},
    exceptions::PyBufferError,
    prelude::*,
};

use crate::error::case_error;

/// Memory that an array of Python owns, and that stays alive as long as this value.
struct Borrowed {
    /// The address of the first byte; dangling if there are none.
    start: *const u8,
    length: usize,
    /// The object that keeps the memory alive.
    _owner: Owner,
}

enum Owner {
    Dlpack(#[allow(dead_code)] ImportedDlpack),
    Buffer(#[allow(dead_code)] PyUntypedBuffer),
}

// SAFETY: the memory is only read. Nothing stops the caller from writing into it meanwhile, from
// Python or from another thread; the numbers that are read are then undefined, as in any library
// that releases the GIL over shared arrays. The owners may be dropped on any thread: both acquire
// the GIL for it.
#[allow(unsafe_code)]
unsafe impl Send for Borrowed {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Borrowed {}

impl Storage for Borrowed {
    fn bytes(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: `start` and `length` are those that the owner has validated, and the owner lives
        // as long as `self`.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(self.start, self.length)
        }
    }
}

/// Returns a tensor over the memory of `array`. `dtype` replaces the array's element type, for
/// types that neither protocol knows.
///
/// # Errors
/// CaseError if the element type is none of the library's, BufferError if the array offers neither
/// protocol, or is not contiguous.
pub(crate) fn tensor(
    name: &str,
    array: &Bound<'_, PyAny>,
    dtype: Option<&str>,
) -> PyResult<Tensor> {
    let by_dlpack = array.hasattr("__dlpack__")?;
    let imported = if by_dlpack {
        from_dlpack(array.as_borrowed(), None, None)
    } else {
        Err(PyBufferError::new_err("no DLPack"))
    };
    let (found, shape, borrowed) = match imported {
        Ok(imported) => of_dlpack(name, imported)?,
        // NumPy refuses to export a read-only array to older versions of the protocol.
        Err(_) => of_buffer(name, PyUntypedBuffer::get(array)?)?,
    };
    let dtype = match dtype {
        Some(dtype) => dtype.parse().map_err(|_| unknown(name, dtype))?,
        None => found,
    };
    let length = borrowed.length;
    let tensor = Tensor::over(dtype, shape, Arc::new(borrowed), 0..length);
    tensor.ok_or_else(|| case_error(format!("{name} has fewer bytes than its shape needs")))
}

type Found = (Dtype, Vec<usize>, Borrowed);

fn of_dlpack(name: &str, imported: ImportedDlpack) -> PyResult<Found> {
    let failed =
        |error: &dyn std::fmt::Display| case_error(format!("{name} cannot be read: {error}"));
    let (dtype, shape, start, length) = {
        let view = imported.validate().map_err(|error| failed(&error))?;
        let shape: Vec<usize> = view.shape().iter().map(|&extent| extent as usize).collect();
        let is_empty = shape.contains(&0);
        if !is_empty && !view.is_compact().map_err(|error| failed(&error))? {
            return Err(PyBufferError::new_err(format!("{name} is not contiguous")));
        }
        let dtype = of_data_type(name, view.dtype())?;
        // An empty tensor may have a null pointer.
        let bytes: &[u8] = if is_empty {
            &[]
        } else {
            // SAFETY: the descriptor was validated, and its producer vouches for the memory.
            #[allow(unsafe_code)]
            unsafe { view.cpu_bytes() }.map_err(|error| failed(&error))?
        };
        (dtype, shape, bytes.as_ptr(), bytes.len())
    };
    let borrowed = Borrowed {
        start,
        length,
        _owner: Owner::Dlpack(imported),
    };
    Ok((dtype, shape, borrowed))
}

fn of_data_type(name: &str, dtype: DLDataType) -> PyResult<Dtype> {
    let known = [
        (DLDataType::F16, Dtype::F16),
        (DLDataType::BF16, Dtype::BF16),
        (DLDataType::F32, Dtype::F32),
        (DLDataType::F64, Dtype::F64),
        (DLDataType::I8, Dtype::I8),
        (DLDataType::I16, Dtype::I16),
        (DLDataType::I32, Dtype::I32),
        (DLDataType::I64, Dtype::I64),
        (DLDataType::U8, Dtype::U8),
        (DLDataType::U16, Dtype::U16),
        (DLDataType::U32, Dtype::U32),
        (DLDataType::U64, Dtype::U64),
        // A one-hot target.
        (DLDataType::BOOL, Dtype::U8),
    ];
    let found = known.iter().find(|(known, _)| known.matches(dtype));
    let found = found.map(|(_, dtype)| *dtype);
    found.ok_or_else(|| {
        unknown(
            name,
            &format!("DLPack type {}, {} bits", dtype.code.0, dtype.bits),
        )
    })
}

fn of_buffer(name: &str, buffer: PyUntypedBuffer) -> PyResult<Found> {
    if !buffer.is_c_contiguous() {
        return Err(PyBufferError::new_err(format!("{name} is not contiguous")));
    }
    let is_native = !matches!(buffer.format().to_bytes().first(), Some(b'>' | b'!'));
    let element = ElementType::from_format(buffer.format());
    let dtype = match element {
        _ if !is_native => None,
        ElementType::SignedInteger { bytes: 1 } => Some(Dtype::I8),
        ElementType::SignedInteger { bytes: 2 } => Some(Dtype::I16),
        ElementType::SignedInteger { bytes: 4 } => Some(Dtype::I32),
        ElementType::SignedInteger { bytes: 8 } => Some(Dtype::I64),
        ElementType::UnsignedInteger { bytes: 1 } | ElementType::Bool => Some(Dtype::U8),
        ElementType::UnsignedInteger { bytes: 2 } => Some(Dtype::U16),
        ElementType::UnsignedInteger { bytes: 4 } => Some(Dtype::U32),
        ElementType::UnsignedInteger { bytes: 8 } => Some(Dtype::U64),
        ElementType::Float { bytes: 4 } => Some(Dtype::F32),
        ElementType::Float { bytes: 8 } => Some(Dtype::F64),
        _ if buffer.format().to_bytes() == b"e" => Some(Dtype::F16),
        _ => None,
    };
    let dtype = dtype.ok_or_else(|| unknown(name, &buffer.format().to_string_lossy()))?;
    let borrowed = Borrowed {
        start: buffer.buf_ptr().cast(),
        length: buffer.len_bytes(),
        _owner: Owner::Buffer(buffer),
    };
    let Owner::Buffer(buffer) = &borrowed._owner else {
        unreachable!("it was just made of a buffer")
    };
    Ok((dtype, buffer.shape().to_vec(), borrowed))
}

fn unknown(name: &str, found: &str) -> PyErr {
    case_error(format!(
        "{name} holds {found}, but must hold f16, bf16, f32, f64 or integers"
    ))
}
