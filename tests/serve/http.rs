//! The service: what it answers, and that it loses nothing.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use crate::cases::case;
use crate::service::Service;
use gradprobe::io;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use serde_json::Value;

/// A small right one.
fn small(folder: &Path) -> Vec<u8> {
    case(folder, [8, 6, 4], 1.0)
}

/// Takes some seconds, a part of a second at a time.
const LONG: &str = "method=forward-pass";

fn long(folder: &Path) -> Vec<u8> {
    case(folder, [16384, 64, 256], 1.0)
}

/// One sample, one feature, and so many classes.
fn many_classes(k: usize) -> Vec<u8> {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let (input, weight, target) = ([0, 0x3c], vec![0; 2 * k], [0]);
    let view = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes);
    let tensors = [
        ("input", view(Dtype::F16, &[1, 1], &input[..])),
        ("weight", view(Dtype::F16, &[k, 1], &weight)),
        ("target", view(Dtype::U8, &[1], &target)),
    ];
    serialize(tensors.map(|(name, view)| (name, view.unwrap())), None).unwrap()
}

#[test]
fn a_check_is_told_from_its_request_to_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &["--device", "cpu"]);
    assert_eq!(service.get("/healthz").text, "ok\n");
    assert_eq!(service.get("/readyz").text, "ready\n");

    // Waited for: the report comes with the answer, as the command line writes it.
    let wrong = case(folder.path(), [16, 6, 4], 16.0);
    let answer = service.post("wait=60&name=mine.safetensors&rtol=1e-3", &wrong);
    assert_eq!(answer.status, 200);
    let job = answer.json();
    assert_eq!([&job["state"], &job["verdict"]], ["done", "fail"]);
    assert_eq!(job["summary"], "grad (sum-instead-of-mean)");
    let report = &job["report"];
    assert_eq!(report["schema"], "gradprobe/report/1");
    assert_eq!(report["checks"][0]["tolerance"]["rtol"], 1e-3);
    assert_eq!(
        report["command"],
        "gradprobe check mine.safetensors --rtol=1e-3"
    );

    // Of some rows only, it says of how many.
    let right = folder.path().join("right.safetensors");
    with_parameters(&right);
    let right = std::fs::read(right).unwrap();
    let unread = "grad_input is not read: that name means nothing here; gradients are grad, grad_logits, grad_weight, grad_bias";
    let sum =
        "grad_weight is not checked: it is a sum over all samples, and --rows takes some of them";
    for (query, summary, notes) in [
        ("wait=60", "grad, grad_weight", &[unread][..]),
        ("wait=60&rows=0..5", "grad (5 of 8 rows)", &[unread, sum]),
    ] {
        let job = service.post(query, &right).json();
        assert_eq!(job["summary"], summary);
        assert_eq!(job["report"]["notes"], serde_json::json!(notes));
    }

    // Not waited for: it is told where it will be.
    let accepted = service.post("", &small(folder.path()));
    assert_eq!(accepted.status, 202);
    let location = format!("/v1/checks/{}", accepted.id());
    assert_eq!(accepted.headers["location"], location.as_str());
    let job = service.wait_for(&accepted.id());
    assert_eq!([&job["state"], &job["verdict"]], ["done", "pass"]);

    // Its page is the one of --html, and the same when it is asked for again.
    let page = service.get(&format!("{location}/report.html"));
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(page.text.contains("PASS: grad is right"), "{}", page.text);
    assert!(page.text.contains("<svg"));
    assert_eq!(
        service.get(&format!("{location}/report.html")).text,
        page.text
    );

    let list = service.jobs();
    let states: Vec<_> = list.iter().map(|job| &job["verdict"]).collect();
    assert_eq!(states, ["pass", "pass", "pass", "fail"]);
    assert!(list.iter().all(|job| job.get("report").is_none()));
    assert_eq!(
        service.get("/v1/checks?state=queued").json()["checks"],
        Value::Array(Vec::new())
    );

    let devices = service.get("/v1/devices").json();
    assert_eq!(devices["used"]["type"], "cpu");
    assert!(!devices["present"].as_array().unwrap().is_empty());
    let metrics = service.get("/metrics").text;
    for line in [
        "gradprobe_queue_length 0",
        "gradprobe_jobs_accepted_total 4",
        "gradprobe_jobs_ended_total{state=\"done\"} 4",
        "gradprobe_entries_total 246",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
}

