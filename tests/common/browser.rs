//! Headless Chromium, driven through chromedriver.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use fantoccini::{Client, ClientBuilder};
use serde_json::json;
use tempfile::TempDir;

/// A chromedriver process. Dropping it kills the process and deletes the profiles of its browsers.
pub(crate) struct Driver {
    process: Child,
    url: String,
    _profiles: TempDir,
}

impl Driver {
    pub(crate) fn start() -> Self {
        let profiles = tempfile::tempdir().unwrap();
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", profiles.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect(
                "chromedriver is installed (Debian: chromium-driver); scripts/test installs it",
            );
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let port = line.split("started successfully on port ").nth(1)?;
            Some(port.trim_end_matches('.').to_owned())
        });
        Self {
            process,
            url: format!(
                "http://127.0.0.1:{}",
                port.expect("chromedriver prints its port")
            ),
            _profiles: profiles,
        }
    }

    /// Opens a browser. The caller closes it.
    pub(crate) async fn browser(&self) -> Client {
        let options = json!({
            "args": [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--window-size=1280,1000",
            ],
        });
        let capabilities = json!({ "goog:chromeOptions": options });
        let mut builder =
            ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(capabilities.as_object().unwrap().clone());
        builder.connect(&self.url).await.unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
