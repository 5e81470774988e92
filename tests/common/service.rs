//! A service in its own process, and the requests that tests send to it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use ureq::{Agent, http::Response};

/// Time limit for anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two requests while a test waits.
const PAUSE: Duration = Duration::from_millis(5);

/// A running service. Dropping it kills the process.
pub(crate) struct Service {
    process: Child,
    url: String,
    agent: Agent,
}

/// An answer of the service.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Returns the sentence of a refusal.
    pub(crate) fn detail(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        problem["detail"].as_str().unwrap().to_owned()
    }

    pub(crate) fn id(&self) -> String {
        self.json()["id"].as_str().unwrap().to_owned()
    }
}

impl Service {
    /// Starts a service on a data folder, on a free port.
    pub(crate) fn start(data: &Path, flags: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", data, flags)
    }

    /// Starts a service on a data folder, at an address.
    pub(crate) fn start_at(address: &str, data: &Path, flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_gradprobe"))
            .args(["serve", "--listen", address, "--data"])
            .arg(data)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let url = line.split_whitespace().next().unwrap_or_default();
        assert!(url.starts_with("http://127.0.0.1:"), "{line}");
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE));
        Self {
            process,
            url: url.to_owned(),
            agent: config.build().into(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Returns the host and the port.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        answer(self.agent.get(self.url(path)).call().unwrap())
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.agent.get(self.url(path));
        let add = |request: ureq::RequestBuilder<_>, (name, value): &(&str, &str)| {
            request.header(*name, *value)
        };
        answer(headers.iter().fold(request, add).call().unwrap())
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        answer(self.agent.delete(self.url(path)).call().unwrap())
    }

    /// Requests a check. `query` is the part of the URL after the question mark.
    pub(crate) fn post(&self, query: &str, body: &[u8]) -> Answer {
        self.post_with(query, body, "application/octet-stream")
    }

    /// Requests a check of a body that is sent with a `Content-Type`.
    pub(crate) fn post_with(&self, query: &str, body: &[u8], content_type: &str) -> Answer {
        let url = self.url(&format!("/v1/checks?{query}"));
        let request = self.agent.post(url).header("content-type", content_type);
        answer(request.send(body).unwrap())
    }

    /// Sends bytes over a new connection and returns everything that comes back.
    pub(crate) fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        // The service may close the connection before it has read everything.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Returns a job as it is now.
    pub(crate) fn job(&self, id: &str) -> Value {
        self.get(&format!("/v1/checks/{id}")).json()
    }

    /// Waits until a job has left the queue and returns its state, `running` unless it has ended.
    pub(crate) fn wait_until_started(&self, id: &str) -> String {
        let started = Instant::now();
        loop {
            let job = self.job(id);
            let state = job["state"].as_str().unwrap();
            if state != "queued" {
                return state.to_owned();
            }
            assert!(started.elapsed() < PATIENCE, "{job}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until a job has ended and returns it.
    pub(crate) fn wait_for(&self, id: &str) -> Value {
        let started = Instant::now();
        loop {
            let job = self.job(id);
            if !["queued", "running"].contains(&job["state"].as_str().unwrap()) {
                return job;
            }
            assert!(started.elapsed() < PATIENCE, "{job}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until the newest job is in a state.
    pub(crate) fn wait_for_newest(&self, state: &str) {
        let started = Instant::now();
        while (self.jobs().first()).is_none_or(|job| job["state"] != state) {
            assert!(started.elapsed() < PATIENCE, "{state}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Returns every job that the service keeps, the newest first.
    pub(crate) fn jobs(&self) -> Vec<Value> {
        let (mut jobs, mut cursor) = (Vec::new(), String::new());
        loop {
            let list = self.get(&format!("/v1/checks?limit=7{cursor}")).json();
            jobs.extend(list["checks"].as_array().unwrap().iter().cloned());
            match &list["next"] {
                Value::Null => return jobs,
                next => cursor = format!("&cursor={next}"),
            }
        }
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.process, name);
    }

    /// Returns the largest number of bytes that the process has had in memory.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() << 10
    }

    /// Kills the process, as a crash would.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits until the process has ended and returns its exit code.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a signal, such as `TERM`, to a process.
pub(crate) fn signal(process: &Child, name: &str) {
    let id = process.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &id]).status();
    assert!(sent.unwrap().success());
}

fn answer(mut response: Response<ureq::Body>) -> Answer {
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.body_mut().read_to_string().unwrap(),
    }
}