#[test]
fn a_running_check_is_watched_and_cancelled_while_short_ones_pass_it() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &["--device", "cpu"]);
    let (long, small) = (long(folder.path()), small(folder.path()));
    let first = service.post(LONG, &long).id();
    let second = service.post(LONG, &long).id();
    // Behind two long ones, and done before the first of them.
    let quick = service.post("wait=60", &small).json();
    assert_eq!(quick["state"], "done");
    // One of some chunks, too.
    let shorter = case(folder.path(), [512, 64, 256], 1.0);
    let shorter = service.post(&format!("{LONG}&wait=60"), &shorter).json();
    assert_eq!(shorter["state"], "done");
    let first_now = service.get(&format!("/v1/checks/{first}")).json();
    assert_eq!(first_now["state"], "running");

    // The second's turn has not come.
    let cancelled = service.delete(&format!("/v1/checks/{second}"));
    assert_eq!(
        (cancelled.status, cancelled.json()["state"].as_str()),
        (200, Some("cancelled"))
    );
    let again = service.delete(&format!("/v1/checks/{second}"));
    assert_eq!(
        (again.status, again.detail().as_str()),
        (409, "it has ended already: it was cancelled")
    );

    // The first runs: it is told as it goes, up to its end.
    let mut stream = TcpStream::connect(service.address()).unwrap();
    let head = format!(
        "GET /v1/checks/{first}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let asked = service.delete(&format!("/v1/checks/{first}"));
    assert!(asked.status == 202, "{asked:?}");
    let mut events = String::new();
    stream.read_to_string(&mut events).unwrap();
    assert!(events.contains("text/event-stream"), "{events}");
    assert!(events.contains("event: running\ndata: {"), "{events}");
    assert!(events.contains("\"progress\":{\"done\":"), "{events}");
    let last = events.rsplit("event: ").next().unwrap();
    assert!(last.starts_with("cancelled\ndata: {"), "{events}");
    assert_eq!(service.wait_for(&first)["state"], "cancelled");
}

/// Where one row takes long, others pass in the middle of it, and it can be cancelled there; which is kept.
#[test]
fn a_long_row_is_passed_and_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let service = Service::start(&data, &["--device", "cpu"]);
    let small = small(folder.path());
    for query in [LONG, "method=forward-pass&wrt=weight"] {
        let size = if query == LONG {
            [1, 2000, 2000]
        } else {
            [1, 500, 500]
        };
        let row = case(folder.path(), size, 1.0);
        let id = service.post(query, &row).id();
        let state = |service: &Service| {
            let job = service.get(&format!("/v1/checks/{id}")).json();
            job["state"].as_str().unwrap().to_owned()
        };
        while state(&service) == "queued" {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(service.post("wait=60", &small).json()["state"], "done");
        assert_eq!(state(&service), "running");
        assert_eq!(service.delete(&format!("/v1/checks/{id}")).status, 202);
        let job = service.wait_for(&id);
        assert_eq!(job["state"], "cancelled");
    }
    // Cancelled, it does not run again, though the process ends before it is.
    let long = long(folder.path());
    let id = service.post("", &long).id();
    while service.get(&format!("/v1/checks/{id}")).json()["state"] == "queued" {
        std::thread::sleep(Duration::from_millis(1));
    }
    let status = service.delete(&format!("/v1/checks/{id}")).status;
    assert_eq!(status, 202);
    service.kill();
    let service = Service::start(&data, &["--device", "cpu"]);
    assert_eq!(
        service.get(&format!("/v1/checks/{id}")).json()["state"],
        "cancelled"
    );
}

