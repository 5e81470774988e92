//! NumPy's npy format: a header, then the elements.

use std::{ops::Range, path::Path, sync::Arc};

use super::{
    archive::{broken, require_format},
    bytes::Budget,
    storage,
};
use crate::{
    error::Result,
    tensor::{Bytes, Tensor, transposed},
};

mod header;

#[cfg(feature = "npz")]
pub(super) use header::array_size;
pub(super) use header::f64_header;
use header::{Header, size};

const FORMAT: &str = "npy";

/// Maps a file and returns its array.
pub(super) fn open(path: &Path, budget: Budget) -> Result<Tensor> {
    let bytes = storage::open(path, budget)?;
    let range = 0..bytes.bytes().len();
    bytes.fetch(range.clone())?;
    require_format(path, FORMAT, bytes.bytes())?;
    let name = path.display().to_string();
    parse(path, FORMAT, &name, bytes, range, budget)
}

/// Reads the array in `bytes[range]`: a whole file, or a member of an archive. `path`, `format` and
/// the array's `name` are for messages.
pub(super) fn parse(
    path: &Path,
    format: &'static str,
    name: &str,
    bytes: Bytes,
    range: Range<usize>,
    budget: Budget,
) -> Result<Tensor> {
    let array = &bytes.bytes()[range.clone()];
    let failed = |reason: &str| broken(path, format, reason);
    let header = Header::read(array).map_err(failed)?;
    let (big_endian, dtype) = header.element(name)?;
    let Header {
        columns_first,
        mut shape,
        start,
        ..
    } = header;
    let available = array.len() - start;
    let size = size(dtype, &shape).filter(|&size| size == available);
    let size = size.ok_or_else(|| {
        failed(&format!(
            "its header announces {dtype}{shape:?}, but {available} bytes follow"
        ))
    })?;
    let columns_first = columns_first && shape.len() > 1;
    if !big_endian && !columns_first {
        let begin = range.start + start;
        let tensor = Tensor::over(dtype, shape, bytes, begin..begin + size);
        return Ok(tensor.expect("the size was checked above"));
    }
    budget.require_convertible(name, size)?;
    let mut elements = array[start..start + size].to_vec();
    if big_endian {
        let elements = elements.chunks_exact_mut(dtype.size());
        elements.for_each(<[u8]>::reverse);
    }
    if columns_first {
        let &mut [rows, columns] = shape.as_mut_slice() else {
            return Err(failed(
                "it is an array of more than two dimensions in Fortran order; \
                 save it with numpy.ascontiguousarray",
            ));
        };
        // Column-major [rows, columns] is row-major [columns, rows].
        elements = transposed(&elements, dtype.size(), columns, rows);
    }
    let tensor = Tensor::over(dtype, shape, Arc::new(elements), 0..size);
    Ok(tensor.expect("the size was checked above"))
}

/// Reads an array of one element as text. Returns `None` if it is neither one string nor one
/// number.
#[cfg(feature = "npz")]
pub(super) fn scalar(bytes: Vec<u8>) -> Option<String> {
    let header = Header::read(&bytes).ok()?;
    if let Some(text) = header.text(&bytes) {
        return Some(text);
    }
    let range = 0..bytes.len();
    let budget = Budget {
        memory: 2 * bytes.len(),
        unpacked: 0,
    };
    let tensor = parse(Path::new(""), FORMAT, "", Arc::new(bytes), range, budget).ok()?;
    if !tensor.shape().is_empty() {
        return None;
    }
    let [value] = tensor.values::<f64>()[..] else {
        return None;
    };
    Some(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::{header::ALIGNMENT, *};

    fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Bytes {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        Arc::new(bytes)
    }

    fn read(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Result<Tensor> {
        parse_whole(npy(descr, fortran, shape, data))
    }

    fn parse_whole(bytes: Bytes) -> Result<Tensor> {
        let range = 0..bytes.bytes().len();
        let path = Path::new("a.npy");
        parse(path, FORMAT, "a.npy", bytes, range, Budget::of(100))
    }

    #[test]
    fn reads_either_order_and_endianness() {
        let little: Vec<u8> = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let big: Vec<u8> = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0]
            .iter()
            .flat_map(|v| v.to_be_bytes())
            .collect();
        let rows = |tensor: Tensor| tensor.rows::<f64>(1..2);
        assert_eq!(
            rows(read("<f4", "False", "(2, 3)", &little).unwrap()),
            [4.0, 5.0, 6.0]
        );
        assert_eq!(
            rows(read(">f4", "False", "(2, 3)", &big).unwrap()),
            [4.0, 5.0, 6.0]
        );
        assert_eq!(
            rows(read("<f4", "True", "(2, 3)", &little).unwrap()),
            [2.0, 4.0, 6.0]
        );
    }

    #[test]
    fn refuses_an_array_too_large_to_convert() {
        let error = read(">f8", "False", "(7,)", &[0; 56]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--memory is 100 B, but a.npy has 56 B in Fortran order or big-endian, and converting \
             it takes 112 B: raise --memory, or save the array with numpy.ascontiguousarray"
        );
        assert!(read("<f8", "False", "(7,)", &[0; 56]).is_ok());
    }

    #[test]
    fn reads_an_array_that_it_wrote() {
        let mut bytes = f64_header(&[2, 1]);
        assert_eq!(bytes.len() % ALIGNMENT, 0);
        bytes.extend([1f64, 2.0].iter().flat_map(|v| v.to_le_bytes()));
        let tensor = parse_whole(Arc::new(bytes)).unwrap();
        assert_eq!(
            (tensor.shape(), tensor.values::<f64>()),
            (&[2, 1][..], vec![1.0, 2.0])
        );
    }

    #[test]
    fn refuses_headers_that_lie() {
        let message = |shape| {
            read("<f4", "False", shape, &[0; 8])
                .unwrap_err()
                .to_string()
        };
        assert!(
            message("(3,)").contains("announces f32[3], but 8 bytes follow"),
            "{}",
            message("(3,)")
        );
        // The product of these extents overflows.
        assert!(message("(4611686018427387904, 4)").contains("announces"));
        let deep = format!("{}1{}", "(".repeat(500), ")".repeat(500));
        assert!(message(&deep).contains("has no shape"));
        let [header, cut] = [f64_header(&[1]), f64_header(&[1])[..20].to_vec()];
        let reason = |bytes| parse_whole(Arc::new(bytes)).unwrap_err().to_string();
        assert!(reason(header).contains("announces f64[1], but 0 bytes follow"));
        assert!(reason(cut).contains("is truncated"));
        assert!(
            read("<c8", "False", "(1,)", &[0; 8])
                .unwrap_err()
                .to_string()
                .contains("complex numbers")
        );
    }
}
