//! The state of the service: health, metrics and devices.

use std::{iter, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;

use crate::{
    device, gpu,
    report::DeviceInfo,
    serve::{
        refusal::Refusal,
        service::{Service, blocking},
    },
};

/// Answers that the process is alive.
pub(super) async fn healthy() -> &'static str {
    "ok\n"
}

/// Answers with 200 while the service accepts jobs.
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Result<&'static str, Refusal> {
    if service.is_shutting_down() {
        return Err(Refusal::shutting_down());
    }
    if blocking(move || Ok(service.store.is_ready())).await? {
        Ok("ready\n")
    } else {
        Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the job database cannot be read",
        ))
    }
}

/// Answers with the metrics, in the text format of OpenMetrics.
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = service.metrics.render(service.queue.waiting());
    ([(header::CONTENT_TYPE, kind)], text)
}

/// Devices of the machine.
#[derive(Serialize)]
pub(super) struct Devices {
    /// The device that computes the checks.
    used: Option<DeviceInfo>,
    /// All devices: the CPU, and the adapters that drivers offer.
    present: Vec<DeviceInfo>,
}

/// Answers with the devices of the machine.
pub(super) async fn devices(State(service): State<Arc<Service>>) -> Result<Json<Devices>, Refusal> {
    let used = service.device.get().cloned();
    let present = blocking(|| {
        let adapters = gpu::adapters();
        let gpus = adapters.iter().map(|adapter| adapter.info().clone());
        Ok(iter::once(device::cpu_info()).chain(gpus).collect())
    });
    Ok(Json(Devices {
        used,
        present: present.await?,
    }))
}
