//! NumPy's .npy format (numpy.lib.format, versions 1 to 3): a magic string, a header in Python's notation, then the
//! elements. The header of a plain array has three fixed keys, so it is read by looking for them: a parser of Python
//! literals recurses on whatever a hostile file nests, and multiplies extents that overflow.

use std::{ops::Range, path::Path, sync::Arc};

use super::{
    broken,
    bytes::{self, Budget},
};
use crate::{
    error::{Error, Result},
    tensor::{Bytes, Dtype, Tensor},
};

const FORMAT: &str = "npy";
const MAGIC: &[u8] = b"\x93NUMPY";

/// Where the elements begin is a multiple of this.
const ALIGNMENT: usize = 64;

/// Opens a file.
pub(super) fn open(path: &Path, budget: Budget) -> Result<Tensor> {
    let bytes = bytes::map(path, budget)?;
    let place = 0..bytes.bytes().len();
    let name = path.display().to_string();
    parse(path, FORMAT, &name, bytes, place, budget)
}

/// Reads an array called `name` from `bytes[place]`: a file, or a member of an archive at `path` whose format is `format`.
pub(super) fn parse(
    path: &Path,
    format: &'static str,
    name: &str,
    bytes: Bytes,
    place: Range<usize>,
    budget: Budget,
) -> Result<Tensor> {
    let whole = &bytes.bytes()[place.clone()];
    let failed = |reason: &str| broken(path, format, reason);
    let Header {
        descr,
        columns_first,
        mut shape,
        start,
    } = Header::read(whole).map_err(failed)?;
    let (big_endian, dtype) = element(descr, name)?;
    let available = whole.len() - start;
    let size = size(dtype, &shape)
        .filter(|&size| size == available)
        .ok_or_else(|| {
            failed(&format!(
                "its header announces {dtype}{shape:?}, but {available} bytes follow"
            ))
        })?;
    let columns_first = columns_first && shape.len() > 1;
    if !big_endian && !columns_first {
        let begin = place.start + start;
        let tensor = Tensor::over(dtype, shape, bytes, begin..begin + size);
        return Ok(tensor.expect("the size was checked above"));
    }
    budget.require_turned(name, size)?;
    let mut elements = whole[start..start + size].to_vec();
    if big_endian {
        elements
            .chunks_exact_mut(dtype.size())
            .for_each(<[u8]>::reverse);
    }
    if columns_first {
        let &mut [rows, columns] = shape.as_mut_slice() else {
            return Err(failed(
                "an array of more than two dimensions in Fortran order is not read",
            ));
        };
        // Column-major is row-major of the reversed shape, transposed.
        elements = transposed(&elements, dtype.size(), columns, rows);
    }
    Ok(
        Tensor::over(dtype, shape, Arc::new(elements), 0..size)
            .expect("the size was checked above"),
    )
}

/// How many bytes the array has, header included, that begins with `prefix`; none if that cannot be told.
pub(super) fn length(prefix: &[u8]) -> Option<usize> {
    let header = Header::read(prefix).ok()?;
    let (_, dtype) = element(header.descr, "").ok()?;
    header.start.checked_add(size(dtype, &header.shape)?)
}

/// An array of one element as text: a string, or a number.
pub(super) fn scalar(bytes: Vec<u8>) -> Option<String> {
    let header = Header::read(&bytes).ok()?;
    let elements = &bytes[header.start..];
    let (_, descr) = quoted(header.descr)?;
    let text = if descr.starts_with("<U") {
        let characters = elements
            .chunks_exact(4)
            .map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]));
        characters.map(char::from_u32).collect::<Option<String>>()?
    } else if descr.starts_with("|S") {
        String::from_utf8(elements.to_vec()).ok()?
    } else {
        let place = 0..bytes.len();
        let budget = Budget {
            memory: 2 * bytes.len(),
            unpacked: 0,
        };
        let tensor = parse(Path::new(""), FORMAT, "", Arc::new(bytes), place, budget).ok()?;
        let values = if tensor.shape().is_empty() {
            tensor.values::<f64>()
        } else {
            Vec::new()
        };
        let [value] = values[..] else { return None };
        value.to_string()
    };
    Some(text.trim_end_matches('\0').to_owned())
}

fn size(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(dtype.size(), |size, &extent| size.checked_mul(extent))
}

/// What the header says.
struct Header<'a> {
    /// From the element type on.
    descr: &'a str,
    columns_first: bool,
    shape: Vec<usize>,
    /// Where the elements begin.
    start: usize,
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> std::result::Result<Self, &'static str> {
        let (text, start) = header_text(bytes)?;
        let descr = value(text, "descr").ok_or("its header names no element type")?;
        let order = value(text, "fortran_order")
            .ok_or("its header does not say in which order the elements lie")?;
        let shape = value(text, "shape")
            .and_then(extents)
            .ok_or("its header names no shape")?;
        Ok(Self {
            descr,
            columns_first: order.starts_with("True"),
            shape,
            start,
        })
    }
}

