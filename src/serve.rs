//! The compute service: checks over HTTP, computed on one device. An accepted check is never lost.
//!
//! `upload` receives a body. `api` inspects it and `store` keeps it as a job, in SQLite and a spool
//! folder, before the client gets an answer. One thread, `worker`, computes. It takes jobs from
//! `queue`, which is refilled from the store when the service starts. A request that cannot be
//! served gets a `refusal`.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    error::{Error, Result},
    report::DeviceInfo,
};

mod api;
mod auth;
mod connections;
mod job;
mod metrics;
mod options;
mod query;
mod queue;
mod refusal;
mod service;
mod store;
mod upload;
mod worker;

pub(crate) use options::{Limits, Options};
use service::Service;

/// Runs a service until the process is asked to end. `started` receives the address on which the
/// service listens and the device on which it computes.
///
/// # Errors
/// [`Error::Usage`] for an address that other machines can reach without a token, [`Error::Io`] if
/// the folder or the address cannot be used, and those of [`crate::device::Device::select`].
pub(crate) fn serve(options: Options, started: impl FnOnce(SocketAddr, &DeviceInfo)) -> Result<()> {
    if !options.listen.ip().is_loopback() && options.token.is_none() && !options.insecure {
        return Err(Error::Usage(format!(
            "other machines can reach {}: give --token-file, or --insecure to serve every client",
            options.listen
        )));
    }
    let service = Arc::new(Service::new(options)?);
    service.resume()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start", "the runtime"))?;
    runtime.block_on(connections::run(service, started))
}
