//! Headless Chromium, driven through chromedriver.
//!
//! The requests are a dozen of those in the WebDriver standard
//! (<https://www.w3.org/TR/webdriver2>). A client library would add a third to the crates that the
//! tests build.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The tabulator and the enter key, as WebDriver encodes them.
pub(crate) const TAB: char = '\u{e004}';
pub(crate) const ENTER: char = '\u{e007}';

/// The key under which WebDriver returns the id of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

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

    /// Opens a browser. It closes when it is dropped.
    pub(crate) fn browser(&self) -> Browser {
        let options = json!({
            "args": [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--window-size=1280,1000",
            ],
        });
        let capabilities = json!({ "alwaysMatch": { "goog:chromeOptions": options } });
        let sessions = format!("{}/session", self.url);
        let session = request("POST", &sessions, &json!({ "capabilities": capabilities })).unwrap();
        let id = session["sessionId"].as_str().unwrap();
        Browser {
            url: format!("{sessions}/{id}"),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A browser with one window.
pub(crate) struct Browser {
    /// The address of its WebDriver session.
    url: String,
}

impl Browser {
    pub(crate) fn goto(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// Returns the result of a script's body.
    pub(crate) fn execute(&self, script: &str, arguments: &[Value]) -> Value {
        self.post(
            "execute/sync",
            &json!({ "script": script, "args": arguments }),
        )
    }

    /// Returns the only element that a CSS selector matches, or the first one.
    ///
    /// # Errors
    /// The message of the driver if no element matches.
    pub(crate) fn find(&self, selector: &str) -> Result<Element<'_>, String> {
        let by = json!({ "using": "css selector", "value": selector });
        let found = request("POST", &format!("{}/element", self.url), &by)?;
        Ok(self.element(&found))
    }

    pub(crate) fn find_link(&self, text: &str) -> Element<'_> {
        let by = json!({ "using": "link text", "value": text });
        self.element(&self.post("element", &by))
    }

    pub(crate) fn active_element(&self) -> Element<'_> {
        self.element(&self.get("element/active"))
    }

    /// Presses a key for the element that has the focus.
    pub(crate) fn press(&self, key: char) {
        let actions = ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key }));
        let keys = json!({ "type": "key", "id": "keys", "actions": actions });
        self.post("actions", &json!({ "actions": [keys] }));
    }

    /// Makes a frame the document of the next requests.
    pub(crate) fn enter_frame(&self, frame: &Element) {
        self.post("frame", &json!({ "id": { ELEMENT: frame.id } }));
    }

    pub(crate) fn leave_frame(&self) {
        self.post("frame/parent", &json!({}));
    }

    /// Sets the width and the height of the window.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        self.post("window/rect", &json!({ "width": width, "height": height }));
    }

    /// Goes back in the history.
    pub(crate) fn back(&self) {
        self.post("back", &json!({}));
    }

    fn element(&self, found: &Value) -> Element<'_> {
        Element {
            browser: self,
            id: found[ELEMENT].as_str().unwrap().to_owned(),
        }
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        request("POST", &format!("{}/{path}", self.url), body).unwrap()
    }

    fn get(&self, path: &str) -> Value {
        request("GET", &format!("{}/{path}", self.url), &Value::Null).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver may have ended already.
        let _ = request("DELETE", &self.url, &Value::Null);
    }
}

/// An element of the document in a browser.
pub(crate) struct Element<'a> {
    browser: &'a Browser,
    id: String,
}

impl Element<'_> {
    /// Returns the text that is shown.
    ///
    /// # Errors
    /// The message of the driver if the element is no longer in the document.
    pub(crate) fn text(&self) -> Result<String, String> {
        let text = request("GET", &self.url("text"), &Value::Null)?;
        Ok(text.as_str().unwrap().to_owned())
    }

    pub(crate) fn is_displayed(&self) -> bool {
        let shown = request("GET", &self.url("displayed"), &Value::Null);
        shown.unwrap().as_bool().unwrap()
    }

    pub(crate) fn click(&self) {
        self.try_click().unwrap();
    }

    /// # Errors
    /// The message of the driver if the element is no longer in the document.
    pub(crate) fn try_click(&self) -> Result<(), String> {
        request("POST", &self.url("click"), &json!({})).map(|_| ())
    }

    /// Empties a field.
    pub(crate) fn clear(&self) {
        request("POST", &self.url("clear"), &json!({})).unwrap();
    }

    /// Types a text, or chooses a file.
    pub(crate) fn send_keys(&self, text: &str) {
        request("POST", &self.url("value"), &json!({ "text": text })).unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("{}/element/{}/{path}", self.browser.url, self.id)
    }
}

/// Sends a request to the driver and returns the `value` of its answer, or its error's message.
fn request(method: &str, url: &str, body: &Value) -> Result<Value, String> {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(url)
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .new_agent();
    let mut answer = agent.run(request).unwrap();
    // A page of many megabytes is longer than the default limit.
    let text = answer.body_mut().with_config().limit(1 << 30);
    let text = text.read_to_string().unwrap();
    let mut parsed: Value = serde_json::from_str(&text).unwrap();
    let value = parsed["value"].take();
    if answer.status().is_success() {
        Ok(value)
    } else {
        Err(value["message"].as_str().unwrap_or(&text).to_owned())
    }
}
