//! The page: valid, complete in itself, small, the same for the same report, and nothing from a file can break out of its place.

use crate::framework::{gradient, tensor};
use gradprobe::{
    check::{self, Options, Subject},
    device::Device,
    error::Error,
    loss::Reduction,
    output::{Run, html},
    problem::{Problem, Wrt},
    report::{Report, Verdict},
    sweep,
    tensor::Dtype,
};
use html5ever::{ParseOpts, parse_document, tendril::TendrilSink, tree_builder::TreeBuilderOpts};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

const CPU: Device = Device::Cpu { note: None };

fn run(problem: &Problem, wrts: &[Wrt], corrupt: impl Fn(&mut Vec<f64>)) -> (Report, String) {
    let subjects: Vec<Subject> = wrts
        .iter()
        .map(|&wrt| {
            let mut values = gradient(problem, wrt, Dtype::F32);
            corrupt(&mut values);
            Subject {
                wrt,
                gradient: Some(tensor(Dtype::F32, &problem.gradient_shape(wrt), &values)),
            }
        })
        .collect();
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

fn parse(page: &str) -> RcDom {
    let options = ParseOpts {
        tree_builder: TreeBuilderOpts {
            exact_errors: true,
            ..TreeBuilderOpts::default()
        },
        ..ParseOpts::default()
    };
    parse_document(RcDom::default(), options).one(page)
}

fn elements(node: &Handle, found: &mut Vec<(String, Vec<(String, String)>)>) {
    if let NodeData::Element { name, attrs, .. } = &node.data {
        let attributes = attrs.borrow();
        let attributes = attributes
            .iter()
            .map(|it| (it.name.local.to_string(), it.value.to_string()));
        found.push((name.local.to_string(), attributes.collect()));
    }
    node.children
        .borrow()
        .iter()
        .for_each(|child| elements(child, found));
}

/// Parses without an error, has no name twice, refers to names that are there, needs nothing from elsewhere, and tells every picture in words.
fn require_sound(page: &str) {
    let dom = parse(page);
    assert_eq!(*dom.errors.borrow(), Vec::<&str>::new());
    assert!(!page.contains("://") && !page.contains("<script") && !page.contains("url("));
    let mut found = Vec::new();
    elements(&dom.document, &mut found);
    let value = |attributes: &[(String, String)], of: &str| {
        let pair = attributes.iter().find(|(name, _)| name == of);
        pair.map(|(_, value)| value.clone())
    };
    let mut ids: Vec<String> = found.iter().filter_map(|(_, a)| value(a, "id")).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id is there twice");
    for (name, attributes) in &found {
        for forbidden in ["href", "src", "onclick", "style"] {
            assert_eq!(value(attributes, forbidden), None, "{name} has {forbidden}");
        }
        let labels = value(attributes, "aria-labelledby").unwrap_or_default();
        assert!(
            labels
                .split_whitespace()
                .all(|id| ids.iter().any(|it| it == id)),
            "{labels}"
        );
        if name == "svg" {
            assert_eq!(
                labels.split_whitespace().count(),
                2,
                "a title and a description"
            );
        }
    }
    let pictures = found.iter().filter(|(name, _)| name == "svg").count();
    let captions = found
        .iter()
        .filter(|(name, _)| name == "figcaption")
        .count();
    assert_eq!(pictures, captions);
    assert!(pictures >= 3, "{pictures} pictures");
}

fn problem() -> Problem {
    crate::problems::random(3, 300, 20, 5, 1.0, Reduction::Mean)
}

#[test]
fn the_parser_complains_of_what_is_not_sound() {
    for broken in [
        "<p></div>",
        "<!DOCTYPE html><table><p></table>",
        "<!DOCTYPE html><a b=1 b=2>",
    ] {
        assert!(!parse(broken).errors.borrow().is_empty(), "{broken}");
    }
}

#[test]
fn pages_are_sound_whatever_the_verdict() {
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
        require_sound(&page);
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
    report.seconds = gradprobe::report::Seconds::default();
    let page = html::render(&[run_of(report.clone())]);
    assert_eq!(page, html::render(&[run_of(report)]));
}

#[test]
fn what_comes_from_outside_stays_text() {
    let (mut report, _) = run(&problem(), &[Wrt::Input], |_| {});
    report.command =
        Some("gradprobe check '</code><script>alert(1)</script>.npz' --rtol \"1\"".to_owned());
    report.device.name = "<img src=x> & \"co\"".to_owned();
    let page = html::render(&[run_of(report)]);
    require_sound(&page);
    assert!(!page.contains("<img") && page.contains("alert(1)"));
}

/// Of several files all are listed, and those that did not pass are told in full.
#[test]
fn several_files_make_one_page() {
    let (pass, _) = run(&problem(), &[Wrt::Input], |_| {});
    let (fail, _) = run(&problem(), &[Wrt::Input, Wrt::Logits], |g| g.reverse());
    let error = Error::NoDevice {
        asked: "<gpu>".to_owned(),
        present: vec!["cpu".to_owned()],
    };
    let broken = Run::failed("<b>.npz".to_owned(), error);
    let runs = [run_of(pass), run_of(fail.clone()), broken, run_of(fail)];
    let page = html::render(&runs);
    require_sound(&page);
    assert!(page.contains("1 of 4 files pass; 2 failed, 1 could not be checked."));
    assert_eq!(page.matches("<tr class=\"").count(), 4);
    assert_eq!(page.matches("<h2 class=\"file\">").count(), 2);
}

/// Wrong everywhere, and by nothing that is alike.
#[test]
fn a_million_entries_are_a_small_page() {
    let problem = crate::problems::random(4, 10_000, 100, 10, 1.0, Reduction::Mean);
    let (report, page) = run(&problem, &[Wrt::Input], |g| g.rotate_right(1234));
    assert_eq!(report.checks[0].entries, 1_000_000);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    require_sound(&page);
}

/// One wrong entry among a million: its part of the map is red.
#[test]
fn a_wrong_entry_is_not_binned_away() {
    let problem = crate::problems::random(5, 10_000, 100, 3, 1.0, Reduction::Mean);
    let (report, page) = run(&problem, &[Wrt::Input], |g| g[654_321] *= 1.001);
    let picture = report.checks[0].tally().unwrap().picture.as_ref().unwrap();
    assert_eq!(picture.map.iter().map(|cell| cell.wrong).sum::<u64>(), 1);
    let [_, map] = page.split("<svg").collect::<Vec<_>>()[1..3] else {
        panic!("two pictures")
    };
    let map = &map[..map.find("</svg>").unwrap()];
    assert!(map.contains("1 of the parts have a wrong entry"));
    let red = map.matches("<path class=\"wrong").count();
    // Three in the legend.
    assert_eq!(red, 3 + 1, "{map}");
}