#[test]
fn what_cannot_be_served_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let flags = [
        "--device",
        "cpu",
        "--max-body",
        "4MB",
        "--max-queue",
        "1",
        "--max-silence",
        "300ms",
        "--max-memory",
        "512MiB",
    ];
    let service = Service::start(&folder.path().join("data"), &flags);
    let (long, small) = (
        case(folder.path(), [8192, 32, 512], 1.0),
        small(folder.path()),
    );
    let told = |query: &str, body: &[u8]| {
        let answer = service.post(query, body);
        (answer.status, answer.detail())
    };
    for (query, status, detail) in [
        (
            "name=a%0Ab",
            400,
            "name has a character that cannot be printed",
        ),
        (
            "rtol=x",
            400,
            "invalid value 'x' for '--rtol <RTOL>': expected a number, such as 1e-3",
        ),
        (
            "device=cpu",
            400,
            "there is no setting 'device'; there are wrt, reduction, ignore-index, label-smoothing, eps, method, scheme, precision, compare, rtol, atol, rows, sample, seed",
        ),
        (
            "wait=-1",
            400,
            "wait is '-1', but it must be a number of seconds from 0 to 300",
        ),
        ("wait=1&wait=2", 400, "wait is given twice"),
        (
            "rows=2..2",
            422,
            "--rows is 2..2, but input has 8 rows; A..B needs A < B <= 8",
        ),
        (
            "wrt=weight&sample=2",
            422,
            "--sample is some of the samples, but grad_weight is a sum over all of them",
        ),
    ] {
        assert_eq!(told(query, &small), (status, detail.to_owned()), "{query}");
    }
    assert_eq!(
        told("name=mine", b"0123456789"),
        (400, "mine is not a readable safetensors file: it is cut short, or its header claims a false length".to_owned())
    );
    let mut nan = small.clone();
    let (header, tensors) = safetensors::SafeTensors::read_metadata(&nan).unwrap();
    let start = 8 + header + tensors.info("input").unwrap().data_offsets.0;
    nan[start..start + 8].copy_from_slice(&f64::NAN.to_le_bytes());
    let (status, detail) = told("", &nan);
    assert_eq!(status, 422);
    assert!(
        detail.contains("is NaN, but the loss needs finite values"),
        "{detail}"
    );
    assert_eq!(
        told("", &vec![0; 4_000_001]),
        (
            413,
            "the body is longer than 3.8 MiB, which is the most that this service takes".to_owned()
        )
    );
    // Tables of a weight of two megabytes: a column is padded to sixteen, in f64, some times over.
    let (status, detail) = told("", &many_classes(1_000_000));
    assert_eq!(status, 422);
    assert!(
        detail
            .starts_with("the service's --max-memory is 512.0 MiB, but this check takes about 1."),
        "{detail}"
    );
    let none = "there is no body: a safetensors or npz file is expected";
    assert_eq!(told("", &[]), (400, none.to_owned()));
    // Without a length beforehand, too: it is counted as it comes.
    let chunked = {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        stream.write_all(b"POST /v1/checks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n").unwrap();
        for _ in 0..600 {
            // It may be cut off before the end.
            let _ = stream.write_all(format!("2000\r\n{}\r\n", "x".repeat(0x2000)).as_bytes());
        }
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
    // Who asks before it sends is told before.
    let asked = {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        stream.write_all(b"POST /v1/checks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(asked.starts_with("HTTP/1.1 413 "), "{asked}");

    assert_eq!(
        service.get("/v1/checks/absent").detail(),
        "there is no such check, or it has been let go"
    );
    assert_eq!(
        service.get("/v1/checks/%ff").detail(),
        "there is no such check, or it has been let go"
    );
    assert_eq!(service.get("/v1/check").status, 404);
    for (query, detail) in [
        (
            "state=new",
            "state is 'new', but it must be one of queued, running, done, failed, cancelled",
        ),
        ("limit=0", "limit is '0', but it must be 1 to 1000"),
        ("limit=1&limit=2", "limit is given twice"),
        (
            "cursor=-5",
            "cursor is '-5', but it must be the next of the part before",
        ),
        (
            "page=2",
            "there is no parameter 'page'; there are state, limit, cursor",
        ),
    ] {
        let answer = service.get(&format!("/v1/checks?{query}"));
        assert_eq!((answer.status, &*answer.detail()), (400, detail));
    }
    assert_eq!(service.delete("/v1/checks").status, 405);
    // A page from elsewhere learns nothing, but a link on it may be followed.
    let elsewhere = ("sec-fetch-site", "cross-site");
    let origin = service.url("");
    let link = [
        elsewhere,
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    for (headers, status) in [
        (&[("host", "evil.example")][..], 421),
        (&[elsewhere, ("sec-fetch-mode", "cors")], 421),
        (&link[..2], 421),
        (&link, 200),
        (&[("sec-fetch-site", "same-site"), ("origin", &origin)], 421),
        (&[("sec-fetch-site", "same-origin")], 200),
        (&[("host", "LOCALHOST:8417")], 200),
        (&[("origin", "http://evil.example")], 421),
        (&[("origin", "null")], 421),
        (&[("origin", &origin)], 200),
    ] {
        let answer = service.get_with("/healthz", headers);
        assert_eq!(answer.status, status, "{headers:?}");
        if status == 421 {
            assert_eq!(
                answer.detail(),
                "this service answers to localhost, and to no page from elsewhere"
            );
        }
    }
    for (name, value) in [("content-type", "text/plain"), ("content-encoding", "gzip")] {
        let packed = ureq::post(service.url("/v1/checks")).header(name, value);
        assert!(matches!(
            packed.send(&small[..]),
            Err(ureq::Error::StatusCode(415))
        ));
    }

    // A head that does not end soon is no request.
    let long_head = format!(
        "GET /v1/checks HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(400_000)
    );
    let many = format!(
        "GET /v1/checks HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X: y\r\n".repeat(100)
    );
    for head in [long_head, many] {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        // It may be cut off before its end.
        let _ = stream.write_all(head.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }

    // One runs, one waits, and there is no room for a third.
    let running = service.post(LONG, &long).id();
    while service.get(&format!("/v1/checks/{running}")).json()["state"] != "running" {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(service.post(LONG, &long).status, 202);
    let full = service.post("", &small);
    assert_eq!(
        (full.status, full.detail().as_str()),
        (429, "the queue is full")
    );
    assert_eq!(full.headers["retry-after"], "5");

    // An answer that nobody takes is given up: much of what was asked for never comes.
    let mut stream = TcpStream::connect(service.address()).unwrap();
    let asked = "GET /service.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    stream.write_all(asked.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let mut taken = Vec::new();
    let _ = stream.read_to_end(&mut taken);
    let page = service.get("/service.js").text.len();
    assert!(taken.len() < 999 * page, "{} of {page}", taken.len());

    // A body that stops coming is given up, and so is a request that does not end.
    for (said, answered) in [
        (
            "POST /v1/checks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nab",
            "HTTP/1.1 4",
        ),
        ("GET /v1/checks HTTP/1.1\r\nHost: loc", ""),
    ] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(service.address()).unwrap();
        stream.write_all(said.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.starts_with(answered), "{answer}");
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
    assert!(
        std::fs::read_dir(folder.path().join("data/spool"))
            .unwrap()
            .count()
            == 2
    );
}

/// Every answer is described, and every value that a setting is said to take is taken.
#[test]
fn the_document_tells_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &["--device", "cpu"]);
    let document = service.get("/openapi.json").json();
    let small = small(folder.path());
    let post = &document["paths"]["/v1/checks"]["post"];
    let mut names = Vec::new();
    for parameter in post["parameters"].as_array().unwrap() {
        let (name, schema) = (&parameter["name"].as_str().unwrap(), &parameter["schema"]);
        let value = match schema["type"].as_str().unwrap() {
            "array" => &schema["items"],
            _ => schema,
        };
        let values = match (&value["enum"], value["type"].as_str().unwrap()) {
            (Value::Array(values), "string") => {
                let values = values.iter().map(|value| value.as_str().unwrap());
                values.collect()
            }
            (_, "string" | "integer") => vec!["1"],
            (_, "number") => vec!["0.5"],
            (_, other) => panic!("{other}"),
        };
        names.push(*name);
        // A draw is refused without its size, and so is a range that is none.
        for value in values.iter().filter(|_| !["seed", "rows"].contains(name)) {
            let answer = service.post(&format!("{name}={value}"), &small);
            assert!(answer.status < 300, "{name}={value}: {answer:?}");
        }
    }
    for name in ["wait", "wrt", "label-smoothing", "scheme", "rows", "seed"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for kind in post["requestBody"]["content"].as_object().unwrap().keys() {
        let sent = ureq::post(service.url("/v1/checks")).header("content-type", kind);
        assert_eq!(sent.send(&small[..]).unwrap().status(), 202, "{kind}");
    }

    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    !response["description"].as_str().unwrap().is_empty(),
                    "{method} {path}: {status}"
                );
                let is_problem = response["content"]
                    .get("application/problem+json")
                    .is_some();
                assert_eq!(is_problem, !status.starts_with('2'), "{method} {path}");
            }
            assert_eq!(
                operation["security"].is_array(),
                operation["responses"].get("401").is_some()
            );
        }
    }
    let opened = |path: &str| document["paths"][path]["get"]["security"].is_null();
    assert!(opened("/healthz") && !opened("/metrics"));
    assert_eq!(
        document["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
}

#[test]
fn a_token_is_wanted_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let service = Service::start(
        &folder.path().join("data"),
        &["--device", "cpu", "--token-file", token.to_str().unwrap()],
    );
    assert_eq!(service.get("/healthz").status, 200);
    let none = service.get("/v1/checks");
    assert_eq!(
        (none.status, none.detail().as_str()),
        (
            401,
            "this service wants a token: --token-file on the command line, Authorization: Bearer TOKEN in HTTP"
        )
    );
    assert_eq!(none.headers["www-authenticate"], "Bearer");
    for (value, status) in [
        ("Bearer 0123456789abcdee", 401),
        ("Bearer 0123456789abcdef0", 401),
        ("Basic 0123456789abcdef", 401),
        ("Bearer", 401),
        ("Bearer 0123456789abcdef", 200),
        ("bearer 0123456789abcdef", 200),
    ] {
        let answer = service.get_with("/v1/checks", &[("authorization", value)]);
        assert_eq!(answer.status, status, "{value}");
    }
    assert_eq!(service.post("", &small(folder.path())).status, 401);
    assert_eq!(service.get("/metrics").status, 401);
}

/// Asked to end, it takes no more jobs, and what runs is done again by the next if it does not end soon.
#[test]
fn a_service_that_is_asked_to_end_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let flags = ["--device", "cpu", "--grace", "1m"];
    let service = Service::start(&data, &flags);
    let running = service.post(LONG, &long(folder.path())).id();
    let waiting = service
        .post(LONG, &case(folder.path(), [512, 32, 64], 1.0))
        .id();
    while service.get(&format!("/v1/checks/{running}")).json()["state"] != "running" {
        std::thread::sleep(Duration::from_millis(1));
    }
    let started = Instant::now();
    service.signal("TERM");
    // Until the check that runs is put back, whoever comes anew is told.
    let said = |request: &str| {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    while said("GET /readyz").starts_with("HTTP/1.1 200") {}
    let refused = said("POST /v1/checks");
    assert!(
        refused.starts_with("HTTP/1.1 503")
            && refused.contains("this service is about to end, and takes no more jobs"),
        "{refused}"
    );
    assert!(said("GET /v1/checks").starts_with("HTTP/1.1 200"));
    // Asked again it gives no grace.
    service.signal("TERM");
    assert_eq!(service.wait(), Some(0));
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );

    let service = Service::start(&data, &flags);
    for id in [running, waiting] {
        let job = service.wait_for(&id);
        assert_eq!([&job["state"], &job["verdict"]], ["done", "pass"]);
    }
    assert_eq!(service.jobs().len(), 2);
}

