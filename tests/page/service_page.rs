//! The page of the service in headless Chromium, used without a mouse.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    browser::{Browser, Driver, ENTER, Element, TAB},
    service::Service,
};

/// The service's page in a browser.
struct Page(Browser);

impl Page {
    fn find(&self, id: &str) -> Element<'_> {
        self.0.find(&format!("#{id}")).unwrap()
    }

    fn text(&self, id: &str) -> String {
        self.find(id).text().unwrap()
    }

    /// Waits until the text of an element contains `expected`.
    fn wait_for(&self, id: &str, expected: &str) {
        let started = Instant::now();
        loop {
            let text = match id {
                "report" => self.report(),
                _ => self.text(id),
            };
            if text.contains(expected) {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "{id} shows {text:?}, not {expected:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a script returns true.
    fn wait_until(&self, script: &str) {
        let started = Instant::now();
        while self.0.execute(script, &[]) != true {
            assert!(started.elapsed() < Duration::from_secs(10), "{script}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the text of the report that is shown, empty while there is none.
    fn report(&self) -> String {
        let Ok(frame) = self.0.find("#report") else {
            return String::new();
        };
        self.0.enter_frame(&frame);
        // The content of the frame may be changing.
        let text = self.0.find("body").and_then(|body| body.text());
        self.0.leave_frame();
        text.unwrap_or_default()
    }

    /// Chooses a file of tests/cli/data.
    fn choose(&self, name: &str) {
        let path = Path::new("tests/cli/data")
            .join(name)
            .canonicalize()
            .unwrap();
        self.find("file").send_keys(path.to_str().unwrap());
    }

    /// Replaces the content of a field.
    fn enter(&self, id: &str, text: &str) {
        let field = self.find(id);
        field.clear();
        field.send_keys(text);
    }
}

/// Opens the page of a new service on the CPU. Its data lie in the folder.
fn open() -> (TempDir, Service, Driver, Page) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &["--device", "cpu"]);
    let driver = Driver::start();
    let page = Page(driver.browser());
    page.0.goto(&service.url("/"));
    (folder, service, driver, page)
}

#[test]
fn a_newcomer_sees_a_wrong_gradient_explained_within_ten_seconds() {
    let (_folder, _service, _driver, page) = open();

    // The example is the second element in the order of the keyboard.
    let started = Instant::now();
    page.0.press(TAB);
    page.0.press(TAB);
    let active = page.0.active_element();
    assert_eq!(active.text().unwrap(), "Run the example");
    page.0.press(ENTER);
    page.wait_for("status", "The gradient is wrong.");
    let cause = "as if 10 backward passes had been summed";
    page.wait_for("report", cause);
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    page.wait_for("past", "grad (accumulated)");
}

#[test]
fn checks_files_with_settings_and_goes_back_to_past_checks() {
    let (_folder, _service, _driver, page) = open();
    page.find("example").click();
    page.wait_for("status", "The gradient is wrong.");

    let right = "right.safetensors";
    page.choose(right);
    page.wait_for("current-name", right);
    page.wait_for("status", "All 2 gradients are right.");
    page.wait_for("report", "grad is right: all 6 entries agree");

    // A broken file, and an unknown setting.
    page.choose("truncated.safetensors");
    let refusal = "truncated.safetensors is not a readable safetensors file";
    page.wait_for("status", refusal);
    page.enter("settings", "--tolerance 1");
    page.choose(right);
    let refusal = "unknown setting 'tolerance'; the settings are wrt, ";
    page.wait_for("status", refusal);

    // Settings are flags or a query.
    for settings in ["--rtol 1e-9 --atol=0", "rtol = 1e-9 & atol=0"] {
        page.enter("settings", settings);
        page.choose(right);
        page.wait_for("status", "2 of 2 gradients are wrong.");
    }
    // A pass of some rows claims no more than that.
    page.enter("settings", "--rows 0..1");
    page.choose(right);
    let verdict = "All 2 gradients are right in the checked rows.";
    page.wait_for("status", verdict);

    let example = "digits-accumulated.safetensors";
    // The list may be drawn anew between the two.
    while page.0.find_link(example).try_click().is_err() {}
    page.wait_for("status", "The gradient is wrong.");
    assert_eq!(page.text("current-name"), example);
}

#[test]
fn the_page_requests_a_token_and_loads_nothing_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let flags = ["--device", "cpu", "--token-file", token.to_str().unwrap()];
    let service = Service::start(&folder.path().join("data"), &flags);
    let driver = Driver::start();
    let page = Page(driver.browser());
    page.0.goto(&service.url("/"));
    page.wait_for("token-form", "This service requires a token.");
    page.enter("token", &format!("another0123456789{ENTER}"));
    page.wait_for("token-status", "Wrong token.");
    page.enter("token", &format!("0123456789abcdef{ENTER}"));
    page.wait_for("device", "Runs on ");
    page.find("example").click();
    page.wait_for("status", "The gradient is wrong.");

    let script = "return performance.getEntriesByType('resource').map(entry => entry.name)";
    let loaded = page.0.execute(script, &[]);
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
}

/// The frame is as high as the report in a window of any width, so that only the page scrolls.
#[test]
fn the_frame_follows_the_window() {
    let (_folder, _service, _driver, page) = open();
    page.find("example").click();
    page.wait_for("report", "as if 10 backward passes had been summed");
    let height = "return document.getElementById('report').getBoundingClientRect().height";
    let fits = "const frame = document.getElementById('report'); \
                const content = frame.contentDocument.documentElement; \
                const rest = frame.clientHeight - content.getBoundingClientRect().height; \
                return rest >= 0 && rest < 2 && innerWidth";
    let mut heights = Vec::new();
    for width in [1280, 600, 1280] {
        page.0.resize(width, 900);
        page.wait_until(&format!("{fits} === {width}"));
        heights.push(page.0.execute(height, &[]).as_f64().unwrap());
    }
    assert!(heights[1] > 1.2 * heights[0], "{heights:?}");
    assert!((heights[2] - heights[0]).abs() < 20.0, "{heights:?}");
}

#[test]
fn back_leaves_a_report_and_an_ended_check_can_be_deleted() {
    let (_folder, service, _driver, page) = open();
    for (name, past) in [("right", "pass"), ("wrong-sum", "fail")] {
        page.choose(&format!("{name}.safetensors"));
        page.wait_for("report", "This run");
        page.wait_for("past", past);
    }
    // Back to the first report, and then to none.
    page.0.back();
    page.wait_for("current-name", "right.safetensors");
    page.wait_for("report", "grad is right");
    page.0.back();
    page.wait_until("return document.getElementById('current').hidden");
    assert_eq!(page.0.execute("return document.title", &[]), "gradprobe");

    // The list can be limited to a verdict. A gradient that passed has no finding.
    let rows = "return [...document.querySelectorAll('#past tbody tr')].map( \
                row => [...row.cells].slice(0, 3).map(cell => cell.textContent))";
    page.find("filter").send_keys("pass");
    let passed = serde_json::json!([["right.safetensors", "pass", "grad, grad_logits"]]);
    page.wait_until(&format!(
        "return JSON.stringify((() => {{ {rows} }})()) === '{passed}'"
    ));
    assert_eq!(page.text("past-name"), "Past checks");

    // The button must be pressed twice.
    page.0.find_link("right.safetensors").click();
    page.wait_for("report", "grad is right");
    page.find("delete").click();
    page.wait_for("delete", "Press again to delete the file and its report");
    assert_eq!(service.jobs().len(), 2);
    page.find("delete").click();
    page.wait_for("none", "None with this verdict.");
    assert!(!page.find("current").is_displayed());
    assert_eq!(service.jobs().len(), 1);
}

#[test]
fn the_page_shows_how_to_make_a_file() {
    let (folder, _service, _driver, page) = open();
    assert!(!page.find("pytorch").is_displayed());
    let pickled = folder.path().join("mine.pt");
    std::fs::write(&pickled, "PK").unwrap();
    page.find("file").send_keys(pickled.to_str().unwrap());
    page.wait_for(
        "status",
        "mine.pt is neither a .safetensors nor an .npz file.",
    );
    assert!(page.find("pytorch").is_displayed());
    assert!(page.text("numpy").contains("weight=W, "));
    assert!(page.text("loss").contains("grad_logits"));
    let copy = page.0.find("[data-of=pytorch]").unwrap();
    copy.click();
    page.wait_until(
        "return ['Copied', 'Selected'].includes( \
         document.querySelector('[data-of=pytorch]').textContent)",
    );
}

#[test]
fn the_page_notices_that_the_service_is_gone() {
    let (_folder, service, _driver, page) = open();
    page.choose("right.safetensors");
    page.wait_for("past", "pass");
    drop(service);
    page.find("example").click();
    page.wait_for("status", "The service is gone: it does not answer.");
    page.choose("right.safetensors");
    page.wait_for("status", "The service is gone: it does not answer.");
    page.0.find_link("right.safetensors").click();
    page.wait_for(
        "status",
        "The service is gone: it does not answer. Trying again.",
    );
}

/// Nothing is wider than a narrow window, and a name breaks only after its punctuation.
#[test]
fn the_page_fits_a_phone() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &["--device", "cpu"]);
    let body = std::fs::read("tests/cli/data/right.safetensors").unwrap();
    let name = "a_folder/a-rather-long-name.of_a_case.safetensors";
    service.post(&format!("wait=60&name={name}"), &body);
    let driver = Driver::start();
    let page = Page(driver.browser());
    page.0.goto(&service.url("/"));
    page.0.resize(500, 900);
    page.wait_for("past", "pass");
    let fits = "return document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(page.0.execute(fits, &[]), true);
    let pieces = "return [...document.querySelector('#past a').childNodes] \
                  .filter(node => node.nodeType === Node.TEXT_NODE).map(node => node.data) \
                  .every(piece => piece.length <= 11)";
    assert_eq!(page.0.execute(pieces, &[]), true);
}
