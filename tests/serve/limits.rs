//! Limits on what a client can occupy: the queue, and connections that stall.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    cases::case,
    fixtures::{SLOW, small},
    service::Service,
};

#[test]
fn refuses_a_job_if_the_queue_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let service = Service::start(&data, &["--device", "cpu", "--max-queue", "1"]);
    let slow = case(folder.path(), [8192, 32, 512], 1.0);
    let running = service.post(SLOW, &slow).id();
    assert_eq!(service.wait_until_started(&running), "running");
    assert_eq!(service.post(SLOW, &slow).status, 202);
    let full = service.post("", &small(folder.path()));
    assert_eq!(
        (full.status, full.detail().as_str()),
        (429, "the queue is full")
    );
    assert_eq!(full.headers["retry-after"], "5");
    // Only the two accepted bodies are kept.
    assert!(fs::read_dir(data.join("spool")).unwrap().count() == 2);
}

#[test]
fn closes_a_connection_whose_client_stops_sending() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let service = Service::start(&data, &["--device", "cpu", "--max-silence", "300ms"]);
    for (request, answered) in [
        // A body that stops.
        (
            "POST /v1/checks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nab",
            "HTTP/1.1 4",
        ),
        // A head that stops.
        ("GET /v1/checks HTTP/1.1\r\nHost: loc", ""),
    ] {
        let started = Instant::now();
        let answer = service.raw(request);
        assert!(answer.starts_with(answered), "{answer}");
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
    assert!(fs::read_dir(data.join("spool")).unwrap().count() == 0);
}

#[test]
fn closes_a_connection_whose_client_reads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let service = Service::start(&data, &["--device", "cpu", "--max-silence", "300ms"]);
    let mut stream = TcpStream::connect(service.address()).unwrap();
    let requests = "GET /service.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    stream.write_all(requests.as_bytes()).unwrap();
    // Once the service has closed the connection, a write fails.
    let started = Instant::now();
    while stream.write_all(b"\r\n").is_ok() {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    // Most of the answers never arrive.
    let mut taken = Vec::new();
    let _ = stream.read_to_end(&mut taken);
    let page = service.get("/service.js").text.len();
    assert!(taken.len() < 999 * page, "{} of {page}", taken.len());
}
