//! Every format of fixed reports, as snapshots. `INSTA_UPDATE=always` writes them.

use gradprobe::{
    error::Error,
    loss::Reduction,
    output::{Run, github, json, junit, markdown, text, words},
    problem::Wrt,
    report::{
        Affected, Check, Code, ComparedOn, Corruption, Coverage, DeviceInfo, DeviceKind, Entry,
        Finding, Location, Places, ProblemInfo, Proof, Ranges, RelErr, Relation, Report, Scale,
        Seconds, Source, Verdict, WrongClass, WrongColumn,
    },
    rounding::{Given, Tolerance},
    scheme::{Method, Precision, Scheme},
    tensor::Dtype,
};

/// The report on the checks of one problem, on a device and in a time that are always the same.
fn report(checks: Vec<Check>) -> Report {
    let device = DeviceInfo {
        name: "a processor".to_owned(),
        kind: DeviceKind::Cpu,
        backend: "host".to_owned(),
        driver: "AVX2".to_owned(),
        note: Some("no GPU adapter was found".to_owned()),
    };
    let problem = ProblemInfo {
        n: 24,
        d: Some(6),
        k: 4,
        dtype: Dtype::F64,
        network: None,
        reduction: Reduction::Mean,
        label_smoothing: 0.0,
        ignore_index: -100,
        class_weight: false,
        sample_weight: false,
        normalizer: None,
    };
    Report {
        command: Some("gradprobe check 'a file.npz' --device cpu".to_owned()),
        seconds: Seconds {
            load: 0.25,
            compute: 1.0,
            total: 1.25,
        },
        ..Report::new(device, problem, checks)
    }
}

/// A check of 24 x 6 entries that passes.
fn passing() -> Check {
    Check {
        wrt: Wrt::Input,
        tensor: None,
        layer: None,
        suspects: Vec::new(),
        consequence: false,
        source: Source::Given,
        dtype: Dtype::F32,
        verdict: Verdict::Pass,
        method: Method::Difference,
        scheme: Scheme::Central,
        precision: Precision::F64,
        eps: 7.5e-9,
        compared: ComparedOn::Host,
        rows: None,
        entries: 144,
        wrong: 0,
        not_finite: 0,
        undecided: 0,
        tolerance: Tolerance {
            rounding: 4.75e-7,
            floor: 5.25e-38,
            lost: 0.0,
            drift: 0.0,
            shared: 0.0,
            alike: 1.0,
            given: None,
        },
        scale: Some(Scale {
            factor: 1.0,
            allowed: 2.875e-6,
        }),
        detectable: 1.375e-6,
        min_power: 0.1,
        is_zero: false,
        blind_to: Vec::new(),
        rel_err: RelErr {
            max: 3e-5,
            mean: 4.25e-7,
            median: 7.75e-8,
            p99: 6.75e-6,
            norm: 7.625e-8,
        },
        worst: vec![entry([2, 3], -0.0205, -0.0205), entry([3, 2], 0.012, 0.012)],
        location: None,
        findings: Vec::new(),
        tried: Vec::new(),
        comparison: None,
    }
}

fn entry(index: [usize; 2], analytic: f64, numeric: f64) -> Entry<Vec<usize>> {
    Entry {
        index: index.to_vec(),
        analytic,
        numeric,
        rel_err: (analytic - numeric).abs() / analytic.abs().max(numeric.abs()),
        noise: 3e-17,
        tolerance: 3.25e-8,
        decision: None,
    }
}

fn finding(code: Code, step: usize, confidence: f64, message: &str, fix: &str) -> Finding {
    Finding {
        step,
        confidence,
        ..Finding::new(code, message, fix)
    }
}

