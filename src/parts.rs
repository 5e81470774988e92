//! A case whose samples lie in many files, checked in parts: on the cores of one machine, or by the
//! machines of a cluster.
//!
//! 1. An [`Index`] names the files of the case. A first pass over their targets yields the
//!    [`Summary`]: the loss is taken over the samples of all files.
//! 2. The rows of each file are cut into units. A unit is always checked as a whole, so that the
//!    result does not depend on which machine checks which units.
//! 3. [`Case::run`] checks some units and returns a [`Partial`]: comparisons, sums behind the
//!    gradients of parameters, and a sample of the rows. Partials are small, are written as JSON
//!    without loss, and [merge](Partial::merge) in any order to the same one.
//! 4. [`Case::finish`] turns the partial of all units into a report: it compares the sums with the
//!    gradients of parameters, and looks for the cause of wrong entries in the sample of rows.
//!
//! ```no_run
//! # fn main() -> gradprobe::error::Result<()> {
//! use gradprobe::{check::Options, device::Device, io::Request, parts::{Case, Index}};
//!
//! let files = vec!["step0.safetensors".into(), "step1.safetensors".into()];
//! let index = Index::of_files(files, Some("layer.safetensors".into()))?;
//! let case = Case::new(index, Request::default(), Options::default())?;
//! let device = Device::Cpu { note: None };
//! let (half, all) = (case.units() / 2, case.units());
//! let first = case.run(0..half, &device, &mut ())?;
//! let second = case.run(half..all, &device, &mut ())?;
//! let report = case.finish(first.merge(second)?, &device)?;
//! # Ok(())
//! # }
//! ```

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::{error::Result, io::broken};

mod case;
mod finish;
mod index;
mod kept;
mod partial;
mod sums;

pub use case::{Case, Unit};
pub use index::{Extract, Index, IndexedFile, Summary};
pub use partial::{CaseId, Partial};

/// Reads a document of JSON. `path` and `format` name it in messages.
fn parse<T: DeserializeOwned>(text: &str, path: &Path, format: &'static str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| broken(path, format, error))
}

/// Requires a document to be of this schema.
fn require_schema(found: &str, schema: &str, path: &Path, format: &'static str) -> Result<()> {
    if found == schema {
        return Ok(());
    }
    let reason = format!("its schema is {found}, not {schema}");
    Err(broken(path, format, reason))
}
