//! The page of a report: valid, self-contained, small, and the same for the same report. No text
//! from a file can break the markup. Chromium parses the pages.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    browser::{Browser, Driver},
    framework::{gradient, tensor},
};
use gradprobe::{
    check::{self, Options, Subject},
    device::Device,
    error::Error,
    loss::Reduction,
    output::{Run, html},
    problem::{Problem, Wrt},
    report::{Report, Seconds, Verdict},
    sweep,
    tensor::Dtype,
};
use serde_json::{Value, json};

const CPU: Device = Device::Cpu { note: None };

/// Returns the report on corrupted gradients of a problem, and its page.
fn run(problem: &Problem, wrts: &[Wrt], corrupt: impl Fn(&mut Vec<f64>)) -> (Report, String) {
    let subject = |&wrt: &Wrt| {
        let mut values = gradient(problem, wrt, Dtype::F32);
        corrupt(&mut values);
        Subject {
            wrt,
            gradient: Some(tensor(Dtype::F32, &problem.gradient_shape(wrt), &values)),
        }
    };
    let subjects: Vec<Subject> = wrts.iter().map(subject).collect();
    let options = Options {
        picture: true,
        ..Options::default()
    };
    let report = check::check(problem, &subjects, &options, &CPU, &mut ()).unwrap();
    let sweeps = subjects
        .iter()
        .map(|subject| sweep::glance(problem, subject));
    let sweeps: Vec<_> = sweeps.collect::<Result<_, _>>().unwrap();
    let runs = [Run::new("cases/a.npz".to_owned(), report.clone(), sweeps)];
    (report, html::render(&runs))
}

fn run_of(report: Report) -> Run {
    Run::new("cases/a.npz".to_owned(), report, Vec::new())
}

fn problem() -> Problem {
    crate::problems::random(3, 300, 20, 5, 1.0, Reduction::Mean)
}

/// An element's name and attributes.
type Element = (String, BTreeMap<String, String>);

/// Returns the faults that Chromium finds in a page, and the page's elements.
fn parse(browser: &Browser, page: &str) -> (Vec<String>, Vec<Element>) {
    let script = include_str!("report_page.js");
    let parsed = browser.execute(script, &[json!(page)]);
    let [faults, elements] = ["faults", "elements"].map(|key| parsed[key].clone());
    (
        serde_json::from_value(faults).unwrap(),
        serde_json::from_value(elements).unwrap(),
    )
}

/// Asserts that a page has no faults, no duplicate ids, no references to missing ids, no external
/// resources, and a description and a caption for each figure. Leaves the page open.
fn require_sound(browser: &Browser, page: &str) {
    let (faults, elements) = parse(browser, page);
    assert_eq!(faults, Vec::<String>::new());
    assert!(!page.contains("://") && !page.contains("<script") && !page.contains("url("));
    let ids = || {
        elements
            .iter()
            .filter_map(|(_, attributes)| attributes.get("id"))
    };
    let distinct: BTreeSet<&String> = ids().collect();
    assert_eq!(ids().count(), distinct.len(), "an id is there twice");
    for (name, attributes) in &elements {
        for forbidden in ["href", "src", "onclick", "style"] {
            assert_eq!(attributes.get(forbidden), None, "{name} has {forbidden}");
        }
        let labels = attributes.get("aria-labelledby").map_or("", String::as_str);
        let mut labels = labels.split_whitespace();
        assert!(
            labels.clone().all(|id| distinct.contains(&id.to_owned())),
            "{name} {labels:?}"
        );
        if name == "svg" {
            assert_eq!(labels.by_ref().count(), 2, "a title and a description");
        }
    }
    let count = |element: &str| elements.iter().filter(|(name, _)| name == element).count();
    assert_eq!(count("svg"), count("figcaption"));
    assert!(count("svg") >= 3, "{} figures", count("svg"));
    require_self_contained(browser, page);
}

/// Opens a page from a file and asserts that it has loaded nothing.
fn require_self_contained(browser: &Browser, page: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    std::fs::write(&path, page).unwrap();
    browser.goto(&format!("file://{}", path.display()));
    let loaded = "return performance.getEntriesByType('resource').map(entry => entry.name)";
    assert_eq!(browser.execute(loaded, &[]), json!([]));
}

#[test]
fn the_parser_finds_faults() {
    let driver = Driver::start();
    let browser = driver.browser();
    let page = |body: &str| {
        format!("<!DOCTYPE html><html><head><title>t</title></head><body>{body}</body></html>")
    };
    let broken = [
        "<p></div>".to_owned(),
        "<!DOCTYPE html><table><p></table>".to_owned(),
        "<!DOCTYPE html><a b=1 b=2>".to_owned(),
        page("<p>one<p>two"),
        page("<p>one</div>"),
        page("<a b=1 b=2></a>"),
        page("<a b=\"1\" b=\"2\"></a>"),
        page("<p>1 < 2</p>"),
        page("<p>a & b</p>"),
        // These pages are valid XML, but an HTML parser moves or adds an element.
        page("<table><p>text</p></table>"),
        page("<table><tr><td>text</td></tr></table>"),
        page("<p><table></table></p>"),
        page("<div/>text"),
        page("<p>text</p>").replace("<!DOCTYPE html>", ""),
    ];
    for page in broken {
        let (faults, _) = parse(&browser, &page);
        assert!(!faults.is_empty(), "{page}");
    }
    let (faults, elements) = parse(&browser, &page("<p id=\"x\">1 &#60; 2</p>\n<svg/>\n"));
    assert_eq!(faults, Vec::<String>::new());
    let names: Vec<&str> = elements.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["html", "head", "title", "body", "p", "svg"]);
    assert_eq!(elements[4].1["id"], "x");
}