/// A gradient with two causes that give the same arrays, and a third one in the errors that remain.
fn with_three_causes() -> Check {
    let proof = |up_to_factor, entries, wrong, error| Proof {
        correction: "divided by 24".to_owned(),
        up_to_factor,
        sampled: false,
        entries,
        wrong,
        error,
    };
    let sum = finding(
        Code::SumInsteadOfMean,
        1,
        0.71,
        "grad is 24 times the derivative, and 24 is the number of samples",
        "divide by 24",
    );
    let accumulated = finding(
        Code::Accumulated,
        1,
        0.18,
        "grad is the sum of 24 backward passes",
        "clear it before each backward pass (x.grad = None)",
    );
    let zero = finding(
        Code::RowsZero,
        2,
        0.95,
        "8 of 24 rows are zero",
        "look for rows that are overwritten or never written",
    );
    Check {
        verdict: Verdict::Fail,
        wrong: 96,
        location: Some(Location {
            text: "in 16 of 24 rows".to_owned(),
            rows: Affected {
                wrong: 16,
                of: 24,
                ranges: (0..32).filter(|row| row % 2 == 0).collect(),
            },
            columns: Affected {
                wrong: 6,
                of: 6,
                ranges: Ranges::from(0..6),
            },
            most: vec![WrongColumn {
                column: 1,
                wrong: 16,
                share: 0.625,
            }],
            classes: vec![WrongClass {
                class: 3,
                wrong: 30,
                share: 1.0,
            }],
        }),
        scale: Some(Scale {
            factor: 24.0,
            allowed: 2.875e-6,
        }),
        rel_err: RelErr {
            max: 1.0,
            mean: 0.9583,
            median: 0.959,
            p99: 0.959,
            norm: 23.0,
        },
        worst: vec![
            entry([2, 1], 0.556, 0.0232),
            entry([6, 1], 0.5525, 0.023),
            entry([16, 2], -1.306, -0.0544),
            entry([2, 5], -0.3723, -0.0155),
            entry([2, 0], 0.3225, 0.0134),
            entry([2, 4], 0.3823, 0.0159),
        ],
        findings: vec![
            Finding {
                factor: Some(24.0),
                evidence: vec![("scale".to_owned(), 24.0)],
                proof: Some(proof(true, [144, 144], [96, 48], [23.0, 8.125e-8])),
                test: Some("drop half of the samples: the factor halves".to_owned()),
                ..sum
            },
            Finding {
                factor: Some(24.0),
                evidence: vec![("scale".to_owned(), 24.0)],
                proof: Some(proof(true, [144, 144], [96, 48], [23.0, 8.125e-8])),
                test: Some("call backward once more: the factor grows by one".to_owned()),
                ..accumulated
            },
            Finding {
                evidence: vec![("rows".to_owned(), 8.0), ("share".to_owned(), 1.0 / 3.0)],
                proof: Some(Proof {
                    correction: "without these rows".to_owned(),
                    sampled: true,
                    ..proof(false, [144, 96], [48, 0], [0.577, 8.125e-8])
                }),
                places: Places {
                    rows: [1, 3, 4, 5, 9].into_iter().collect(),
                    ..Places::default()
                },
                ..zero
            },
        ],
        tried: vec![
            Code::SignFlipped,
            Code::MeanInsteadOfSum,
            Code::DividedByClasses,
            Code::LossScaled,
            Code::AveragedOverWorkers,
            Code::NormClipped,
            Code::Scaled,
        ],
        ..passing()
    }
}

/// A gradient of the logits with a NaN and an infinity, and a cause that is unknown.
fn not_finite() -> Check {
    let unknown = finding(
        Code::Unknown,
        1,
        1.0,
        "grad_logits is wrong only in row 7, and no known cause explains it",
        "compare with float64",
    );
    Check {
        wrt: Wrt::Logits,
        verdict: Verdict::Fail,
        entries: 96,
        wrong: 2,
        not_finite: 2,
        scale: None,
        detectable: f64::INFINITY,
        rel_err: RelErr {
            max: f64::INFINITY,
            mean: f64::INFINITY,
            median: 7.75e-8,
            p99: f64::INFINITY,
            norm: f64::INFINITY,
        },
        worst: vec![
            Entry {
                rel_err: f64::INFINITY,
                ..entry([7, 0], f64::NAN, 0.25)
            },
            Entry {
                rel_err: f64::INFINITY,
                ..entry([7, 3], f64::NEG_INFINITY, -0.5)
            },
        ],
        findings: vec![unknown],
        ..passing()
    }
}

