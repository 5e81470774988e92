//! Shutdown, crash and restart: accepted jobs are never lost.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use serde_json::Value;

use crate::{
    cases::case,
    fixtures::{ON_CPU, SLOW, large, medium, small},
    service::Service,
};

/// The first signal closes the queue. The second one interrupts the running check, which the next
/// service repeats.
#[test]
fn a_shutdown_loses_no_job() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let flags = ["--device", "cpu", "--grace", "1m"];
    let service = Service::start(&data, &flags);
    let running = service.post(SLOW, &medium(folder.path())).id();
    let waiting = service
        .post(SLOW, &case(folder.path(), [512, 32, 64], 1.0))
        .id();
    service.wait_until_started(&running);
    let started = Instant::now();
    service.signal("TERM");
    // Until the running check is interrupted, new requests are still answered.
    let ask = |request: &str| {
        service.raw(&format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
    };
    while ask("GET /readyz").starts_with("HTTP/1.1 200") {}
    let refused = ask("POST /v1/checks");
    assert!(
        refused.starts_with("HTTP/1.1 503")
            && refused.contains("the service is shutting down and accepts no more jobs"),
        "{refused}"
    );
    assert!(ask("GET /v1/checks").starts_with("HTTP/1.1 200"));
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

/// Sends fifty bodies from five clients and returns the ids of the jobs.
fn post_fifty(service: &Service, bodies: &[Vec<u8>; 3]) -> Vec<String> {
    let post = |i: usize| {
        let query = if i.is_multiple_of(10) { SLOW } else { "" };
        service.post(query, &bodies[i % 3]).id()
    };
    let ids: Vec<String> = std::thread::scope(|scope| {
        let clients = (0..5).map(|client| {
            let post = &post;
            scope.spawn(move || (0..10).map(|i| post(10 * client + i)).collect::<Vec<_>>())
        });
        let clients: Vec<_> = clients.collect();
        clients
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    assert_eq!(ids.len(), 50);
    ids
}

/// A second service on the same folder exits with an error.
fn assert_locked(data: &Path) {
    let mut second = Command::new(env!("CARGO_BIN_EXE_gradprobe"));
    second
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(ON_CPU);
    let second = second.arg("--data").arg(data).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(error.contains("another service uses it"), "{error}");
}

/// A service accepts fifty jobs and is killed at a random moment. The next one reports each job
/// once.
#[test]
fn accepted_jobs_outlive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(std::process::id().into());
    let bodies = [
        small(folder.path()),
        case(folder.path(), [64, 32, 10], 64.0),
        case(folder.path(), [512, 64, 32], 1.0),
    ];
    for round in 0..3 {
        let data = folder.path().join(format!("data-{round}"));
        let service = Service::start(&data, &ON_CPU);
        let accepted = post_fifty(&service, &bodies);
        std::thread::sleep(Duration::from_millis(random.random_range(0..300)));
        let before: Vec<Value> = service.jobs();
        service.kill();
        // A kill during an upload leaves such a file behind.
        fs::write(data.join("spool/part-xyz.safetensors"), b"half").unwrap();

        let service = Service::start(&data, &ON_CPU);
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
        // A job that had ended before the kill has not run again.
        for job in before.iter().filter(|job| job["state"] == "done") {
            let now = service.job(job["id"].as_str().unwrap());
            assert_eq!(job["finished"], now["finished"]);
        }
        assert!(!data.join("spool/part-xyz.safetensors").exists());
        assert_locked(&data);
    }
}

/// A job that crashes the process must not crash every service that starts afterwards.
#[test]
fn a_job_that_crashes_the_service_again_and_again_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut service = Service::start(&data, &ON_CPU);
    let job = service.post(SLOW, &large(folder.path())).id();
    for _ in 0..5 {
        assert_eq!(service.wait_until_started(&job), "running");
        // The start is recorded before any work, so an immediate kill counts.
        service.kill();
        service = Service::start(&data, &ON_CPU);
    }
    let given_up = service.job(&job);
    assert_eq!(given_up["state"], "failed", "{given_up}");
    assert_eq!(
        given_up["error"],
        "the service crashed 5 times during this check, so it is not retried"
    );
    let next = service.post("wait=60", &small(folder.path())).json();
    assert_eq!(next["state"], "done");
}
