//! The header of an npy file, as numpy.lib.format describes versions 1 to 3: a magic string, the
//! header's length, and a Python dictionary with the element type, the order and the shape.
//!
//! The dictionary of a plain array has three fixed keys, so the reader searches for them as text. A
//! parser of Python literals would recurse on the nested literals of a hostile file.

use crate::{
    error::{Error, Result},
    tensor::Dtype,
};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Alignment of the first element, in bytes (numpy.lib.format).
pub(super) const ALIGNMENT: usize = 64;

/// The contents of a header.
pub(super) struct Header<'a> {
    /// The text from the element type on: `'<f4', ...`.
    descr: &'a str,
    /// True for Fortran order.
    pub(super) columns_first: bool,
    pub(super) shape: Vec<usize>,
    /// The offset of the elements.
    pub(super) start: usize,
}

impl<'a> Header<'a> {
    /// Reads the header at the beginning of `bytes`.
    ///
    /// # Errors
    /// The defect, in words for a message.
    pub(super) fn read(bytes: &'a [u8]) -> std::result::Result<Self, &'static str> {
        let (text, start) = text(bytes)?;
        let descr = value(text, "descr").ok_or("its header has no element type (descr)")?;
        let order = value(text, "fortran_order").ok_or("its header has no fortran_order")?;
        let shape = value(text, "shape").and_then(extents);
        Ok(Self {
            descr,
            columns_first: order.starts_with("True"),
            shape: shape.ok_or("its header has no shape, or a malformed one")?,
            start,
        })
    }

    /// Returns the type of the elements, after a flag that is true if they are big-endian.
    ///
    /// # Errors
    /// [`Error::Dtype`] for a type that a check cannot use. The message calls the array `name`.
    pub(super) fn element(&self, name: &str) -> Result<(bool, Dtype)> {
        let refused = |found: &str| Error::Dtype {
            name: name.to_owned(),
            expected: "f16, f32, f64 or integer values \
                       (bf16, which NumPy lacks, can be kept in safetensors)",
            found: found.to_owned(),
        };
        let descr = unquoted(self.descr).ok_or_else(|| refused("a structured type"))?;
        let mut rest = descr.chars();
        let order = rest.next();
        let dtype = match rest.as_str() {
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
        Ok((order == Some('>'), dtype))
    }

    /// Returns the elements of an array of text as one string without padding. `bytes` includes the
    /// header. Returns `None` for other types.
    #[cfg(feature = "npz")]
    pub(super) fn text(&self, bytes: &[u8]) -> Option<String> {
        let descr = unquoted(self.descr)?;
        let elements = &bytes[self.start..];
        let text = if descr.starts_with("<U") {
            let (characters, _) = elements.as_chunks::<4>();
            let characters = characters.iter().map(|it| u32::from_le_bytes(*it));
            characters.map(char::from_u32).collect::<Option<String>>()?
        } else if descr.starts_with("|S") {
            String::from_utf8(elements.to_vec()).ok()?
        } else {
            return None;
        };
        Some(text.trim_end_matches('\0').to_owned())
    }
}

/// Returns the size of the array that begins with `prefix`, header included. Returns `None` if the
/// header is invalid.
#[cfg(feature = "npz")]
pub(in crate::io) fn array_size(prefix: &[u8]) -> Option<usize> {
    let header = Header::read(prefix).ok()?;
    let (_, dtype) = header.element("").ok()?;
    header.start.checked_add(size(dtype, &header.shape)?)
}

/// Returns the size of all elements in bytes, or `None` if it overflows.
pub(super) fn size(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    let mut extents = shape.iter();
    extents.try_fold(dtype.size(), |size, &extent| size.checked_mul(extent))
}

/// Returns the header of a row-major, little-endian f64 array.
pub(in crate::io) fn f64_header(shape: &[usize]) -> Vec<u8> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let mut text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({extents}), }}");
    let unpadded = MAGIC.len() + 4 + text.len() + 1;
    let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    let length = u16::try_from(text.len()).expect("a few extents take few bytes");
    [MAGIC, &[1, 0], &length.to_le_bytes(), text.as_bytes()].concat()
}

/// Returns the header's text, and the offset of the elements.
fn text(bytes: &[u8]) -> std::result::Result<(&str, usize), &'static str> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("it does not begin with the bytes \\x93NUMPY")?;
    let (length, begin) = match *rest {
        [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([a, b])), MAGIC.len() + 4),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, MAGIC.len() + 6),
        _ => return Err("it is truncated, or of a later version than 3"),
    };
    let text = begin
        .checked_add(length)
        .and_then(|end| bytes.get(begin..end))
        .ok_or("its header is truncated")?;
    let text = std::str::from_utf8(text).map_err(|_| "its header is not text")?;
    Ok((text, begin + length))
}

/// Returns the text that follows `'key':`.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let mut quoted = quoted.iter();
    let (_, rest) = quoted.find_map(|key| header.split_once(key.as_str()))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// Reads `(3, 4), ...` as [3, 4].
fn extents(text: &str) -> Option<Vec<usize>> {
    let (tuple, _) = text.strip_prefix('(')?.split_once(')')?;
    let extents = tuple.split(',').map(str::trim);
    let extents = extents.filter(|extent| !extent.is_empty());
    extents.map(|extent| extent.parse().ok()).collect()
}

/// Reads `'<f4', ...` as `<f4`. Returns `None` if it is empty or not a string.
fn unquoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|quote| "'\"".contains(*quote))?;
    let descr = text[1..].split(quote).next()?;
    (!descr.is_empty()).then_some(descr)
}