/// Fifty jobs are accepted; at some moment the process is killed; the next reports each of them once.
#[test]
fn what_was_accepted_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(std::process::id().into());
    let bodies = [
        small(folder.path()),
        case(folder.path(), [64, 32, 10], 64.0),
        case(folder.path(), [512, 64, 32], 1.0),
    ];
    for round in 0..3 {
        let data = folder.path().join(format!("data-{round}"));
        let service = Service::start(&data, &["--device", "cpu"]);
        let post = |i: usize| {
            let query = match i % 10 {
                0 => LONG,
                _ => "",
            };
            service.post(query, &bodies[i % 3]).id()
        };
        let accepted: Vec<String> = std::thread::scope(|scope| {
            let workers = (0..5).map(|worker| {
                let post = &post;
                scope.spawn(move || (0..10).map(|i| post(10 * worker + i)).collect::<Vec<_>>())
            });
            let workers: Vec<_> = workers.collect();
            workers
                .into_iter()
                .flat_map(|it| it.join().unwrap())
                .collect()
        });
        assert_eq!(accepted.len(), 50);
        std::thread::sleep(Duration::from_millis(random.random_range(0..300)));
        let before: Vec<Value> = service.jobs();
        service.kill();
        // What a body on its way leaves behind.
        std::fs::write(data.join("spool/part-xyz.safetensors"), b"half").unwrap();

        let service = Service::start(&data, &["--device", "cpu"]);
        for id in &accepted {
            let job = service.wait_for(id);
            assert_eq!(job["state"], "done", "round {round}: {job}");
            assert_eq!(job["report"]["schema"], "gradprobe/report/1");
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for job in service.jobs() {
            *seen
                .entry(job["id"].as_str().unwrap().to_owned())
                .or_default() += 1;
        }
        assert_eq!(seen.len(), 50);
        assert!(accepted.iter().all(|id| seen[id] == 1), "{seen:?}");
        // A report that was told before is the one that is told now.
        for job in before.iter().filter(|job| job["state"] == "done") {
            let now = service
                .get(&format!("/v1/checks/{}", job["id"].as_str().unwrap()))
                .json();
            assert_eq!(job["finished"], now["finished"]);
        }
        assert!(!data.join("spool/part-xyz.safetensors").exists());
        // A second service keeps off the same folder.
        let flags = [
            "serve",
            "--device",
            "cpu",
            "--listen",
            "127.0.0.1:0",
            "--data",
        ];
        let mut second = std::process::Command::new(env!("CARGO_BIN_EXE_gradprobe"));
        let second = second.args(flags).arg(&data).output().unwrap();
        assert_eq!(second.status.code(), Some(2));
        let said = String::from_utf8_lossy(&second.stderr);
        assert!(said.contains("another service works on it"), "{said}");
    }
}

