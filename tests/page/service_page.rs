//! The service's page, in headless Chromium, as somebody without a mouse uses it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::service::Service;
use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource, KeyAction, KeyActions},
    key::Key,
};
use serde_json::json;
use tempfile::TempDir;

/// Chromium's driver in a process of its own; dropped, it is killed, and the browsers' profiles go with it.
struct Driver {
    process: Child,
    url: String,
    _profiles: TempDir,
}

impl Driver {
    fn start() -> Self {
        let profiles = tempfile::tempdir().unwrap();
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", profiles.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver is there (Debian: chromium-driver); scripts/test installs it");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let port = line.split("started successfully on port ").nth(1)?;
            Some(port.trim_end_matches('.').to_owned())
        });
        Self {
            process,
            url: format!("http://127.0.0.1:{}", port.expect("it tells its port")),
            _profiles: profiles,
        }
    }

    async fn browser(&self) -> Client {
        let options = json!({
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1000"],
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
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn text(browser: &Client, id: &str) -> String {
    let element = browser.find(Locator::Id(id)).await.unwrap();
    element.text().await.unwrap()
}

/// Waits until an element says something.
async fn wait_for(browser: &Client, id: &str, said: &str) {
    let started = Instant::now();
    loop {
        let text = match id {
            "report" => report(browser).await,
            _ => text(browser, id).await,
        };
        if text.contains(said) {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{id} says {text:?}, not {said:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The report that is shown; nothing where it is yet to come.
async fn report(browser: &Client) -> String {
    let frame = browser.find(Locator::Id("report")).await.unwrap();
    if !frame.is_displayed().await.unwrap() {
        return String::new();
    }
    frame.enter_frame().await.unwrap();
    // The frame may be changing under its reader.
    let text = match browser.find(Locator::Css("body")).await {
        Ok(body) => body.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    };
    browser.enter_parent_frame().await.unwrap();
    text
}

/// A key, for whatever has the focus.
async fn press(browser: &Client, key: Key) {
    let value = char::from(key);
    let keys = KeyActions::new("keys".to_owned())
        .then(KeyAction::Down { value })
        .then(KeyAction::Up { value });
    browser.perform_actions(keys).await.unwrap();
}

#[tokio::test]
async fn a_newcomer_sees_a_wrong_gradient_explained_within_ten_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &["--device", "cpu"]);
    let driver = Driver::start();
    let browser = driver.browser().await;
    browser.goto(&service.url("/")).await.unwrap();

    // From the top of the page the second thing that takes a key is the example.
    let started = Instant::now();
    press(&browser, Key::Tab).await;
    press(&browser, Key::Tab).await;
    let active = browser.active_element().await.unwrap();
    assert_eq!(active.text().await.unwrap(), "Run the example");
    press(&browser, Key::Enter).await;
    wait_for(&browser, "status", "The gradient is wrong.").await;
    let said = "it looks like the sum of 10 backward passes";
    wait_for(&browser, "report", said).await;
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    wait_for(&browser, "past", "grad (accumulated)").await;

    // A file of one's own.
    let right = Path::new("tests/cli/data/right.safetensors")
        .canonicalize()
        .unwrap();
    let file = browser.find(Locator::Id("file")).await.unwrap();
    file.send_keys(right.to_str().unwrap()).await.unwrap();
    wait_for(&browser, "current-name", "right.safetensors").await;
    wait_for(&browser, "status", "All 2 gradients are right.").await;
    wait_for(&browser, "report", "PASS: grad is right").await;

    // One that is none, and settings that there are not.
    let broken = Path::new("tests/cli/data/truncated.safetensors")
        .canonicalize()
        .unwrap();
    let file = browser.find(Locator::Id("file")).await.unwrap();
    file.send_keys(broken.to_str().unwrap()).await.unwrap();
    wait_for(
        &browser,
        "status",
        "truncated.safetensors is not a readable safetensors file",
    )
    .await;
    let settings = browser.find(Locator::Id("settings")).await.unwrap();
    settings.send_keys("--tolerance 1").await.unwrap();
    let file = browser.find(Locator::Id("file")).await.unwrap();
    file.send_keys(right.to_str().unwrap()).await.unwrap();
    wait_for(
        &browser,
        "status",
        "there is no setting 'tolerance'; there are wrt, ",
    )
    .await;

    // As flags, or as a query.
    for typed in ["--rtol 1e-9 --atol=0", "rtol = 1e-9 & atol=0"] {
        let settings = browser.find(Locator::Id("settings")).await.unwrap();
        settings.clear().await.unwrap();
        settings.send_keys(typed).await.unwrap();
        let file = browser.find(Locator::Id("file")).await.unwrap();
        file.send_keys(right.to_str().unwrap()).await.unwrap();
        wait_for(&browser, "status", "2 of 2 gradients are wrong.").await;
    }
    // A pass says what was not looked at.
    let settings = browser.find(Locator::Id("settings")).await.unwrap();
    settings.clear().await.unwrap();
    settings.send_keys("--rows 0..1").await.unwrap();
    let file = browser.find(Locator::Id("file")).await.unwrap();
    file.send_keys(right.to_str().unwrap()).await.unwrap();
    let said = "All 2 gradients are right in the rows that were checked.";
    wait_for(&browser, "status", said).await;

    // Back to a check before.
    let past = browser
        .find(Locator::LinkText("digits-accumulated.safetensors"))
        .await
        .unwrap();
    past.click().await.unwrap();
    wait_for(&browser, "status", "The gradient is wrong.").await;
    assert_eq!(
        text(&browser, "current-name").await,
        "digits-accumulated.safetensors"
    );
    browser.close().await.unwrap();
}

#[tokio::test]
async fn the_page_asks_for_a_token_and_loads_nothing_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let flags = ["--device", "cpu", "--token-file", token.to_str().unwrap()];
    let service = Service::start(&folder.path().join("data"), &flags);
    let driver = Driver::start();
    let browser = driver.browser().await;
    browser.goto(&service.url("/")).await.unwrap();
    wait_for(&browser, "token-form", "This service wants a token.").await;
    let field = browser.find(Locator::Id("token")).await.unwrap();
    field.send_keys("another0123456789").await.unwrap();
    let enter = char::from(Key::Enter).to_string();
    field.send_keys(&enter).await.unwrap();
    let said = "That is not the token of this service.";
    wait_for(&browser, "token-status", said).await;
    field.clear().await.unwrap();
    field.send_keys("0123456789abcdef").await.unwrap();
    field.send_keys(&enter).await.unwrap();
    wait_for(&browser, "device", "It is computed on ").await;
    browser
        .find(Locator::Id("example"))
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    wait_for(&browser, "status", "The gradient is wrong.").await;

    let loaded = "return performance.getEntriesByType('resource').map(entry => entry.name)";
    let loaded = browser.execute(loaded, Vec::new()).await.unwrap();
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
    browser.close().await.unwrap();
}
