//! The safetensors format: a length, a JSON header, and the tensors' bytes.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use ::safetensors::{SafeTensorError, SafeTensors, tensor::Metadata};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::{Archive, broken};
use crate::{
    error::{Error, Result},
    tensor::{Bytes, Dtype, Tensor},
};

const FORMAT: &str = "safetensors";

/// Bytes of a header that names some hundred thousand tensors. What claims more costs memory before it can be found out.
const MOST_HEADER: u64 = 16 << 20;

pub(super) struct Safetensors {
    path: PathBuf,
    bytes: Bytes,
    /// Where the tensors' bytes begin.
    start: usize,
    header: Metadata,
}

impl Safetensors {
    pub(super) fn new(path: &Path, bytes: Bytes) -> Result<Self> {
        let announced = bytes.bytes().first_chunk().copied().map(u64::from_le_bytes);
        if announced.is_some_and(|length| length > MOST_HEADER) {
            let reason = "it is cut short, or its header claims a false length";
            return Err(broken(path, FORMAT, reason));
        }
        let (length, header) = SafeTensors::read_metadata(bytes.bytes())
            .map_err(|error| broken(path, FORMAT, reason(error)))?;
        let text = &bytes.bytes()[8..8 + length];
        if let Ok(Names { twice: Some(name) }) = serde_json::from_slice(text) {
            let reason = format!("two of its tensors are called {name}");
            return Err(broken(path, FORMAT, reason));
        }
        Ok(Self {
            path: path.to_owned(),
            bytes,
            start: 8 + length,
            header,
        })
    }
}

/// The first name that a header gives twice: a map would keep what comes last.
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
        let place = self.start + begin..self.start + end;
        let tensor = Tensor::over(dtype, info.shape.clone(), self.bytes.clone(), place);
        tensor.map(Some).ok_or_else(|| {
            broken(
                &self.path,
                FORMAT,
                format!("the place of {name} does not fit its shape"),
            )
        })
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        self.header.metadata().as_ref()?.get(name).cloned()
    }
}

/// What is wrong with a header, in a user's words.
fn reason(error: SafeTensorError) -> &'static str {
    match error {
        SafeTensorError::HeaderTooSmall => "it is too short to have a header",
        SafeTensorError::HeaderTooLarge | SafeTensorError::InvalidHeaderLength => {
            "it is cut short, or its header claims a false length"
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            "it is cut short, or longer than its header says"
        }
        SafeTensorError::InvalidHeader(_) | SafeTensorError::InvalidHeaderDeserialization(_) => {
            "its header is not what safetensors writes"
        }
        _ => "its header contradicts itself in a shape, a type or a place",
    }
}
