//! Metrics of the service, in the text format of OpenMetrics, which Prometheus reads.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry, Unit},
};

use super::job::Outcome;
use crate::report::Report;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Checked {
    verdict: String,
    device: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    status: u16,
}

/// Metrics of a service. Each field is described by its help text in [`Metrics::new`].
pub(super) struct Metrics {
    registry: Registry,
    waiting: Gauge,
    accepted: Counter,
    bytes: Counter,
    refused: Family<Refused, Counter>,
    ended: Family<Ended, Counter>,
    checks: Family<Checked, Counter>,
    entries: Counter,
    seconds: Histogram,
    compute_seconds: Counter<f64, AtomicU64>,
    lost: Counter,
}

/// Registers a metric without a unit.
fn count<M: Metric + Default + Clone>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// Registers a metric with a unit.
fn measure<M: Metric + Default + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    unit: Unit,
) -> M {
    let metric = M::default();
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("gradprobe");
        let all = &mut registry;
        Self {
            waiting: count(all, "queue_length", "Queued jobs"),
            accepted: count(all, "jobs_accepted", "Accepted jobs"),
            bytes: measure(all, "body", "Bodies of accepted jobs", Unit::Bytes),
            refused: count(
                all,
                "requests_refused",
                "Answers with a status of 400 or more",
            ),
            ended: count(all, "jobs_ended", "Ended jobs by state"),
            checks: count(all, "checks", "Reports by verdict and device"),
            entries: count(all, "entries", "Compared gradient entries"),
            seconds: {
                // From 1 ms to 17 minutes.
                let seconds = Histogram::new((0..21).map(|power| 1e-3 * 2_f64.powi(power)));
                let help = "Time from the start of a check to its report";
                all.register_with_unit("check", help, Unit::Seconds, seconds.clone());
                seconds
            },
            compute_seconds: measure(all, "compute", "Time spent on checks", Unit::Seconds),
            lost: count(
                all,
                "devices_lost",
                "Times that the device failed and was reopened",
            ),
            registry,
        }
    }

    pub(super) fn accepted(&self, bytes: u64) {
        self.accepted.inc();
        self.bytes.inc_by(bytes);
    }

    pub(super) fn refused(&self, status: u16) {
        self.refused.get_or_create(&Refused { status }).inc();
    }

    /// Counts a report. `elapsed` is the time from its start to its end, `spent` the part without
    /// the jobs that overtook it.
    pub(super) fn checked(&self, report: &Report, elapsed: Duration, spent: Duration) {
        let labels = Checked {
            verdict: report.verdict.to_string(),
            device: report.device.name.clone(),
        };
        self.checks.get_or_create(&labels).inc();
        self.entries
            .inc_by(report.checks.iter().map(|check| check.entries).sum());
        self.seconds.observe(elapsed.as_secs_f64());
        self.compute_seconds.inc_by(spent.as_secs_f64());
    }

    pub(super) fn ended(&self, outcome: &Outcome) {
        let state = outcome.state().name();
        self.ended.get_or_create(&Ended { state }).inc();
    }

    pub(super) fn lost(&self) {
        self.lost.inc();
    }

    /// Returns all metrics as text. `waiting` is the length of the queue.
    pub(super) fn render(&self, waiting: usize) -> String {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
