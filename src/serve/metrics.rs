//! What a monitor asks for, as Prometheus reads it.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::store::Outcome;
use crate::{output::words, report::Report};

/// A verdict, and who computed it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Checked {
    verdict: &'static str,
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

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("gradprobe");
        let metrics = Self {
            waiting: Gauge::default(),
            accepted: Counter::default(),
            bytes: Counter::default(),
            refused: Family::default(),
            ended: Family::default(),
            checks: Family::default(),
            entries: Counter::default(),
            // From a millisecond to a quarter of an hour.
            seconds: Histogram::new((0..21).map(|power| 1e-3 * 2_f64.powi(power))),
            compute_seconds: Counter::default(),
            lost: Counter::default(),
            registry: Registry::default(),
        };
        let it = &metrics;
        registry.register(
            "queue_length",
            "Jobs whose turn is to come",
            it.waiting.clone(),
        );
        registry.register(
            "jobs_accepted",
            "Jobs that were accepted",
            it.accepted.clone(),
        );
        registry.register_with_unit(
            "body",
            "Bodies of accepted jobs",
            Unit::Bytes,
            it.bytes.clone(),
        );
        registry.register(
            "requests_refused",
            "Requests with a status of 400 or more",
            it.refused.clone(),
        );
        registry.register(
            "jobs_ended",
            "Jobs by the state in which they ended",
            it.ended.clone(),
        );
        registry.register("checks", "Reports by verdict and device", it.checks.clone());
        registry.register(
            "entries",
            "Entries of gradients that were compared",
            it.entries.clone(),
        );
        registry.register_with_unit(
            "check",
            "From the beginning of a check to its report",
            Unit::Seconds,
            it.seconds.clone(),
        );
        registry.register_with_unit(
            "compute",
            "Spent on computing",
            Unit::Seconds,
            it.compute_seconds.clone(),
        );
        registry.register(
            "devices_lost",
            "Times that the device had to be opened anew",
            it.lost.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }

    pub(super) fn accepted(&self, bytes: u64) {
        self.accepted.inc();
        self.bytes.inc_by(bytes);
    }

    pub(super) fn refused(&self, status: u16) {
        self.refused.get_or_create(&Refused { status }).inc();
    }

    pub(super) fn checked(&self, report: &Report, took: Duration) {
        let labels = Checked {
            verdict: words::verdict(report.verdict()),
            device: report.device.name.clone(),
        };
        self.checks.get_or_create(&labels).inc();
        self.entries
            .inc_by(report.checks.iter().map(|check| check.tally.entries).sum());
        self.seconds.observe(took.as_secs_f64());
        self.compute_seconds.inc_by(report.seconds.compute);
    }

    pub(super) fn ended(&self, outcome: &Outcome) {
        let state = outcome.state().name();
        self.ended.get_or_create(&Ended { state }).inc();
    }

    pub(super) fn lost(&self) {
        self.lost.inc();
    }

    /// All of them, in the text format of OpenMetrics.
    pub(super) fn render(&self, waiting: usize) -> String {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let mut text = String::new();
        // A string takes everything.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
