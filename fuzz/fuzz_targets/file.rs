//! Reads fuzzer input as `gradprobe serve` reads the body of a request.

use std::{path::PathBuf, sync::Arc};

use gradprobe::{
    check::{self, Options},
    io::{self, Request, Source},
};

/// Loads and validates a file with these bytes. It must end with a problem or with an error that
/// has a short message; a panic, or memory beyond the limits, is a bug.
pub fn read(bytes: &[u8], extension: &str) {
    let name = PathBuf::from(format!("body.{extension}"));
    let request = Request {
        memory: Some(16 << 20),
        unpacked: Some(1 << 20),
        ..Request::default()
    };
    let source = Source::Bytes(name, Arc::new(bytes.to_vec()));
    let checked = io::load(&source, &request)
        .and_then(|inputs| check::validate(&inputs.problem, &inputs.subjects, &Options::default()));
    if let Err(error) = checked {
        let message = error.to_string();
        assert!(
            !message.is_empty() && message.len() < 100_000,
            "{}",
            message.len()
        );
    }
}
