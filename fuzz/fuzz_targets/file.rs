//! Reads fuzzer input as `gradprobe serve` reads the body of a request.

use std::{path::PathBuf, sync::Arc};

use gradprobe::{
    case::Case,
    check::Options,
    io::{Request, Source},
};

/// Loads and validates a file with these bytes. It must end with a case or with an error that
/// has a short message; a panic, or memory beyond the limits, is a bug.
pub fn read(bytes: &[u8], extension: &str) {
    let name = PathBuf::from(format!("body.{extension}"));
    let request = Request {
        memory: Some(16 << 20),
        unpacked: Some(1 << 20),
        ..Request::default()
    };
    let source = Source::Bytes(name, Arc::new(bytes.to_vec()));
    let options = Options::default();
    let checked = Case::load(&source, &request, &options).and_then(|case| case.validate(&options));
    if let Err(error) = checked {
        let message = error.to_string();
        assert!(
            !message.is_empty() && message.len() < 100_000,
            "{}",
            message.len()
        );
    }
}
