//! A job from its request to its report, its page and its cancellation.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::{
    cases::case,
    fixtures::{ON_CPU, SLOW, large, small, write_two_gradients},
    service::Service,
};

#[test]
fn answers_with_the_report_if_the_client_waits() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &ON_CPU);

    // The report is the one that the command line writes.
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

    // A check of some rows reports how many.
    let right = folder.path().join("right.safetensors");
    write_two_gradients(&right);
    let right = std::fs::read(right).unwrap();
    let unread = "unknown tensor grad_input was not read; \
                  gradients are named grad, grad_logits, grad_weight, grad_bias";
    let sum = "grad_weight is not checked: it is a sum over all samples, \
               and --rows selects some of them";
    for (query, summary, notes) in [
        ("wait=60", "grad, grad_weight", &[unread][..]),
        ("wait=60&rows=0..5", "grad (5 of 8 rows)", &[unread, sum]),
    ] {
        let job = service.post(query, &right).json();
        assert_eq!(job["summary"], summary);
        assert_eq!(job["report"]["notes"], json!(notes));
    }
}

#[test]
fn accepts_lists_and_counts_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &ON_CPU);
    assert_eq!(service.get("/healthz").text, "ok\n");
    assert_eq!(service.get("/readyz").text, "ready\n");

    let wrong = case(folder.path(), [16, 6, 4], 16.0);
    let two = folder.path().join("two.safetensors");
    write_two_gradients(&two);
    let two = std::fs::read(two).unwrap();
    assert_eq!(service.post("wait=60", &wrong).json()["verdict"], "fail");
    for query in ["wait=60", "wait=60&rows=0..5"] {
        assert_eq!(service.post(query, &two).json()["verdict"], "pass");
    }

    // Without `wait` the answer points to the job.
    let accepted = service.post("", &small(folder.path()));
    assert_eq!(accepted.status, 202);
    let location = format!("/v1/checks/{}", accepted.id());
    assert_eq!(accepted.headers["location"], location.as_str());
    let job = service.wait_for(&accepted.id());
    assert_eq!([&job["state"], &job["verdict"]], ["done", "pass"]);

    // The page is the one of --html, and a second request gets the same.
    let page = service.get(&format!("{location}/report.html"));
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(page.text.contains("grad is right: all 48"), "{}", page.text);
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
fn short_jobs_overtake_a_long_one_that_is_watched_and_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &ON_CPU);
    let (large, small) = (large(folder.path()), small(folder.path()));
    let first = service.post(SLOW, &large).id();
    let second = service.post(SLOW, &large).id();
    // A small job behind two long ones ends before the first of them.
    let quick = service.post("wait=60", &small).json();
    assert_eq!(quick["state"], "done");
    // A job of several calls ends before it, too.
    let shorter = case(folder.path(), [512, 64, 256], 1.0);
    let shorter = service.post(&format!("{SLOW}&wait=60"), &shorter).json();
    assert_eq!(shorter["state"], "done");
    assert_eq!(service.job(&first)["state"], "running");

    // The second long job is still queued.
    let cancelled = service.delete(&format!("/v1/checks/{second}"));
    assert_eq!(
        (cancelled.status, cancelled.json()["state"].as_str()),
        (200, Some("cancelled"))
    );
    // It has ended, so that another request deletes it.
    let again = service.delete(&format!("/v1/checks/{second}"));
    assert_eq!((again.status, &*again.text), (204, ""));
    assert_eq!(service.get(&format!("/v1/checks/{second}")).status, 404);

    // The first one reports its progress until it ends.
    let mut stream = TcpStream::connect(service.address()).unwrap();
    let head = format!(
        "GET /v1/checks/{first}/events HTTP/1.1\r\n\
         Host: localhost\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let progress = "\"progress\":{\"done\":";
    let mut events = String::new();
    let mut buffer = [0; 4096];
    while !events.contains(progress) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{events}");
        events += std::str::from_utf8(&buffer[..count]).unwrap();
    }
    let answer = service.delete(&format!("/v1/checks/{first}"));
    assert!(answer.status == 202, "{answer:?}");
    stream.read_to_string(&mut events).unwrap();
    assert!(events.contains("text/event-stream"), "{events}");
    assert!(events.contains("event: running\ndata: {"), "{events}");
    assert!(events.contains(progress), "{events}");
    let last = events.rsplit("event: ").next().unwrap();
    assert!(last.starts_with("cancelled\ndata: {"), "{events}");
    assert_eq!(service.wait_for(&first)["state"], "cancelled");
}

