//! A body as the service takes it in.

use std::sync::OnceLock;

use gradprobe::{
    check::{self, Options},
    io::{self, Request, Source},
};

/// Reads a file with these bytes; whatever they are, there is a case or an error of one line.
pub fn read(bytes: &[u8], extension: &str) {
    static PATH: OnceLock<std::path::PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        let name = format!("gradprobe-fuzz-{}.{extension}", std::process::id());
        std::env::temp_dir().join(name)
    });
    std::fs::write(path, bytes).expect("the folder of temporary files can be written");
    let request = Request {
        memory: Some(16 << 20),
        unpacked: Some(1 << 20),
        ..Request::default()
    };
    let checked = io::load(&Source::File(path.clone()), &request)
        .and_then(|case| check::validate(&case.problem, &case.subjects, &Options::default()));
    if let Err(error) = checked {
        let said = error.to_string();
        assert!(!said.is_empty() && said.len() < 100_000, "{}", said.len());
    }
}