/// A check whose tolerance is so loose that it would also pass corrupted gradients.
fn too_loose() -> Check {
    Check {
        verdict: Verdict::Inconclusive,
        tolerance: Tolerance {
            given: Some(Given {
                rtol: 0.0,
                atol: 1.0,
            }),
            ..passing().tolerance
        },
        blind_to: vec![Corruption::Zeroed, Corruption::Scaled],
        ..passing()
    }
}

/// The check of a random sample of rows on the device. One entry is undecided.
fn sampled() -> Check {
    let rows: Ranges = (0..300).map(|row| 3 * row).collect();
    Check {
        compared: ComparedOn::Device,
        rows: Some(Coverage::drawn(rows, 1797, 7, 0..1797)),
        entries: 1800,
        undecided: 1,
        ..passing()
    }
}

/// The check of the built-in gradient of the bias, for which no gradient was given.
fn built_in() -> Check {
    Check {
        wrt: Wrt::Bias,
        source: Source::BuiltIn,
        entries: 4,
        method: Method::ForwardPass,
        worst: Vec::new(),
        ..passing()
    }
}

/// The report on a part of a problem with every option of the loss.
fn sampled_report() -> Report {
    let report = report(vec![sampled(), built_in()]);
    Report {
        problem: ProblemInfo {
            n: 1797,
            reduction: Reduction::Sum,
            label_smoothing: 0.1,
            ignore_index: 9,
            class_weight: true,
            ..report.problem
        },
        notes: vec!["grad_weight is not checked: it sums over all samples".to_owned()],
        interrupted: true,
        ..report
    }
}

/// The report on two wrong gradients, with their durations and the relations between them.
fn failed_report() -> Report {
    let relation = |wrt, formula: &str, holds, error, rows| Relation {
        wrt,
        formula: formula.to_owned(),
        holds,
        error,
        rows,
        of: 24,
    };
    Report {
        check_seconds: vec![0.75, 0.125],
        relations: vec![
            relation(
                Wrt::Input,
                "grad_logits · weight",
                Some(true),
                Some(1e-8),
                24,
            ),
            relation(
                Wrt::Weight,
                "grad_logitsᵀ · input",
                Some(false),
                Some(3.5),
                12,
            ),
            relation(
                Wrt::Bias,
                "the sum of the rows of grad_logits",
                None,
                None,
                0,
            ),
        ],
        ..report(vec![with_three_causes(), not_finite()])
    }
}

