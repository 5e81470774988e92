//! Every format of the same fixed reports, as snapshots: `INSTA_UPDATE=always cargo test --test output` writes them anew.

use crate::framework::{gradient, tensor};
use gradprobe::{
    check::{self, Options, Subject},
    device::Device,
    error::Error,
    loss::Reduction,
    output::{Run, github, json, junit, markdown, text},
    problem::Wrt,
    report::{DeviceInfo, DeviceKind, Report, Seconds, Verdict},
    tensor::Dtype,
};

/// A report on gradients of a fixed problem, on a device and in a time that are always the same.
fn report(wrts: &[Wrt], options: &Options, corrupt: impl Fn(&mut [f64])) -> Report {
    let problem = crate::problems::random(9, 24, 6, 4, 1.0, Reduction::Mean);
    let subject = |&wrt: &Wrt| {
        let mut values = gradient(&problem, wrt, Dtype::F32);
        corrupt(&mut values);
        Subject {
            wrt,
            gradient: Some(tensor(Dtype::F32, &problem.gradient_shape(wrt), &values)),
        }
    };
    let subjects: Vec<Subject> = wrts.iter().map(subject).collect();
    let device = Device::Cpu { note: None };
    let mut report = check::check(&problem, &subjects, options, &device, &mut ()).unwrap();
    report.command = Some("gradprobe check 'a file.npz' --device cpu".to_owned());
    report.seconds = Seconds {
        load: 0.25,
        compute: 1.0,
        total: 1.25,
    };
    report.device = DeviceInfo {
        name: "a processor".to_owned(),
        kind: DeviceKind::Cpu,
        backend: "host".to_owned(),
        driver: "AVX2, 4 threads".to_owned(),
        note: Some("no GPU adapter was found".to_owned()),
    };
    report
}

/// One of each verdict, the fail with two gradients and an alternative cause.
fn reports() -> [(&'static str, Report); 3] {
    let plain = Options::default();
    let loose = Options {
        atol: Some(1.0),
        ..Options::default()
    };
    let pass = report(&[Wrt::Input], &plain, |_| {});
    let fail = report(&[Wrt::Input, Wrt::Logits], &plain, |values| {
        values.iter_mut().for_each(|v| *v *= 24.0);
    });
    let inconclusive = report(&[Wrt::Input], &loose, |_| {});
    assert_eq!(
        [&pass, &fail, &inconclusive].map(|report| report.verdict),
        [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive]
    );
    [
        ("pass", pass),
        ("fail", fail),
        ("inconclusive", inconclusive),
    ]
}

fn run(name: &str, outcome: Result<Report, Error>) -> Run {
    match outcome {
        Ok(report) => Run::new(name.to_owned(), report, Vec::new()),
        Err(error) => Run::failed(name.to_owned(), error),
    }
}

/// The same, as it is read from the JSON of its report.
fn received(run: &Run) -> Run {
    let json = json::render(run.outcome.as_ref().unwrap());
    Run::received(run.name.clone(), serde_json::from_str(&json).unwrap(), None)
}

/// Each format is the same for the same reports, alone and together with a file that could not be checked; that is a snapshot.
fn snapshots(format: &str, render: impl Fn(&[Run]) -> String) {
    for (verdict, report) in reports() {
        let runs = [run("cases/a,b: 50%.npz", Ok(report))];
        let rendered = render(&runs);
        assert_eq!(rendered, render(&runs));
        assert_eq!(rendered, render(&[received(&runs[0])]));
        insta::assert_snapshot!(format!("{format}-{verdict}"), rendered);
    }
    let [(_, pass), (_, fail), (_, inconclusive)] = reports();
    let error = Error::NoDevice {
        asked: "gpu".to_owned(),
        present: vec!["cpu".to_owned()],
    };
    let runs = [
        run("cases/right.npz", Ok(pass)),
        run("cases/wrong_sum.npz", Ok(fail)),
        run("cases/broken.npz", Err(error)),
        run("cases/loose.npz", Ok(inconclusive)),
    ];
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

#[test]
fn json() {
    snapshots("json", |runs| rounded(&json::render_all(runs)));
}

/// With four digits of every fraction: the last ones differ from processor to processor.
fn rounded(json: &str) -> String {
    let mut rest = json;
    let mut text = String::new();
    while let Some(start) = rest.find(": ") {
        let (before, after) = rest.split_at(start + 2);
        let end = after.find([',', '\n']).unwrap_or(after.len());
        let (value, behind) = after.split_at(end);
        text += before;
        match value.parse::<f64>() {
            Ok(number) if value.contains(['.', 'e']) => text += &format!("{number:.3e}"),
            _ => text += value,
        }
        rest = behind;
    }
    text + rest
}

#[test]
fn markdown() {
    snapshots("markdown", markdown::render);
}

#[test]
fn github() {
    snapshots("github", github::render);
}

#[test]
fn junit() {
    snapshots("junit", |runs| junit::render(runs, false));
    let [_, _, (_, inconclusive)] = reports();
    let allowed = junit::render(&[run("a file.npz", Ok(inconclusive))], true);
    insta::assert_snapshot!("junit-inconclusive-allowed", allowed);
}