/// What ends the process each time that it is begun must not end every service from then on.
#[test]
fn a_job_that_outlives_kill_after_kill_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut service = Service::start(&data, &["--device", "cpu"]);
    let job = service.post(LONG, &long(folder.path())).id();
    for _ in 0..5 {
        loop {
            let job = service.get(&format!("/v1/checks/{job}")).json();
            match job["state"].as_str() {
                Some("queued") => std::thread::sleep(Duration::from_millis(1)),
                Some("running") => break,
                _ => panic!("{job}"),
            }
        }
        // However soon: it is noted before anything of it is done.
        service.kill();
        service = Service::start(&data, &["--device", "cpu"]);
    }
    let given_up = service.get(&format!("/v1/checks/{job}")).json();
    assert_eq!(given_up["state"], "failed", "{given_up}");
    assert_eq!(
        given_up["error"],
        "5 times the service ended without a word while it was checked, and it is not begun again"
    );
    let next = service.post("wait=60", &small(folder.path())).json();
    assert_eq!(next["state"], "done");
}

/// Broken, cut short, lying and hostile bodies, by what is wrong with them.
fn bad_bodies(right: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut bodies = Vec::new();
    let header = u64::from_le_bytes(right[..8].try_into().unwrap()) as usize;
    let text = std::str::from_utf8(&right[8..8 + header]).unwrap();
    // At every byte of the header's beginning and end, and of each tensor's.
    let (_, tensors) = safetensors::SafeTensors::read_metadata(right).unwrap();
    let places = tensors.tensors().into_values().map(|it| it.data_offsets);
    let edges = places.flat_map(|(begin, end)| [8 + header + begin, 8 + header + end]);
    let edges = edges
        .chain([0, 8, 8 + header])
        .flat_map(|edge| edge.saturating_sub(3)..edge + 4);
    let mut edges: Vec<usize> = edges.filter(|&edge| edge < right.len()).collect();
    edges.sort_unstable();
    edges.dedup();
    for edge in edges {
        bodies.push((format!("cut at {edge}"), right[..edge].to_vec()));
    }
    for place in 8..8 + header {
        let mut body = right.to_vec();
        body[place] ^= 1 << (place % 7);
        bodies.push((format!("byte {place} of the header"), body));
    }
    for length in [
        0,
        1,
        header as u64 - 1,
        header as u64 + 1,
        1 << 24,
        1 << 40,
        u64::MAX,
    ] {
        let mut body = right.to_vec();
        body[..8].copy_from_slice(&length.to_le_bytes());
        bodies.push((format!("a header of {length}"), body));
    }
    let with_header = |text: &str| {
        let mut body = (text.len() as u64).to_le_bytes().to_vec();
        body.extend(text.as_bytes());
        body.extend(&right[8 + header..]);
        body
    };
    for (what, from, to) in [
        ("too large a shape", "[8,6]", "[8,600]"),
        ("a shape that overflows", "[8,6]", "[4294967296,4294967296]"),
        ("a negative shape", "[8,6]", "[-8,6]"),
        ("a type that there is not", "F64", "F65"),
        ("another type", "F64", "U8"),
        ("a missing tensor", "\"input\"", "\"inputs\""),
        ("a name twice", "\"weight\"", "\"input\""),
        ("no object", "{", "["),
    ] {
        assert!(text.contains(from), "{text}");
        bodies.push((what.to_owned(), with_header(&text.replacen(from, to, 1))));
    }
    bodies.push(("nested".to_owned(), with_header(&"[".repeat(1 << 16))));
    bodies.push((
        "no archive".to_owned(),
        b"PK\x03\x04 and nothing else".to_vec(),
    ));
    bodies
}

