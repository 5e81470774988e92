//! The safetensors format: the header's length (8 bytes), a JSON header, and the tensors' bytes.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use ::safetensors::{SafeTensorError, SafeTensors, tensor::Metadata};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::archive::{Archive, broken};
use crate::{
    error::{Error, Result, short},
    tensor::{Bytes, Dtype, Tensor},
};

pub(super) const FORMAT: &str = "safetensors";

/// The longest header that is read: 16 MiB, enough for some hundred thousand tensors. A longer one
/// would take much memory before the reader detects a wrong length.
const MOST_HEADER: u64 = 16 << 20;

pub(super) struct Safetensors {
    path: PathBuf,
    bytes: Bytes,
    /// The offset of the tensors' bytes.
    start: usize,
    header: Metadata,
}

impl Safetensors {
    pub(super) fn new(path: &Path, bytes: Bytes) -> Result<Self> {
        let file = bytes.bytes();
        let announced = file.first_chunk().copied().map(u64::from_le_bytes);
        if announced.is_some_and(|length| length > MOST_HEADER) {
            return Err(broken(path, FORMAT, HEADER_LENGTH));
        }
        let header = announced.map_or(0, |length| 8 + length as usize);
        bytes.fetch(0..header.min(file.len()))?;
        let (length, header) = SafeTensors::read_metadata(file)
            .map_err(|error| broken(path, FORMAT, reason(error)))?;
        let text = &file[8..8 + length];
        if let Ok(Names { twice: Some(name) }) = serde_json::from_slice(text) {
            let reason = format!("two of its tensors are named {}", short(&name));
            return Err(broken(path, FORMAT, reason));
        }
        Ok(Self {
            path: path.to_owned(),
            start: 8 + length,
            header,
            bytes,
        })
    }
}

/// The first name that occurs twice in a header. A map would silently keep the last tensor of that
/// name.
struct Names {
    twice: Option<String>,
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Names;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a header")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Names, A::Error> {
                let (mut seen, mut twice) = (HashSet::new(), None);
                while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    if let Some(name) = seen.replace(name) {
                        twice.get_or_insert(name);
                    }
                }
                Ok(Names { twice })
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

impl Archive for Safetensors {
    fn names(&self) -> Vec<String> {
        let mut names = self.header.offset_keys();
        names.sort();
        names
    }

    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        use ::safetensors::Dtype as Stored;
        let Some(info) = self.header.info(name) else {
            return Ok(None);
        };
        let dtype = match info.dtype {
            Stored::F16 => Dtype::F16,
            Stored::BF16 => Dtype::BF16,
            Stored::F32 => Dtype::F32,
            Stored::F64 => Dtype::F64,
            Stored::I8 => Dtype::I8,
            Stored::I16 => Dtype::I16,
            Stored::I32 => Dtype::I32,
            Stored::I64 => Dtype::I64,
            Stored::U8 => Dtype::U8,
            Stored::U16 => Dtype::U16,
            Stored::U32 => Dtype::U32,
            Stored::U64 => Dtype::U64,
            other => {
                let (name, found) = (name.to_owned(), format!("{other:?}").to_lowercase());
                return Err(Error::Dtype {
                    name,
                    expected: "f16, bf16, f32, f64 or integer values",
                    found,
                });
            }
        };
        let (begin, end) = info.data_offsets;
        let range = self.start + begin..self.start + end;
        let tensor = Tensor::over(dtype, info.shape.clone(), self.bytes.clone(), range);
        tensor.map(Some).ok_or_else(|| {
            broken(
                &self.path,
                FORMAT,
                format!("the offsets of {name} do not fit its shape"),
            )
        })
    }

    fn metadata(&self) -> Vec<String> {
        let metadata = self.header.metadata().iter().flatten();
        let mut names: Vec<String> = metadata.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        self.header.metadata().as_ref()?.get(name).cloned()
    }
}

const HEADER_LENGTH: &str = "its header length is invalid; it is truncated, or in another format";

/// Describes the defect of an invalid header in a message for the user.
fn reason(error: SafeTensorError) -> &'static str {
    match error {
        SafeTensorError::HeaderTooSmall => "it is too short to have a header",
        SafeTensorError::HeaderTooLarge | SafeTensorError::InvalidHeaderLength => HEADER_LENGTH,
        SafeTensorError::MetadataIncompleteBuffer => {
            "its length does not match its header; it is truncated or damaged"
        }
        SafeTensorError::InvalidHeader(_) | SafeTensorError::InvalidHeaderDeserialization(_) => {
            "its header is not JSON as safetensors writes it"
        }
        _ => "its header contradicts itself on a shape, a type or an offset",
    }
}
