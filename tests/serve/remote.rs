//! `gradprobe check --server`: prints and exits as a check on this machine does.

use std::{fs, fs::File, path::Path, process::Command};

use crate::{
    fixtures::{token_file, write_two_gradients},
    service::Service,
};

/// Result of a `gradprobe check`.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs `gradprobe check` with these arguments.
fn check(arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_gradprobe"))
        .arg("check")
        .args(arguments)
        .env("GITHUB_ACTIONS", "")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Removes the lines that differ between two runs: the time and the command.
fn comparable(text: &str) -> String {
    let differs = |line: &&str| line.starts_with("  time") || line.starts_with("  repeat");
    text.lines()
        .filter(|line| !differs(line))
        .collect::<Vec<_>>()
        .join("\n")
}

const RIGHT: &str = "tests/cli/data/right.safetensors";
const WRONG: &str = "tests/cli/data/wrong-sum.safetensors";
const TRUNCATED: &str = "tests/cli/data/truncated.safetensors";

/// A service that requires a token, with the flags that a client needs to reach it.
struct Server {
    service: Service,
    url: String,
    token: String,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = token_file(folder.path());
        let flags = ["--device", "cpu", "--token-file", &token];
        let service = Service::start(&folder.path().join("data"), &flags);
        Self {
            url: service.url("/"),
            service,
            token,
            folder,
        }
    }

    /// Runs `gradprobe check` with these arguments at the service.
    fn check(&self, arguments: &[&str]) -> Run {
        let there = ["--server", &self.url, "--token-file", &self.token];
        check(&[arguments, &there].concat())
    }

    /// Returns the path of a file in the test's own folder.
    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn prints_the_same_as_a_check_on_this_machine() {
    let server = Server::start();
    // An archive whose name promises another format.
    let misnamed = server.file("misnamed.safetensors");
    fs::copy("tests/cli/data/right.npz", &misnamed).unwrap();
    let two = server.file("two.safetensors");
    write_two_gradients(Path::new(&two));
    for arguments in [
        &[RIGHT][..],
        &[WRONG],
        &[RIGHT, "--wrt", "input,bias", "--rtol", "1e-9"],
        &[RIGHT, "--allow-inconclusive", "--atol=1"],
        &[WRONG, "--format", "markdown"],
        &[RIGHT, "--quiet"],
        &[&two, "--rows", "0..5"],
        &[&misnamed],
        &["README.md"],
        &["absent.npz"],
        &[TRUNCATED],
        &[RIGHT, TRUNCATED, WRONG],
    ] {
        let here = check(&[arguments, &["--device", "cpu"]].concat());
        let there = server.check(arguments);
        assert_eq!(here.code, there.code, "{arguments:?}: {}", there.stderr);
        assert_eq!(here.stderr, there.stderr, "{arguments:?}");
        if !arguments.contains(&"markdown") {
            assert_eq!(
                comparable(&here.stdout),
                comparable(&there.stdout),
                "{arguments:?}"
            );
        }
    }
}

#[test]
fn writes_every_kind_of_report() {
    let server = Server::start();
    let (html, junit, json) = (
        server.file("r.html"),
        server.file("r.xml"),
        server.file("r.json"),
    );
    let run = server.check(&[WRONG, "--html", &html, "--junit", &junit, "--json", &json]);
    assert_eq!(run.code, Some(1));
    let read = |path: &str| fs::read_to_string(path).unwrap();
    assert!(read(&html).contains("<svg"));
    assert!(read(&junit).contains("<testcase"));
    assert!(read(&json).contains("\"schema\": \"gradprobe/report/1\""));
}

#[test]
fn explains_a_missing_or_wrong_token() {
    let server = Server::start();
    let run = check(&[RIGHT, "--server", &server.url]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (
            Some(2),
            "error: this service requires a token: give --token-file on the command line, or send \
             the header Authorization: Bearer TOKEN\n"
        )
    );
    let other = server.file("another");
    fs::write(&other, "another0123456789\n").unwrap();
    // The refusal comes before the body: the long file would take hours to send.
    let long = server.file("long.safetensors");
    File::create(&long).unwrap().set_len(1 << 40).unwrap();
    for path in [RIGHT, &long] {
        let run = check(&[path, "--server", &server.url, "--token-file", &other]);
        assert_eq!(
            (run.code, run.stderr.as_str()),
            (Some(2), "error: wrong token\n")
        );
    }
}

/// The service chooses the device: a device in the settings file is ignored, one on the command
/// line is refused.
#[test]
fn combines_the_server_with_other_settings() {
    let server = Server::start();
    let settings = server.file("settings.toml");
    fs::write(&settings, "device = \"no such\"\nrtol = 1e-9").unwrap();
    let run = server.check(&[RIGHT, "--config", &settings]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (Some(1), ""),
        "{}",
        run.stdout
    );
    // If the file names both, the server computes.
    let both = format!(
        "device = \"no such\"\nserver = \"{}\"\nsave-failures = \"x\"",
        server.service.url("")
    );
    fs::write(&settings, both).unwrap();
    for more in [["--token-file", &server.token], ["--device", "cpu"]] {
        let run = check(&[&[RIGHT, "--config", &settings], &more[..]].concat());
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    }
    let run = server.check(&[RIGHT, "--device", "cpu"]);
    assert_eq!(run.code, Some(2));
    let start = "error: the argument '--device <D>' cannot be used with '--server <URL>'; ";
    assert!(run.stderr.starts_with(start), "{}", run.stderr);
}

#[test]
fn explains_an_address_that_does_not_work() {
    let server = Server::start();
    let run = check(&[RIGHT, "--server", "localhost:8417"]);
    assert_eq!(run.code, Some(2));
    let end = "expected an address, such as http://127.0.0.1:8417\n";
    assert!(run.stderr.ends_with(end), "{}", run.stderr);

    let wrong = server.service.url("/x");
    let run = check(&[RIGHT, "--server", &wrong, "--token-file", &server.token]);
    assert_eq!(run.code, Some(2));
    let start = format!("error: {wrong}: unknown path; ");
    assert!(run.stderr.starts_with(&start), "{}", run.stderr);

    let url = server.url.trim_end_matches('/').to_owned();
    server.service.kill();
    let run = check(&[RIGHT, "--server", &url, "--token-file", &server.token]);
    assert_eq!(run.code, Some(2));
    let start = format!("error: cannot reach {url}: ");
    assert!(run.stderr.starts_with(&start), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
}

/// The service keeps only the end of a long name. With several files, each report has the command
/// that repeats its check at the service.
#[test]
fn accepts_a_name_longer_than_the_service_keeps() {
    let server = Server::start();
    let long = server.file(&"x".repeat(120));
    fs::create_dir(&long).unwrap();
    let long = format!("{long}/{}.safetensors", "y".repeat(120));
    fs::copy(WRONG, &long).unwrap();
    let run = server.check(&[RIGHT, &long]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
    let mut lines = run.stdout.lines();
    let repeat = lines.find(|line| line.trim().starts_with("repeat"));
    assert!(repeat.unwrap().contains("--server"), "{}", run.stdout);
}

/// The client survives a restart of the service, and cancels the job if it is interrupted.
#[cfg(unix)]
mod away {
    use std::{
        io::{BufRead, BufReader, Read},
        process::{Child, ChildStderr, Stdio},
    };

    use tempfile::TempDir;

    use super::*;
    use crate::{
        fixtures::{large, medium},
        service::signal,
    };

    /// A `gradprobe check --server` that runs.
    struct Client {
        process: Child,
        stderr: BufReader<ChildStderr>,
        notes: String,
    }

    impl Client {
        fn start(url: &str, arguments: &[&str]) -> Self {
            let mut process = Command::new(env!("CARGO_BIN_EXE_gradprobe"))
                .args(["check", "--server", url])
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            Self {
                stderr: BufReader::new(process.stderr.take().unwrap()),
                process,
                notes: String::new(),
            }
        }

        /// Waits until the client has printed a note.
        fn wait_for_note(&mut self, note: &str) {
            while !self.notes.contains(note) {
                let count = self.stderr.read_line(&mut self.notes).unwrap();
                assert!(count > 0, "{}", self.notes);
            }
        }

        /// Waits until the client has ended; returns its exit code and notes.
        fn wait(mut self) -> (Option<i32>, String) {
            self.stderr.read_to_string(&mut self.notes).unwrap();
            let code = self.process.wait().unwrap().code();
            (code, std::mem::take(&mut self.notes))
        }
    }

    impl Drop for Client {
        fn drop(&mut self) {
            // The process may have ended already.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    /// A slow check, and the folder of the services that run it.
    struct Slow {
        folder: TempDir,
        file: String,
    }

    impl Slow {
        fn new(body: fn(&Path) -> Vec<u8>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("slow.safetensors");
            fs::write(&file, body(folder.path())).unwrap();
            let file = file.to_str().unwrap().to_owned();
            Self { folder, file }
        }

        fn service_at(&self, address: &str, grace: &str) -> Service {
            let flags = ["--device", "cpu", "--grace", grace];
            Service::start_at(address, &self.folder.path().join("data"), &flags)
        }

        fn client(&self, service: &Service) -> Client {
            let arguments = ["--method", "forward-pass", &self.file];
            Client::start(&service.url(""), &arguments)
        }
    }

    #[test]
    fn an_interrupted_client_cancels_its_job() {
        let slow = Slow::new(large);
        let service = slow.service_at("127.0.0.1:0", "0s");
        for name in ["INT", "TERM"] {
            let client = slow.client(&service);
            service.wait_for_newest("running");
            signal(&client.process, name);
            let (code, notes) = client.wait();
            assert_eq!(code, Some(130));
            let end = format!(
                "note: interrupted: asked {} to cancel {}\n",
                service.url(""),
                slow.file
            );
            assert!(notes.ends_with(&end), "{notes}");
            service.wait_for_newest("cancelled");
        }
        assert_eq!(service.jobs().len(), 2);
    }

    #[test]
    fn an_interrupted_client_without_its_service_reports_the_job() {
        let slow = Slow::new(large);
        let service = slow.service_at("127.0.0.1:0", "0s");
        let address = service.address().to_owned();
        let arguments = ["--method", "forward-pass", "--verbose", &slow.file];
        let mut client = Client::start(&service.url(""), &arguments);
        client.wait_for_note(" accepted ");
        service.kill();
        signal(&client.process, "INT");
        let (code, notes) = client.wait();
        assert_eq!(code, Some(130));
        assert!(notes.contains(" may still check "), "{notes}");
        let service = slow.service_at(&address, "0s");
        assert_eq!(service.jobs().len(), 1);
    }

    #[test]
    fn a_client_of_a_stopping_service_waits_for_the_next_one() {
        let slow = Slow::new(medium);
        let service = slow.service_at("127.0.0.1:0", "1m");
        let address = service.address().to_owned();
        let running = slow.client(&service);
        service.wait_for_newest("running");
        service.signal("TERM");
        while service.get("/readyz").status == 200 {}
        let mut late = Client::start(&service.url(""), &[RIGHT]);
        late.wait_for_note("; retrying for 120 s\n");
        // The second signal ends the grace period.
        service.signal("TERM");
        assert_eq!(service.wait(), Some(0));
        let service = slow.service_at(&address, "0s");
        for client in [late, running] {
            let (code, notes) = client.wait();
            assert_eq!(code, Some(0), "{notes}");
        }
        assert_eq!(service.jobs().len(), 2);
    }

    #[test]
    fn a_client_waits_while_the_service_restarts() {
        let slow = Slow::new(medium);
        let service = slow.service_at("127.0.0.1:0", "0s");
        let address = service.address().to_owned();
        let mut client = slow.client(&service);
        service.wait_for_newest("running");
        service.signal("TERM");
        assert_eq!(service.wait(), Some(0));
        client.wait_for_note("; retrying\n");
        let service = slow.service_at(&address, "0s");
        let (code, notes) = client.wait();
        assert_eq!(code, Some(0), "{notes}");
        assert!(notes.contains("; retrying\n"), "{notes}");
        assert_eq!(service.jobs().len(), 1);
    }
}