fn reports() -> [(&'static str, Report); 4] {
    [
        ("pass", report(vec![passing()])),
        ("fail", failed_report()),
        ("inconclusive", report(vec![too_loose()])),
        ("sampled", sampled_report()),
    ]
}

fn run(name: &str, report: Report) -> Run {
    Run::new(name.to_owned(), report, Vec::new())
}

/// Returns the run as it is read from the JSON of its report.
fn received(run: &Run) -> Run {
    let json = json::render(run.outcome.as_ref().unwrap());
    Run::received(run.name.clone(), serde_json::from_str(&json).unwrap(), None)
}

/// Compares a format with its snapshots: of each report alone, and of all of them beside a file
/// that could not be read. A report that was read from JSON renders to the same text.
fn snapshots(format: &str, render: impl Fn(&[Run]) -> String) {
    for (name, report) in reports() {
        let runs = [run("cases/a,b: 50%.npz", report)];
        let rendered = render(&runs);
        assert_eq!(rendered, render(&runs));
        assert_eq!(rendered, render(&[received(&runs[0])]));
        insta::assert_snapshot!(format!("{format}-{name}"), rendered);
    }
    let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
    let error = Error::io("read", "cases/missing.npz")(missing);
    let mut runs = vec![Run::failed("cases/missing.npz".to_owned(), error)];
    for (name, report) in reports() {
        runs.push(run(&format!("cases/{name}.npz"), report));
    }
    insta::assert_snapshot!(format!("{format}-several"), render(&runs));
}

#[test]
fn text() {
    snapshots("text", |runs| {
        let plain = text::Layout::default();
        let lines: String = runs.iter().map(|run| text::line(run, plain)).collect();
        lines + &text::render_all(runs, plain)
    });
}

/// No line is longer than the width, except commands and tables.
#[test]
fn text_of_a_given_width() {
    let narrow = text::Layout {
        coloured: false,
        width: Some(60),
    };
    let [_, (_, fail), ..] = reports();
    insta::assert_snapshot!("text-narrow", text::render(&fail, narrow));
}

#[test]
fn json() {
    snapshots("json", json::render_all);
}

/// Numbers that are not finite, sets of many ranges, and all other fields survive JSON.
#[test]
fn a_report_that_was_read_from_json_gives_the_same_json() {
    for (_, report) in reports() {
        let json = json::render(&report);
        let read: Report = serde_json::from_str(&json).unwrap();
        assert_eq!(json, json::render(&read));
    }
}

/// JSON lists the first hundred ranges of a set.
#[test]
fn json_lists_a_hundred_ranges() {
    let json = serde_json::to_value(sampled()).unwrap();
    assert_eq!(json["rows"]["compared"], 300);
    assert_eq!(json["rows"]["ranges"].as_array().unwrap().len(), 100);
    assert_eq!(json["rows"]["ranges"][99], serde_json::json!([297, 297]));
}

#[test]
fn json_with_a_range_that_is_none_is_refused() {
    for range in ["[5, 4]", "[0, 18446744073709551615]"] {
        let rows = format!(r#"{{ "compared": 1, "of": 9, "ranges": [{range}] }}"#);
        assert!(serde_json::from_str::<Coverage>(&rows).is_err(), "{range}");
    }
}

#[test]
fn markdown() {
    snapshots("markdown", markdown::render);
}

#[test]
fn github() {
    snapshots("github", github::render);
}

/// The files of a large run, every one with a wrong gradient.
fn many(count: usize) -> Vec<Run> {
    let report = || report(vec![with_three_causes(), not_finite()]);
    (0..count)
        .map(|i| run(&format!("cases/{i}.npz"), report()))
        .collect()
}

/// GitHub drops a job summary of more than 1 MiB. Files are left out from the end of it, and the
/// counts stay.
#[test]
fn a_summary_of_many_files_stays_within_its_limit() {
    for (count, listed) in [(300, true), (5000, true), (40_000, false)] {
        let runs = many(count);
        let text = markdown::render(&runs);
        assert!(
            text.len() <= markdown::MOST_BYTES,
            "{count}: {}",
            text.len()
        );
        assert!(text.contains(&format!("0 of {count} files pass; {count} failed.")));
        assert!(text.contains("\n## cases/0.npz\n") == listed);
        assert!(text.contains("more files do not fit here") || count < 1000);
        let last = format!("| cases/{}.npz |", count - 1);
        assert_eq!(text.contains(&last), listed, "{count}");
        // The part that other commands have written counts.
        assert!(markdown::render_within(&runs, 50_000).len() <= 50_000);
    }
    let text = markdown::render(&many(20));
    assert!(text.contains("\n## cases/19.npz\n") && !text.contains("do not fit"));
}

/// Files that pass are left out of the table before those that fail.
#[test]
fn a_summary_lists_failures_first() {
    let mut runs: Vec<Run> = (0..2000)
        .map(|i| run(&format!("right/{i}.npz"), report(vec![passing()])))
        .collect();
    runs.extend(many(3));
    let text = markdown::render_within(&runs, 30_000);
    assert!(
        text.len() <= 30_000 && text.contains("| cases/2.npz |"),
        "{text}"
    );
    assert!(text.contains("The table leaves out 2,000 files"), "{text}");
}

#[test]
fn annotations_are_of_failures_and_few() {
    let right = run("right.npz", report(vec![passing()]));
    assert_eq!(github::render(&[right]), "");
    for count in [300, 5000] {
        let text = github::render(&many(count));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 10);
        let left = words::group(2 * count as u64 - 9);
        assert!(
            lines[9].contains(&format!("{left} more gradients")),
            "{}",
            lines[9]
        );
    }
}

#[test]
fn junit() {
    snapshots("junit", |runs| junit::render(runs, false));
    let [_, _, (_, inconclusive), _] = reports();
    let allowed = junit::render(&[run("a file.npz", inconclusive)], true);
    insta::assert_snapshot!("junit-inconclusive-allowed", allowed);
}
