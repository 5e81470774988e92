//! Reads problems and gradients from files, and writes results.
//!
//! Three formats are read: safetensors, NumPy's npz, and NumPy's npy (one tensor per file).
//!
//! # Mapping and memory
//! Files are mapped, not loaded: a tensor is a range of a mapping, and its values are converted a
//! few rows at a time. The operating system loads a page of the file when it is first touched, and
//! would keep the whole file in memory as long as there is room. Each mapping therefore counts the
//! bytes that were read from it, and releases all its pages when the count reaches a quarter of
//! `--memory` (see `bytes`). Reading a released page again costs time, but returns the same values.
//!
//! Two kinds of array cannot be mapped as they are:
//! - A compressed member of an npz archive. A small one is inflated into memory, a large one into a
//!   temporary file that is then mapped.
//! - An array in Fortran order or big-endian. It is converted in memory once, and refused if the
//!   copy does not fit the memory limit.
//!
//! An object in a store, such as s3://bucket/case.safetensors, looks like a mapped file too. The
//! bytes that are needed are fetched into a temporary file first (see `object`).
//!
//! # Hostile files
//! `gradprobe serve` reads files that strangers send, so no number in a file is trusted:
//! - Offsets and sizes are checked against the length of the file, and products of extents are
//!   computed with overflow checks.
//! - A header is read only if it is shorter than both the file and a fixed limit.
//! - A compressed member is inflated only to the size that its array header declares, plus one byte
//!   to detect a longer one. A small file can therefore fill neither memory nor disk.
//! - No parser recurses on nested input. Two tensors of the same name are an error.
//! - Text from a file is shortened, and stripped of control characters, before it is printed.
//!
//! The fuzz targets in `fuzz/` test these rules.
//!
//! # Results
//! A result is written to a temporary file in the target folder and renamed when it is complete, so
//! no reader ever sees a partial file.

mod archive;
mod arrays;
mod bytes;
mod forms;
mod load;
mod names;
mod network;
mod npy;
#[cfg(feature = "npz")]
mod npz;
mod numeric_file;
#[cfg(feature = "object-store")]
mod object;
mod output_file;
mod read;
mod request;
mod safetensors;
mod save;
mod source;
mod storage;
pub(crate) mod url;

pub(crate) use archive::broken;
#[cfg(feature = "remote")]
pub(crate) use bytes::open_regular;
pub use load::Inputs;
pub use numeric_file::NumericFile;
pub use output_file::OutputFile;
pub use read::{Content, load, names, read};
pub use request::Request;
pub use save::{save, save_network, save_tensors};
#[cfg(any(feature = "serve", feature = "remote"))]
pub(crate) use source::format;
#[cfg(feature = "serve")]
pub(crate) use source::{Format, is_packed};
pub use source::{IN_MEMORY, Source};
#[cfg(feature = "cli")]
pub(crate) use storage::list;
pub(crate) use storage::read_text;
