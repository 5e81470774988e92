//! A body as the service takes it in.

use std::{path::PathBuf, sync::Arc};

use gradprobe::{
    check::{self, Options},
    io::{self, Request, Source},
};

/// Reads a file of these bytes; whatever they are, there is a case or an error of one line.
pub fn read(bytes: &[u8], extension: &str) {
    let name = PathBuf::from(format!("body.{extension}"));
    let request = Request {
        memory: Some(16 << 20),
        unpacked: Some(1 << 20),
        ..Request::default()
    };
    let checked = io::load(&Source::Bytes(name, Arc::new(bytes.to_vec())), &request)
        .and_then(|case| check::validate(&case.problem, &case.subjects, &Options::default()));
    if let Err(error) = checked {
        let said = error.to_string();
        assert!(!said.is_empty() && said.len() < 100_000, "{}", said.len());
    }
}