/// A single row may take long. Short jobs overtake it and a cancellation interrupts it, in the
/// middle of the row.
#[test]
fn a_long_row_is_overtaken_and_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &ON_CPU);
    let small = small(folder.path());
    for (query, size) in [
        (SLOW, [1, 2000, 2000]),
        (
            "method=forward-pass&wrt=weight&self-test=true",
            [1, 500, 500],
        ),
    ] {
        let row = case(folder.path(), size, 1.0);
        let id = service.post(query, &row).id();
        assert_eq!(service.wait_until_started(&id), "running");
        assert_eq!(service.post("wait=60", &small).json()["state"], "done");
        assert_eq!(service.job(&id)["state"], "running");
        assert_eq!(service.delete(&format!("/v1/checks/{id}")).status, 202);
        assert_eq!(service.wait_for(&id)["state"], "cancelled");
    }
}

#[test]
fn a_cancellation_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let service = Service::start(&data, &ON_CPU);
    let id = service.post("", &large(folder.path())).id();
    service.wait_until_started(&id);
    assert_eq!(service.delete(&format!("/v1/checks/{id}")).status, 202);
    service.kill();
    let service = Service::start(&data, &ON_CPU);
    assert_eq!(service.job(&id)["state"], "cancelled");
}

#[test]
fn an_ended_job_can_be_deleted_with_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let service = Service::start(&data, &ON_CPU);
    let files = || std::fs::read_dir(data.join("spool")).unwrap().count();
    // A short body is in the database, a long one in a file.
    let long = case(folder.path(), [400, 100, 4], 16.0);
    for body in [small(folder.path()), long] {
        let kept = service.post("wait=60", &body).id();
        let deleted = service.post("wait=60", &body).id();
        for id in [&kept, &deleted] {
            service.get(&format!("/v1/checks/{id}/report.html"));
        }
        let before = files();
        let path = format!("/v1/checks/{deleted}");
        assert_eq!(service.delete(&path).status, 204);
        assert!(files() < before, "{} files, {before} before", files());
        assert_eq!(service.delete(&path).status, 404);
        for part in ["", "/events", "/report.html"] {
            assert_eq!(service.get(&format!("{path}{part}")).status, 404, "{part}");
        }
        let ids: Vec<Value> = service.jobs().iter().map(|job| job["id"].clone()).collect();
        assert!(!ids.contains(&deleted.as_str().into()), "{ids:?}");
        assert_eq!(service.job(&kept)["state"], "done");
    }
    drop(service);
    let service = Service::start(&data, &ON_CPU);
    assert_eq!(service.jobs().len(), 2);
}

#[test]
fn the_list_can_be_filtered_by_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &ON_CPU);
    let wrong = case(folder.path(), [16, 6, 4], 16.0);
    let right = small(folder.path());
    for body in [&wrong, &right, &wrong, &right, &wrong] {
        service.post("wait=60", body);
    }
    for (verdict, expected) in [("fail", 3), ("pass", 2), ("inconclusive", 0)] {
        let mut found = 0;
        let mut next = Some(String::new());
        while let Some(cursor) = next {
            let path = format!("/v1/checks?verdict={verdict}&state=done&limit=2{cursor}");
            let page = service.get(&path).json();
            for job in page["checks"].as_array().unwrap() {
                assert_eq!(job["verdict"], verdict);
                found += 1;
            }
            next = page["next"].as_i64().map(|next| format!("&cursor={next}"));
        }
        assert_eq!(found, expected, "{verdict}");
    }
    let queued = service.get("/v1/checks?verdict=fail&state=queued").json();
    assert_eq!(queued["checks"], json!([]));
}

#[test]
fn checks_a_network_as_any_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &ON_CPU);
    let example = |name: &str| std::fs::read(format!("examples/{name}.safetensors")).unwrap();
    let job = service.post("wait=60", &example("mlp-no-mask")).json();
    assert_eq!(job["verdict"], "fail");
    assert_eq!(job["report"]["checks"][0]["layer"], "relu");
    let page = service.get(&format!(
        "/v1/checks/{}/report.html",
        job["id"].as_str().unwrap()
    ));
    assert!(page.text.contains("Wrong by itself: relu."));

    // The request may give the model.
    let job = service
        .post("wait=60&model=softmax%20dot", &example("softmax"))
        .json();
    assert_eq!(
        (&job["verdict"], &job["state"]),
        (&json!("pass"), &json!("done"))
    );
    // It names no file of the service's machine.
    let answer = service.post("model=Cargo.json", &example("softmax"));
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.detail(),
        "model: Cargo.json: there is no such loss: Cargo.json"
    );
}
