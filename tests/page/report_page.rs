//! The page of a report: valid, self-contained, small, and the same for the same report. No text
//! from a file can break the markup. Chromium parses the pages.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

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
/// resources, and a name, a description and a caption for each figure. Leaves the page open.
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
        for forbidden in ["src", "onclick", "style"] {
            assert_eq!(attributes.get(forbidden), None, "{name} has {forbidden}");
        }
        let attribute = |name: &str| attributes.get(name).map_or("", String::as_str);
        let referred = ["aria-labelledby", "aria-describedby"].map(attribute);
        let linked = attribute("href").split_once('#').map(|(page, id)| {
            assert_eq!(page, "", "a link to another page");
            id
        });
        for id in referred
            .into_iter()
            .chain(linked)
            .filter(|id| !id.is_empty())
        {
            assert!(distinct.contains(&id.to_owned()), "{name} refers to {id}");
        }
        if name == "svg" {
            assert_ne!(attribute("aria-label"), "");
            assert_ne!(attribute("aria-describedby"), "");
        }
    }
    let count = |element: &str| elements.iter().filter(|(name, _)| name == element).count();
    assert_eq!(count("svg"), count("figcaption"));
    assert!(count("svg") >= 1, "{} figures", count("svg"));
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
    assert_eq!(page.matches("<h2 class=\"file fail\"").count(), 2);
    assert_eq!(page.matches("<a href=\"#file-").count(), 2 + 4);
}

/// A gradient that is wrong everywhere, by a different error in each entry.
#[test]
fn a_million_entries_are_a_small_page() {
    let driver = Driver::start();
    let browser = driver.browser();
    let problem = crate::problems::random(4, 10_000, 100, 10, 1.0, Reduction::Mean);
    let (report, page) = run(&problem, &[Wrt::Input], |g| g.rotate_right(1234));
    assert_eq!(report.checks[0].entries, 1_000_000);
    assert!(page.len() < 250_000, "{} bytes", page.len());
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
    let map = figure(&page, "map");
    assert!(map.contains("cells with a wrong entry: 1."));
    let cells = map
        .split("<path class=\"stroke cell wrong")
        .collect::<Vec<_>>();
    assert_eq!(cells.len(), 2, "{map}");
    let cell = cells[1].split_once("d=\"").unwrap().1;
    assert_eq!(cell.split_once('"').unwrap().0, "M20 41h1");
    // The text under the pointer.
    let text = "rows 6250 to 6874, columns 21 to 24: 1 of 2,500 wrong, up to ";
    assert!(map.contains(text), "{map}");
}

/// Returns a figure of a page on one gradient.
fn figure<'a>(page: &'a str, name: &str) -> &'a str {
    let end = format!("aria-describedby=\"grad-{name}-desc\"");
    let mut figures = page.split("<svg").skip(1);
    let figure = figures.find(|figure| figure.contains(&end));
    let figure = figure.unwrap_or_else(|| panic!("no {name}"));
    &figure[..figure.find("</svg>").unwrap()]
}

/// A map that would be one colour is a sentence.
#[test]
fn a_map_shows_places_or_is_a_sentence() {
    let pass = run(&problem(), &[Wrt::Input], |_| {}).1;
    assert!(!pass.contains("grad-map-desc"));
    assert!(pass.contains("No entry is wrong. The largest error is 0."));
    let everywhere = run(&problem(), &[Wrt::Input], |g| {
        g.iter_mut().for_each(|g| *g *= 10.0);
    });
    assert!(!everywhere.1.contains("grad-map-desc"));
    assert!(everywhere.1.contains("No row or column stands out"));
    let (report, rows) = run(&problem(), &[Wrt::Input], |g| {
        g[40..60].iter_mut().for_each(|g| *g *= 10.0);
    });
    let map = figure(&rows, "map");
    assert!(map.contains("entries are wrong only in row 2;"), "{map}");
    // The scale of the legend ends above the largest error.
    let worst = report.checks[0].worst[0].severity();
    let end = worst.log10().ceil() as u32;
    let digits = ["⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"];
    assert!(
        map.contains(&format!("to 10{}<", digits[end as usize])),
        "{map}"
    );
}

/// The line of a factor is beside the diagonal; a gradient without one has no line.
#[test]
fn the_line_of_a_factor_is_labelled() {
    let cases: [(f64, &str); 4] = [
        (10.0, "y = 10 x"),
        (0.2, "y = 0.2 x"),
        (-1.0, "y = −x"),
        (-3.0, "y = −3 x"),
    ];
    for (factor, equation) in cases {
        let (_, page) = run(&problem(), &[Wrt::Input], |g| {
            g.iter_mut().for_each(|g| *g *= factor);
        });
        let scatter = figure(&page, "scatter");
        assert!(scatter.contains("class=\"fitted\""));
        assert!(scatter.contains(&format!(">{equation}<")), "{scatter}");
        assert!(
            !scatter.contains(">right<"),
            "the legend has an absent class"
        );
    }
    // Some rows only.
    let (_, page) = run(&problem(), &[Wrt::Input], |g| {
        g[1000..2000].iter_mut().for_each(|g| *g *= 1.5);
    });
    assert!(figure(&page, "scatter").contains(">y = 1.5 x<"));
    type Corrupt = fn(&mut Vec<f64>);
    let without: [Corrupt; 3] = [|_| {}, |g| g.reverse(), |g| g[7] *= 3.0];
    for corrupt in without {
        let (_, page) = run(&problem(), &[Wrt::Input], corrupt);
        assert!(!figure(&page, "scatter").contains("class=\"fitted\""));
    }
}