/// The header of an f64 array in row-major order.
pub(super) fn f64_header(shape: &[usize]) -> Vec<u8> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let mut text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({extents}), }}");
    let unpadded = MAGIC.len() + 4 + text.len() + 1;
    text.extend(std::iter::repeat_n(
        ' ',
        unpadded.next_multiple_of(ALIGNMENT) - unpadded,
    ));
    text.push('\n');
    let length = u16::try_from(text.len()).expect("a few extents take few bytes");
    [MAGIC, &[1, 0], &length.to_le_bytes(), text.as_bytes()].concat()
}

/// The header's text, and where the elements begin.
fn header_text(bytes: &[u8]) -> std::result::Result<(&str, usize), &'static str> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("it does not begin with the bytes \\x93NUMPY")?;
    let (length, begin) = match *rest {
        [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([a, b])), MAGIC.len() + 4),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, MAGIC.len() + 6),
        _ => return Err("it is cut short, or of a version later than 3"),
    };
    let text = begin
        .checked_add(length)
        .and_then(|end| bytes.get(begin..end))
        .ok_or("its header is cut short")?;
    Ok((
        std::str::from_utf8(text).map_err(|_| "its header is not text")?,
        begin + length,
    ))
}

/// What follows `'key':`.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let (_, rest) = quoted
        .iter()
        .find_map(|key| header.split_once(key.as_str()))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// `(3, 4), ...` as [3, 4].
fn extents(text: &str) -> Option<Vec<usize>> {
    let (tuple, _) = text.strip_prefix('(')?.split_once(')')?;
    let extents = tuple
        .split(',')
        .map(str::trim)
        .filter(|extent| !extent.is_empty());
    extents.map(|extent| extent.parse().ok()).collect()
}

/// `'<f4', ...` as its byte order and the rest.
fn quoted(text: &str) -> Option<(char, &str)> {
    let quote = text.chars().next().filter(|quote| "'\"".contains(*quote))?;
    let descr = text[1..].split(quote).next()?;
    Some((descr.chars().next()?, descr))
}

/// `'<f4', ...`: whether it is big-endian, and the element type.
fn element(text: &str, name: &str) -> Result<(bool, Dtype)> {
    let refused = |found: &str| Error::Dtype {
        name: name.to_owned(),
        expected: "f16, f32, f64 or integer values (bf16, which NumPy lacks, can be kept in safetensors)",
        found: found.to_owned(),
    };
    let (order, descr) = quoted(text).ok_or_else(|| refused("a structured type"))?;
    let dtype = match &descr[order.len_utf8()..] {
        "f2" => Dtype::F16,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        "i1" => Dtype::I8,
        "i2" => Dtype::I16,
        "i4" => Dtype::I32,
        "i8" => Dtype::I64,
        "u1" => Dtype::U8,
        "u2" => Dtype::U16,
        "u4" => Dtype::U32,
        "u8" => Dtype::U64,
        "b1" => return Err(refused("bool")),
        "c8" | "c16" => return Err(refused("complex numbers")),
        "f16" => return Err(refused("128-bit floats")),
        other if other.starts_with(['U', 'S']) => return Err(refused("text")),
        "O" => return Err(refused("Python objects")),
        _ => return Err(refused(descr)),
    };
    Ok((order == '>', dtype))
}

/// [rows, columns] of elements of `size` bytes, transposed.
fn transposed(elements: &[u8], size: usize, rows: usize, columns: usize) -> Vec<u8> {
    let places =
        (0..columns).flat_map(|column| (0..rows).map(move |row| (row * columns + column) * size));
    places
        .flat_map(|place| &elements[place..place + size])
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let place = 0..bytes.bytes().len();
        let path = Path::new("a.npy");
        parse(path, FORMAT, "a.npy", bytes, place, Budget::of(100))
    }

    #[test]
    fn order_and_endianness_are_honoured() {
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
    fn what_cannot_be_turned_in_memory_is_refused() {
        let error = read(">f8", "False", "(7,)", &[0; 56]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--memory is 100 B, but a.npy takes 56 B in Fortran order or big-endian, and twice that to be turned: \
             save it with np.ascontiguousarray, or give more"
        );
        assert!(read("<f8", "False", "(7,)", &[0; 56]).is_ok());
    }

    #[test]
    fn what_is_written_is_read() {
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
    fn headers_that_lie_are_refused() {
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
        assert!(message("(4611686018427387904, 4)").contains("announces"));
        let deep = format!("{}1{}", "(".repeat(500), ")".repeat(500));
        assert!(message(&deep).contains("names no shape"));
        let [header, cut] = [f64_header(&[1]), f64_header(&[1])[..20].to_vec()];
        let reason = |bytes| parse_whole(Arc::new(bytes)).unwrap_err().to_string();
        assert!(reason(header).contains("announces f64[1], but 0 bytes follow"));
        assert!(reason(cut).contains("cut short"));
        assert!(
            read("<c8", "False", "(1,)", &[0; 8])
                .unwrap_err()
                .to_string()
                .contains("complex numbers")
        );
    }
}
