//! NumPy's .npy format: a header in Python's notation, then the elements.

use std::{path::Path, sync::Arc};

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use super::{broken, bytes};
use crate::{
    error::{Error, Result},
    tensor::{Bytes, Dtype, Tensor},
};

const FORMAT: &str = "npy";

/// Brackets that an honest header of a plain array can hold: a dict and a tuple of extents.
const MOST_BRACKETS: usize = 8;

/// Opens a file.
pub(super) fn open(path: &Path) -> Result<Tensor> {
    parse(path, FORMAT, bytes::map(path)?)
}

/// Reads the bytes of a file, or of a member of an archive at `path` whose format is `format`.
pub(super) fn parse(path: &Path, format: &'static str, bytes: Bytes) -> Result<Tensor> {
    let whole = (*bytes).as_ref();
    let mut rest = header_guarded(whole).map_err(|reason| broken(path, format, reason))?;
    let header = NpyHeader::from_reader(&mut rest).map_err(|reason| broken(path, format, reason))?;
    let start = whole.len() - rest.len();
    let (dtype, endianness) = element(&header.dtype())?;
    let mut shape = header.shape().iter().map(|&extent| extent as usize).collect::<Vec<_>>();
    let size = shape.iter().try_fold(dtype.size(), |size, &extent| size.checked_mul(extent));
    let size = size.filter(|&size| size <= rest.len()).ok_or_else(|| {
        let reason = format!("its header announces {dtype}{shape:?}, but {} bytes follow", rest.len());
        broken(path, format, reason)
    })?;
    let fortran = header.order() == Order::Fortran && shape.len() > 1;
    if endianness != Endianness::Big && !fortran {
        let tensor = Tensor::over(dtype, shape, bytes, start..start + size);
        return Ok(tensor.expect("the size was checked above"));
    }
    let mut elements = rest[..size].to_vec();
    if endianness == Endianness::Big {
        elements.chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse);
    }
    if fortran {
        // Column-major is row-major of the reversed shape, transposed.
        if shape.len() > 2 {
            return Err(broken(path, format, "an array of more than two dimensions in Fortran order is not read"));
        }
        elements = transposed(&elements, dtype.size(), shape[1], shape[0]);
    }
    shape.shrink_to_fit();
    Ok(Tensor::over(dtype, shape, Arc::new(elements), 0..size).expect("the size was checked above"))
}

/// The bytes, if their header is no deeper than an array's: the parser recurses on brackets.
fn header_guarded(bytes: &[u8]) -> std::result::Result<&[u8], &'static str> {
    let length = match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => usize::from(u16::from_le_bytes([*a, *b])),
        [0x93, b'N', b'U', b'M', b'P', b'Y', _, _, a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]) as usize,
        _ => return Err("it does not begin with the bytes \\x93NUMPY"),
    };
    let header = bytes.get(8..).and_then(|rest| rest.get(..length)).ok_or("its header is cut short")?;
    let brackets = header.iter().filter(|byte| b"([{".contains(byte)).count();
    if brackets > MOST_BRACKETS { Err("its header does not describe a plain array") } else { Ok(bytes) }
}

fn element(dtype: &DType) -> Result<(Dtype, Endianness)> {
    let refused = |found: String| Error::Dtype {
        name: "the array".to_owned(),
        expected: "f16, f32, f64 or integer values (NumPy has no bf16: keep that in safetensors)",
        found,
    };
    let DType::Plain(plain) = dtype else { return Err(refused(dtype.descr())) };
    let found = match (plain.type_char(), plain.size_field()) {
        (TypeChar::Float, 2) => Dtype::F16,
        (TypeChar::Float, 4) => Dtype::F32,
        (TypeChar::Float, 8) => Dtype::F64,
        (TypeChar::Int, 1) => Dtype::I8,
        (TypeChar::Int, 2) => Dtype::I16,
        (TypeChar::Int, 4) => Dtype::I32,
        (TypeChar::Int, 8) => Dtype::I64,
        (TypeChar::Uint, 1) => Dtype::U8,
        (TypeChar::Uint, 2) => Dtype::U16,
        (TypeChar::Uint, 4) => Dtype::U32,
        (TypeChar::Uint, 8) => Dtype::U64,
        _ => return Err(refused(dtype.descr())),
    };
    Ok((found, plain.endianness()))
}

/// [rows, columns] of elements of `size` bytes, transposed.
fn transposed(elements: &[u8], size: usize, rows: usize, columns: usize) -> Vec<u8> {
    let places = (0..columns).flat_map(|column| (0..rows).map(move |row| (row * columns + column) * size));
    places.flat_map(|place| &elements[place..place + size]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Bytes {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        Arc::new(bytes)
    }

    fn read(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Result<Tensor> {
        parse(Path::new("a.npy"), FORMAT, npy(descr, fortran, shape, data))
    }

    #[test]
    fn order_and_endianness_are_honoured() {
        let little: Vec<u8> = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let big: Vec<u8> = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|v| v.to_be_bytes()).collect();
        let rows = |tensor: Tensor| tensor.rows::<f64>(1..2);
        assert_eq!(rows(read("<f4", "False", "(2, 3)", &little).unwrap()), [4.0, 5.0, 6.0]);
        assert_eq!(rows(read(">f4", "False", "(2, 3)", &big).unwrap()), [4.0, 5.0, 6.0]);
        assert_eq!(rows(read("<f4", "True", "(2, 3)", &little).unwrap()), [2.0, 4.0, 6.0]);
    }

    #[test]
    fn headers_that_lie_are_refused() {
        let message = |shape| read("<f4", "False", shape, &[0; 8]).unwrap_err().to_string();
        assert!(message("(3,)").contains("announces f32[3], but 8 bytes follow"), "{}", message("(3,)"));
        assert!(message("(4611686018427387904, 4)").contains("announces"));
        let deep = format!("{}1{}", "(".repeat(500), ")".repeat(500));
        assert!(message(&deep).contains("plain array"));
        assert!(read("<c8", "False", "(1,)", &[0; 8]).unwrap_err().to_string().contains("<c8"));
    }
}