/// An .npz archive of zeros in a type, by name, each with a header that announces a shape.
fn archive(members: &[(&str, &str, usize)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, shape, bytes) in members {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(format!("{name}.npy"), options).unwrap();
        let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
        header += &" ".repeat(117 - header.len());
        zip.write_all(b"\x93NUMPY\x01\x00\x76\x00").unwrap();
        zip.write_all(format!("{header}\n").as_bytes()).unwrap();
        zip.write_all(&vec![0; *bytes]).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn bad_bodies_are_refused_and_cost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--device", "cpu", "--max-body", "1MB"];
    let data = folder.path().join("data");
    let service = Service::start(&data, &flags);
    let right = small(folder.path());
    let mut bodies = bad_bodies(&right);
    // Archives that unpack to a thousand times their size.
    let large = 100 << 20;
    for (what, members) in [
        (
            "a bomb",
            vec![
                ("input", "(1638400, 8)", large),
                ("weight", "(4, 8)", 256),
                ("target", "(8,)", 64),
            ],
        ),
        (
            "a bomb that lies",
            vec![
                ("input", "(8, 8)", large),
                ("weight", "(4, 8)", 256),
                ("target", "(8,)", 64),
            ],
        ),
        (
            "a bomb in the settings",
            vec![
                ("input", "(8, 8)", 512),
                ("weight", "(4, 8)", 256),
                ("target", "(8,)", 64),
                ("reduction", "(13107200,)", large),
            ],
        ),
        (
            "short of what it announces",
            vec![
                ("input", "(8, 8)", 511),
                ("weight", "(4, 8)", 256),
                ("target", "(8,)", 64),
            ],
        ),
        ("another folder's", vec![("../input", "(8, 8)", 512)]),
    ] {
        bodies.push((what.to_owned(), archive(&members)));
    }
    let archived = archive(&[("input", "(8, 8)", 512)]);
    for cut in 0..archived.len() {
        if cut % 7 == 0 {
            bodies.push((format!("archive cut at {cut}"), archived[..cut].to_vec()));
        }
    }
    let mut refused = 0;
    for (what, body) in &bodies {
        // What the library takes, such as another name for an optional tensor, the service takes too.
        let kind = if body.starts_with(b"PK") {
            "npz"
        } else {
            "safetensors"
        };
        let path = folder.path().join("body").with_extension(kind);
        std::fs::write(&path, body).unwrap();
        let request = io::Request {
            unpacked: Some(1_000_000),
            ..io::Request::default()
        };
        let is_bad = io::load(&io::Source::File(path), &request)
            .and_then(|case| {
                gradprobe::check::validate(
                    &case.problem,
                    &case.subjects,
                    &gradprobe::check::Options::default(),
                )
            })
            .is_err();
        let answer = service.post("", body);
        assert_eq!(is_bad, answer.status != 202, "{what}: {answer:?}");
        if is_bad {
            assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
            assert!(!answer.detail().contains("spool"), "{what}: {answer:?}");
            refused += 1;
        }
    }
    assert!(
        refused >= 200,
        "only {refused} of {} were bad",
        bodies.len()
    );
    assert_eq!(service.post("wait=60", &right).json()["verdict"], "pass");
    // None of them has left a file, or filled the memory; short ones that are kept have none of their own.
    assert_eq!(std::fs::read_dir(data.join("spool")).unwrap().count(), 0);
    #[cfg(target_os = "linux")]
    {
        let most = service.peak_memory();
        assert!(most < 128 << 20, "{most} bytes");
    }
}

/// `gradprobe check` with these arguments: its exit code, and what it says.
fn check(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_gradprobe"))
        .arg("check")
        .args(arguments)
        .env("GITHUB_ACTIONS", "")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Without what is another each time: how long it took, and the command.
fn lasting(text: &str) -> String {
    let other = |line: &&str| line.starts_with("  time") || line.starts_with("  repeat");
    text.lines()
        .filter(|line| !other(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A file with the gradients of input and weight, and something else.
fn with_parameters(path: &Path) {
    use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
    let problem = crate::problems::random(1, 8, 6, 4, 1.0, gradprobe::loss::Reduction::Mean);
    let bytes = |values: Vec<f64>| -> Vec<u8> {
        let values = values.into_iter();
        values.flat_map(f64::to_le_bytes).collect()
    };
    let (wrt, f64) = (
        gradprobe::problem::Wrt::Weight,
        gradprobe::tensor::Dtype::F64,
    );
    let grad = crate::framework::gradient(&problem, gradprobe::problem::Wrt::Input, f64);
    let tensors = [
        ("input", vec![8, 6], bytes(problem.input().values())),
        ("weight", vec![4, 6], bytes(problem.weight().values())),
        ("bias", vec![4], bytes(problem.bias())),
        ("grad", vec![8, 6], bytes(grad)),
        (
            "grad_weight",
            vec![4, 6],
            bytes(crate::framework::gradient(&problem, wrt, f64)),
        ),
        ("grad_input", vec![1], bytes(vec![0.0])),
    ];
    let labels: Vec<u8> = (0..8)
        .map(|row| problem.label(row).unwrap() as u8)
        .collect();
    let target = TensorView::new(Dtype::U8, vec![8], &labels).unwrap();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F64, shape.clone(), bytes);
        (*name, view.unwrap())
    });
    serialize_to_file(views.chain([("target", target)]), None, path).unwrap();
}

#[test]
fn a_check_at_a_service_is_told_as_one_done_here() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let token = token.to_str().unwrap();
    let flags = ["--device", "cpu", "--token-file", token];
    let service = Service::start(&folder.path().join("data"), &flags);
    let url = service.url("/");
    let there = ["--server", &url, "--token-file", token];
    let here = ["--device", "cpu"];
    let data = |name: &str| format!("tests/cli/data/{name}.safetensors");
    let (right, wrong, broken) = (data("right"), data("wrong-sum"), data("truncated"));
    // Another format than its name says.
    let misnamed = folder.path().join("misnamed.safetensors");
    std::fs::copy("tests/cli/data/right.npz", &misnamed).unwrap();
    let misnamed = misnamed.to_str().unwrap();
    let parameters = folder.path().join("parameters.safetensors");
    with_parameters(&parameters);
    let parameters = parameters.to_str().unwrap();
    for arguments in [
        vec![right.as_str()],
        vec![&wrong],
        vec![&right, "--wrt", "input,bias", "--rtol", "1e-9"],
        vec![&right, "--allow-inconclusive", "--atol=1"],
        vec![&wrong, "--format", "markdown"],
        vec![&right, "--quiet"],
        vec![parameters, "--rows", "0..5"],
        vec![misnamed],
        vec!["README.md"],
        vec!["absent.npz"],
        vec![&broken],
        vec![&right, &broken, &wrong],
    ] {
        let (code, text, errors) = check(&[&arguments[..], &here].concat());
        let (code_there, text_there, errors_there) = check(&[&arguments[..], &there].concat());
        assert_eq!(code, code_there, "{arguments:?}: {errors_there}");
        assert_eq!(errors, errors_there, "{arguments:?}");
        if !arguments.contains(&"markdown") {
            assert_eq!(lasting(&text), lasting(&text_there), "{arguments:?}");
        }
    }
    // Files as well, the page with its pictures.
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (html, junit, json) = (file("r.html"), file("r.xml"), file("r.json"));
    let files = [&wrong, "--html", &html, "--junit", &junit, "--json", &json];
    let (code, _, _) = check(&[&files[..], &there].concat());
    assert_eq!(code, Some(1));
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    assert!(read(&html).contains("<svg"));
    assert!(read(&junit).contains("<testcase"));
    assert!(read(&json).contains("\"schema\": \"gradprobe/report/1\""));

    // What is in the way is told in a sentence.
    let (code, _, errors) = check(&[&right, "--server", &url]);
    assert_eq!(
        (code, errors.as_str()),
        (
            Some(2),
            "error: this service wants a token: --token-file on the command line, Authorization: Bearer TOKEN in HTTP\n"
        )
    );
    let other = file("another");
    std::fs::write(&other, "another0123456789\n").unwrap();
    // Whether the file is short, or so long that it would never be sent.
    let long = file("long.safetensors");
    File::create(&long).unwrap().set_len(1 << 40).unwrap();
    for path in [&right, &long] {
        let (code, _, errors) = check(&[path, "--server", &url, "--token-file", &other]);
        assert_eq!(
            (code, errors.as_str()),
            (Some(2), "error: the token is not this service's\n")
        );
    }
    let (code, _, errors) = check(&[&right, "--server", "localhost:8417"]);
    assert_eq!(code, Some(2));
    assert!(
        errors.ends_with("expected an address, such as http://127.0.0.1:8417\n"),
        "{errors}"
    );

    // Where this machine computes is nothing to a service: of the file it is left out, of the command line refused.
    let settings = file("settings.toml");
    std::fs::write(&settings, "device = \"no such\"\nrtol = 1e-9").unwrap();
    let (code, text, errors) = check(&[&[&right, "--config", &settings][..], &there].concat());
    assert_eq!((code, errors.as_str()), (Some(1), ""), "{text}");
    // Of two in the file the service computes.
    let both = format!(
        "device = \"no such\"\nserver = \"{}\"\nsave-failures = \"x\"",
        service.url("")
    );
    std::fs::write(&settings, both).unwrap();
    let (code, _, errors) = check(&[&right, "--config", &settings, "--token-file", token]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let (code, _, errors) = check(&[&right, "--config", &settings, "--device", "cpu"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let (code, _, errors) = check(&[&[&right, "--device", "cpu"][..], &there].concat());
    assert_eq!(code, Some(2));
    let said = "error: the argument '--device <D>' cannot be used with '--server <URL>'; ";
    assert!(errors.starts_with(said), "{errors}");
    // Another's address.
    let (code, _, errors) = check(&[
        &right,
        "--server",
        &service.url("/x"),
        "--token-file",
        token,
    ]);
    assert_eq!(code, Some(2));
    let said = format!(
        "error: {} cannot be asked: there is no such path; ",
        service.url("/x")
    );
    assert!(errors.starts_with(&said), "{errors}");

    // A name that is longer than the service keeps; and of several files each is told with the command that repeats it there.
    let long = file(&"x".repeat(120));
    let long = format!("{long}/{}.safetensors", "y".repeat(120));
    std::fs::create_dir(Path::new(&long).parent().unwrap()).unwrap();
    std::fs::copy(&wrong, &long).unwrap();
    let (code, text, errors) = check(&[&[right.as_str(), &long][..], &there].concat());
    assert_eq!((code, errors.as_str()), (Some(1), ""));
    let repeat = text.lines().find(|line| line.trim().starts_with("repeat"));
    assert!(repeat.unwrap().contains("--server"), "{text}");

    drop(service);
    let (code, _, errors) = check(&[&[right.as_str()][..], &there].concat());
    assert_eq!(code, Some(2));
    assert!(
        errors.starts_with(&format!(
            "error: {} cannot be asked: ",
            url.trim_end_matches('/')
        )),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

/// Who asked for a check may go away, and so may the service: the one cancels it, the other comes back to it.
#[cfg(unix)]
#[test]
fn a_check_at_a_service_is_cancelled_or_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = folder.path().join("long.safetensors");
    std::fs::write(&file, long(folder.path())).unwrap();
    let flags = ["--device", "cpu", "--grace", "0s"];
    let service = Service::start(&data, &flags);
    let url = service.url("");
    let asked = || {
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_gradprobe"));
        check
            .args(["check", "--server", &url, "--method", "forward-pass"])
            .arg(&file)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped());
        check.spawn().unwrap()
    };
    let newest = |service: &Service, state: &str| {
        let started = Instant::now();
        while service
            .jobs()
            .first()
            .is_none_or(|job| job["state"] != state)
        {
            assert!(started.elapsed() < Duration::from_secs(60), "{state}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    for signal in ["-INT", "-TERM"] {
        let check = asked();
        newest(&service, "running");
        let killed = std::process::Command::new("kill")
            .args([signal, &check.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
        let output = check.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        let told = String::from_utf8(output.stderr).unwrap();
        let said = format!(
            "note: interrupted: {url} is told to cancel {}\n",
            file.display()
        );
        assert!(told.ends_with(&said), "{told}");
        newest(&service, "cancelled");
    }

    // Whoever comes while it ends waits for the next.
    let late = |service: &Service| {
        service.signal("TERM");
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_gradprobe"));
        check
            .args([
                "check",
                "--server",
                &url,
                "tests/cli/data/right.safetensors",
            ])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped());
        check.spawn().unwrap()
    };
    let address = service.address().to_owned();
    drop(service);
    let patient = ["--device", "cpu", "--grace", "2s"];
    let service = Service::start_at(&address, &data, &patient);
    let running = asked();
    newest(&service, "running");
    let check = late(&service);
    assert_eq!(service.wait(), Some(0));
    let service = Service::start_at(&address, &data, &flags);
    let output = check.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("it is asked again for 120 s\n"), "{told}");

    // Interrupted while the service is away, it says what may become of it.
    newest(&service, "done");
    service.kill();
    let killed = std::process::Command::new("kill")
        .args(["-INT", &running.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("and may yet check it\n"), "{told}");
    let service = Service::start_at(&address, &data, &flags);

    let check = asked();
    newest(&service, "running");
    service.signal("TERM");
    assert_eq!(service.wait(), Some(0));
    std::thread::sleep(Duration::from_secs(2));
    let service = Service::start_at(&address, &data, &flags);
    let output = check.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("; it is asked again\n"), "{told}");
    assert_eq!(service.jobs().len(), 5);
}
