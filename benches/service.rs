//! Loads `gradprobe serve` with 1,000 small checks from 32 clients, then again beside ten bodies of
//! 100 MB. Checks every answer, and finds every job in the list at the end.
//!
//! Run it with `cargo bench --bench service`. It takes a few minutes and uses only the local
//! address.

#[path = "../tests/common/cases.rs"]
mod cases;
#[path = "../tests/common/framework.rs"]
#[allow(dead_code)]
mod framework;
#[path = "../tests/common/problems.rs"]
mod problems;
#[path = "../tests/common/service.rs"]
#[allow(dead_code)]
mod service;

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cases::case;
use service::Service;

const CHECKS: usize = 1000;
const CLIENTS: usize = 32;
const UPLOADS: usize = 10;

/// Result of the small checks.
struct Load {
    ids: BTreeSet<String>,
    seconds: f64,
    /// Latency of each request, sorted.
    latencies: Vec<Duration>,
}

impl Load {
    fn quantile(&self, share: f64) -> f64 {
        let index = (share * self.latencies.len() as f64) as usize;
        1e3 * self.latencies[index.min(self.latencies.len() - 1)].as_secs_f64()
    }

    fn print(&self, load: &str) {
        println!(
            "{load}: {:.0} checks/s; latency {:.1} ms median, {:.1} ms p99, {:.1} ms max",
            CHECKS as f64 / self.seconds,
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(1.0)
        );
    }
}

/// Runs the small checks. Every client posts one check after the other and waits for its report.
fn load(service: &Service, right: &[u8], wrong: &[u8]) -> Load {
    let (next, found) = (
        AtomicUsize::new(0),
        Mutex::new((BTreeSet::new(), Vec::new())),
    );
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CHECKS {
                        return;
                    }
                    let (body, verdict) = match number % 2 {
                        0 => (right, "pass"),
                        _ => (wrong, "fail"),
                    };
                    let asked = Instant::now();
                    let answer = service.post("wait=60", body);
                    let latency = asked.elapsed();
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let job = answer.json();
                    assert_eq!(job["verdict"], verdict, "{job}");
                    let mut found = found.lock().unwrap();
                    assert!(
                        found.0.insert(answer.id()),
                        "job {} was returned twice",
                        answer.id()
                    );
                    found.1.push(latency);
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let (ids, mut latencies) = found.into_inner().unwrap();
    latencies.sort();
    Load {
        ids,
        seconds,
        latencies,
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let right = case(folder.path(), [64, 32, 10], 1.0);
    let wrong = case(folder.path(), [64, 32, 10], 64.0);
    let large = case(folder.path(), [65536, 128, 10], 1.0);
    let device = std::env::var("GRADPROBE_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    let data = folder.path().join("data");
    let service = Service::start(&data, &["--device", &device]);

    // The first checks allocate memory and create files.
    load(&service, &right, &wrong);
    let alone = load(&service, &right, &wrong);
    alone.print("64x32x10 from 32 clients");

    let (beside, uploads) = std::thread::scope(|scope| {
        let uploads = (0..UPLOADS).map(|_| scope.spawn(|| service.post("", &large)));
        let uploads: Vec<_> = uploads.collect();
        let beside = load(&service, &right, &wrong);
        let uploads = uploads.into_iter().map(|upload| upload.join().unwrap());
        (beside, uploads.collect::<Vec<_>>())
    });
    beside.print(&format!(
        "the same, beside {UPLOADS} bodies of {:.0} MB",
        large.len() as f64 / 1e6
    ));
    for upload in uploads {
        assert_eq!(upload.status, 202, "{upload:?}");
        assert_eq!(service.wait_for(&upload.id())["verdict"], "pass");
    }
    let kept: BTreeSet<String> = service
        .jobs()
        .iter()
        .map(|job| job["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kept.len(), 3 * CHECKS + UPLOADS);
    assert!(alone.ids.is_subset(&kept) && beside.ids.is_subset(&kept));
    println!(
        "{} answers were correct, and the list has every job",
        kept.len()
    );
    #[cfg(target_os = "linux")]
    println!("peak memory {:.0} MB", service.peak_memory() as f64 / 1e6);
}