#[test]
fn pages_are_sound_whatever_the_verdict() {
    let driver = Driver::start();
    let browser = driver.browser();
    let all = [Wrt::Input, Wrt::Logits, Wrt::Weight, Wrt::Bias];
    type Corrupt = fn(&mut Vec<f64>);
    let cases: [(Corrupt, Verdict); 5] = [
        (|_| {}, Verdict::Pass),
        (|g| g.iter_mut().for_each(|g| *g *= 10.0), Verdict::Fail),
        (|g| g.reverse(), Verdict::Fail),
        (|g| g.iter_mut().for_each(|g| *g = 0.0), Verdict::Fail),
        (|g| g[0] = f64::NAN, Verdict::Fail),
    ];
    for (corrupt, verdict) in cases {
        let (report, page) = run(&problem(), &all, corrupt);
        assert_eq!(report.verdict, verdict);
        require_sound(&browser, &page);
        for check in &report.checks {
            assert!(page.contains(check.wrt.grad_name()));
            for finding in &check.findings {
                assert!(page.contains(&finding.code.to_string()));
            }
        }
    }
}

#[test]
fn the_same_report_gives_the_same_bytes() {
    let (mut report, _) = run(&problem(), &[Wrt::Input], |g| g.reverse());
    report.seconds = Seconds::default();
    let page = html::render(&[run_of(report.clone())]);
    assert_eq!(page, html::render(&[run_of(report)]));
}

#[test]
fn text_from_outside_stays_text() {
    let driver = Driver::start();
    let browser = driver.browser();
    let (mut report, _) = run(&problem(), &[Wrt::Input], |_| {});
    let command = "gradprobe check '</code><script>alert(1)</script>.npz' --rtol \"1\"";
    report.command = Some(command.to_owned());
    report.device.name = "<img src=x> & \"co\"".to_owned();
    let page = html::render(&[run_of(report)]);
    require_sound(&browser, &page);
    assert!(!page.contains("<img") && page.contains("alert(1)"));
    // The texts as Chromium shows them.
    let shown = "return [document.querySelector('pre').textContent, document.body.textContent, \
                 document.querySelectorAll('img, script').length]";
    let shown = browser.execute(shown, &[]);
    assert_eq!(shown[0], command);
    assert!(shown[1].as_str().unwrap().contains("<img src=x> & \"co\""));
    assert_eq!(shown[2], Value::from(0));
}

/// A page lists all of several files, and has the reports of those that did not pass.
#[test]
fn several_files_make_one_page() {
    let driver = Driver::start();
    let browser = driver.browser();
    let (pass, _) = run(&problem(), &[Wrt::Input], |_| {});
    let (fail, _) = run(&problem(), &[Wrt::Input, Wrt::Logits], |g| g.reverse());
    let error = Error::NoDevice {
        asked: "<gpu>".to_owned(),
        present: vec!["cpu".to_owned()],
    };
    let broken = Run::failed("<b>.npz".to_owned(), error);
    let runs = [run_of(pass), run_of(fail.clone()), broken, run_of(fail)];
    let page = html::render(&runs);
    require_sound(&browser, &page);
    assert!(page.contains("1 of 4 files pass; 2 failed, 1 could not be checked."));
    assert_eq!(page.matches("<tr class=\"").count(), 4);
    assert_eq!(page.matches("<h2 class=\"file\">").count(), 2);
}

/// A gradient that is wrong everywhere, by a different error in each entry.
#[test]
fn a_million_entries_are_a_small_page() {
    let driver = Driver::start();
    let browser = driver.browser();
    let problem = crate::problems::random(4, 10_000, 100, 10, 1.0, Reduction::Mean);
    let (report, page) = run(&problem, &[Wrt::Input], |g| g.rotate_right(1234));
    assert_eq!(report.checks[0].entries, 1_000_000);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    require_sound(&browser, &page);
}

/// One wrong entry among a million makes its cell of the map red.
#[test]
fn a_wrong_entry_is_not_binned_away() {
    let problem = crate::problems::random(5, 10_000, 100, 3, 1.0, Reduction::Mean);
    let (report, page) = run(&problem, &[Wrt::Input], |g| g[654_321] *= 1.001);
    let tally = report.checks[0].tally().unwrap();
    let picture = tally.picture.as_ref().unwrap();
    assert_eq!(picture.map.iter().map(|cell| cell.wrong).sum::<u64>(), 1);
    let [_, map] = page.split("<svg").collect::<Vec<_>>()[1..3] else {
        panic!("two figures")
    };
    let map = &map[..map.find("</svg>").unwrap()];
    assert!(map.contains("cells with a wrong entry: 1."));
    let red = map.matches("<path class=\"wrong").count();
    // Three red cells are in the legend.
    assert_eq!(red, 3 + 1, "{map}");
}
