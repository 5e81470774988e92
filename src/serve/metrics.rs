//! What a monitor asks for, as Prometheus reads it.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry, Unit},
};

use super::store::Outcome;
use crate::report::Report;

/// A verdict, and who computed it.
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

/// A metric under that name.
fn counted<M: Metric + Default + Clone>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// The same with a unit.
fn measured<M: Metric + Default + Clone>(
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
            waiting: counted(all, "queue_length", "Jobs whose turn is to come"),
            accepted: counted(all, "jobs_accepted", "Jobs that were accepted"),
            bytes: measured(all, "body", "Bodies of accepted jobs", Unit::Bytes),
            refused: counted(
                all,
                "requests_refused",
                "Requests with a status of 400 or more",
            ),
            ended: counted(all, "jobs_ended", "Jobs by the state in which they ended"),
            checks: counted(all, "checks", "Reports by verdict and device"),
            entries: counted(all, "entries", "Entries of gradients that were compared"),
            seconds: {
                // From a millisecond to a quarter of an hour.
                let seconds = Histogram::new((0..21).map(|power| 1e-3 * 2_f64.powi(power)));
                let help = "From the beginning of a check to its report";
                all.register_with_unit("check", help, Unit::Seconds, seconds.clone());
                seconds
            },
            compute_seconds: measured(all, "compute", "Spent on computing", Unit::Seconds),
            lost: counted(
                all,
                "devices_lost",
                "Times that the device had to be opened anew",
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

    /// `took` from its beginning to its report, of which it `spent` some itself.
    pub(super) fn checked(&self, report: &Report, took: Duration, spent: Duration) {
        let labels = Checked {
            verdict: report.verdict().to_string(),
            device: report.device.name.clone(),
        };
        self.checks.get_or_create(&labels).inc();
        self.entries
            .inc_by(report.checks.iter().map(|check| check.tally.entries).sum());
        self.seconds.observe(took.as_secs_f64());
        self.compute_seconds.inc_by(spent.as_secs_f64());
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