/// The caption says of a wrong gradient that the step is not the cause.
#[test]
fn the_steps_of_a_wrong_gradient_are_flat() {
    let (_, page) = run(&problem(), &[Wrt::Input], |g| {
        g.iter_mut().for_each(|g| *g *= 10.0);
    });
    let sentence = "The error is 0.90 at every step: the gradient is wrong, not the step.";
    assert!(page.contains(sentence));
    let steps = figure(&page, "steps");
    // The largest step is on the left, and the curves have a power of ten above them.
    assert!(steps.contains("eps 1e0: difference 9.0e-1"));
    let left = |tick: &str| {
        let before = steps.split(&format!(">{tick}</text>")).next().unwrap();
        let x = before.rsplit("<text x=\"").next().unwrap();
        x.split('"').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(left("10⁻⁷") > left("10⁻⁶"), "{steps}");
    assert!(steps.contains(">10</text>"), "{steps}");
}

/// The verdict is printed once, the proof of a sample says so, and what passed is folded.
#[test]
fn a_page_repeats_nothing_and_folds_what_passed() {
    let driver = Driver::start();
    let browser = driver.browser();
    let problem = crate::problems::random(6, 4000, 30, 5, 1.0, Reduction::Mean);
    let subject = |wrt: Wrt, factor: f64| {
        let mut values = gradient(&problem, wrt, Dtype::F32);
        values.iter_mut().for_each(|value| *value *= factor);
        Subject {
            wrt,
            gradient: Some(tensor(Dtype::F32, &problem.gradient_shape(wrt), &values)),
        }
    };
    let subjects = [subject(Wrt::Input, 10.0), subject(Wrt::Logits, 1.0)];
    let options = Options {
        picture: true,
        ..Options::default()
    };
    let report = check::check(&problem, &subjects, &options, &CPU, &mut ()).unwrap();
    let message = report.checks[0].findings[0].message.clone();
    let run = run_of(report).at(SystemTime::UNIX_EPOCH);
    let page = html::render(&[run]);
    require_sound(&browser, &page);
    assert_eq!(page.matches(&message).count(), 1);
    assert!(page.contains("of 120,000 entries, a sample"));
    assert!(page.contains("gradprobe · 1 January 1970, 00:00 UTC"));
    let shown = "return [...document.querySelectorAll('h1, h2')].map(it => it.textContent.trim())";
    let headings = json!(["cases/a.npz", "fail grad", "pass grad_logits", "This run"]);
    assert_eq!(browser.execute(shown, &[]), headings);
    let folded = "const figures = document.querySelectorAll('details.folded svg'); \
                  return [figures.length > 0, [...figures].some(it => it.checkVisibility())]";
    assert_eq!(browser.execute(folded, &[]), json!([true, false]));
}

/// Text has at least 11 pixels on a phone, and nothing is wider than the window.
#[test]
fn a_page_is_readable_on_a_phone() {
    let driver = Driver::start();
    let browser = driver.browser();
    let (fail, _) = run(&problem(), &[Wrt::Input, Wrt::Weight], |g| g.reverse());
    let several = html::render(&[run_of(fail.clone()), run_of(fail.clone())]);
    for page in [html::render(&[run_of(fail)]), several] {
        let folder = tempfile::tempdir().unwrap();
        let (path, outer) = (folder.path().join("r.html"), folder.path().join("o.html"));
        std::fs::write(&path, &page).unwrap();
        // A window has at least 500 pixels, a frame may have fewer.
        let frame = "<!DOCTYPE html><iframe src=\"r.html\" width=\"415\" height=\"900\" \
                     style=\"border: 0\"></iframe>";
        std::fs::write(&outer, frame).unwrap();
        browser.goto(&format!("file://{}", outer.display()));
        browser.enter_frame(&browser.find("iframe").unwrap());
        let measured = "const sizes = [...document.querySelectorAll('svg text')].map(it => { \
                        const svg = it.ownerSVGElement; \
                        const scale = svg.getBoundingClientRect().width / \
                        svg.viewBox.baseVal.width; \
                        return scale * parseFloat(getComputedStyle(it).fontSize); }); \
                        return [innerWidth, document.documentElement.scrollWidth, \
                        Math.min(...sizes)]";
        let measured = browser.execute(measured, &[]);
        let [width, needed, size] = [0, 1, 2].map(|index| measured[index].as_f64().unwrap());
        // The scroll bar has 15 pixels; a phone has none.
        assert_eq!((width, needed), (415.0, 400.0));
        assert!(size >= 11.0, "{size} pixels");
        browser.leave_frame();
    }
}

/// A page of hundreds of wrong files has a few megabytes.
#[test]
fn hundreds_of_files_are_a_small_page() {
    let (fail, page) = run(&problem(), &[Wrt::Input], |g| g.reverse());
    assert!(page.len() < 200_000, "{} bytes", page.len());
    let runs: Vec<Run> = (0..500).map(|_| run_of(fail.clone())).collect();
    let page = html::render(&runs);
    assert!(page.len() < 4_000_000, "{} bytes", page.len());
    assert!(page.contains("leaves out the reports of 300 files"));
    assert_eq!(page.matches("<tr class=\"fail\">").count(), 500);
}
