//! The page of the service in headless Chromium, used without a mouse.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{browser::Driver, service::Service};
use fantoccini::{
    Client, Locator,
    actions::{InputSource, KeyAction, KeyActions},
    elements::Element,
    key::Key,
};

struct Browser(Client);

impl Browser {
    async fn find(&self, id: &str) -> Element {
        self.0.find(Locator::Id(id)).await.unwrap()
    }

    async fn text(&self, id: &str) -> String {
        self.find(id).await.text().await.unwrap()
    }

    /// Waits until the text of an element contains `expected`.
    async fn wait_for(&self, id: &str, expected: &str) {
        let started = Instant::now();
        loop {
            let text = match id {
                "report" => self.report().await,
                _ => self.text(id).await,
            };
            if text.contains(expected) {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "{id} shows {text:?}, not {expected:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the text of the report that is shown, empty while there is none.
    async fn report(&self) -> String {
        let frame = self.find("report").await;
        if !frame.is_displayed().await.unwrap() {
            return String::new();
        }
        frame.enter_frame().await.unwrap();
        // The content of the frame may be changing.
        let text = match self.0.find(Locator::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        self.0.enter_parent_frame().await.unwrap();
        text
    }

    /// Presses a key, for the element that has the focus.
    async fn press(&self, key: Key) {
        let value = char::from(key);
        let keys = KeyActions::new("keys".to_owned())
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value });
        self.0.perform_actions(keys).await.unwrap();
    }

    /// Chooses a file of tests/cli/data.
    async fn choose(&self, name: &str) {
        let path = Path::new("tests/cli/data")
            .join(name)
            .canonicalize()
            .unwrap();
        let input = self.find("file").await;
        input.send_keys(path.to_str().unwrap()).await.unwrap();
    }

    /// Replaces the content of a field.
    async fn enter(&self, id: &str, text: &str) {
        let field = self.find(id).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }
}

#[tokio::test]
async fn a_newcomer_sees_a_wrong_gradient_explained_within_ten_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &["--device", "cpu"]);
    let driver = Driver::start();
    let browser = Browser(driver.browser().await);
    browser.0.goto(&service.url("/")).await.unwrap();

    // The example is the second element in the order of the keyboard.
    let started = Instant::now();
    browser.press(Key::Tab).await;
    browser.press(Key::Tab).await;
    let active = browser.0.active_element().await.unwrap();
    assert_eq!(active.text().await.unwrap(), "Run the example");
    browser.press(Key::Enter).await;
    browser.wait_for("status", "The gradient is wrong.").await;
    let cause = "as if 10 backward passes had been summed";
    browser.wait_for("report", cause).await;
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    browser.wait_for("past", "grad (accumulated)").await;
    browser.0.close().await.unwrap();
}

#[tokio::test]
async fn checks_files_with_settings_and_goes_back_to_past_checks() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &["--device", "cpu"]);
    let driver = Driver::start();
    let browser = Browser(driver.browser().await);
    browser.0.goto(&service.url("/")).await.unwrap();
    browser.find("example").await.click().await.unwrap();
    browser.wait_for("status", "The gradient is wrong.").await;

    let right = "right.safetensors";
    browser.choose(right).await;
    browser.wait_for("current-name", right).await;
    browser
        .wait_for("status", "All 2 gradients are right.")
        .await;
    browser.wait_for("report", "PASS: grad is right").await;

    // A broken file, and an unknown setting.
    browser.choose("truncated.safetensors").await;
    let refusal = "truncated.safetensors is not a readable safetensors file";
    browser.wait_for("status", refusal).await;
    browser.enter("settings", "--tolerance 1").await;
    browser.choose(right).await;
    let refusal = "unknown setting 'tolerance'; the settings are wrt, ";
    browser.wait_for("status", refusal).await;

    // Settings are flags or a query.
    for settings in ["--rtol 1e-9 --atol=0", "rtol = 1e-9 & atol=0"] {
        browser.enter("settings", settings).await;
        browser.choose(right).await;
        browser
            .wait_for("status", "2 of 2 gradients are wrong.")
            .await;
    }
    // A pass of some rows claims no more than that.
    browser.enter("settings", "--rows 0..1").await;
    browser.choose(right).await;
    let verdict = "All 2 gradients are right in the checked rows.";
    browser.wait_for("status", verdict).await;

    let example = "digits-accumulated.safetensors";
    let past = browser.0.find(Locator::LinkText(example)).await.unwrap();
    past.click().await.unwrap();
    browser.wait_for("status", "The gradient is wrong.").await;
    assert_eq!(browser.text("current-name").await, example);
    browser.0.close().await.unwrap();
}

#[tokio::test]
async fn the_page_requests_a_token_and_loads_nothing_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let flags = ["--device", "cpu", "--token-file", token.to_str().unwrap()];
    let service = Service::start(&folder.path().join("data"), &flags);
    let driver = Driver::start();
    let browser = Browser(driver.browser().await);
    browser.0.goto(&service.url("/")).await.unwrap();
    browser
        .wait_for("token-form", "This service requires a token.")
        .await;
    let enter = char::from(Key::Enter);
    browser
        .enter("token", &format!("another0123456789{enter}"))
        .await;
    browser.wait_for("token-status", "Wrong token.").await;
    browser
        .enter("token", &format!("0123456789abcdef{enter}"))
        .await;
    browser.wait_for("device", "Runs on ").await;
    browser.find("example").await.click().await.unwrap();
    browser.wait_for("status", "The gradient is wrong.").await;

    let script = "return performance.getEntriesByType('resource').map(entry => entry.name)";
    let loaded = browser.0.execute(script, Vec::new()).await.unwrap();
    let loaded: Vec<&str> = loaded
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    assert!(
        loaded.iter().any(|url| url.ends_with("/service.js")),
        "{loaded:?}"
    );
    assert!(
        loaded
            .iter()
            .all(|url| url.starts_with(&service.url("/")) || url.starts_with("data:")),
        "{loaded:?}"
    );
    browser.0.close().await.unwrap();
}
