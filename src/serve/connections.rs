//! Connections from the socket to the handlers, and the shutdown.
//!
//! hyper is used directly: `axum::serve` has no time limits for a request's head, or for an answer
//! that the client does not read.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_io_timeout::TimeoutStream;

use super::{api, service::Service, worker};
use crate::{
    error::{Error, Result},
    report::DeviceInfo,
};

/// Bytes of a request's head, at most. Chosen: many times what a browser sends.
const MAX_HEAD: usize = 32 << 10;
/// Headers of a request, at most. Chosen: several times what a browser sends.
const MAX_HEADERS: usize = 64;
/// Pause between two searches for expired jobs. Chosen.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);
/// Time for the last answers, after the worker has stopped. Chosen.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Pause after a connection could not be accepted, for example with too many open files. Chosen.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the process is asked to end.
///
/// # Errors
/// [`Error::Io`] if the address cannot be used, and those of opening the device.
pub(super) async fn run(
    service: Arc<Service>,
    started: impl FnOnce(SocketAddr, &DeviceInfo),
) -> Result<()> {
    let address = service.options.listen;
    let failed = |source| Error::io("listen on", address.to_string())(source);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let worker = worker::start(service.clone())?;
    if let Some(device) = service.device.get() {
        started(listener.local_addr().map_err(failed)?, device);
    }

    let expiry = tokio::spawn({
        let service = service.clone();
        async move {
            loop {
                let service = service.clone();
                // `delete_expired` logs its own errors.
                let _ = tokio::task::spawn_blocking(move || service.delete_expired()).await;
                tokio::time::sleep(EXPIRY_INTERVAL).await;
            }
        }
    });
    let connections = GracefulShutdown::new();
    accept(&service, &listener, &connections, signalled()).await;
    expiry.abort();

    if service.store.journal.is_idle() {
        tracing::warn!("shutting down");
    } else {
        tracing::warn!("shutting down; press Ctrl-C again to stop the running check");
    }
    service.begin_shutdown();
    let mut computing = tokio::task::spawn_blocking(move || worker.join());
    let ended_in_time = async {
        tokio::select! {
            ended = tokio::time::timeout(service.options.grace, &mut computing) => ended.is_ok(),
            () = signalled() => false,
        }
    };
    // New connections are still answered: with 503, or with a report.
    if !accept(&service, &listener, &connections, ended_in_time).await {
        tracing::warn!("stopping the running check; the next start of the service repeats it");
        service.abort();
        let _ = computing.await;
    }
    drop(listener);
    let _ = tokio::time::timeout(LAST_ANSWERS, connections.shutdown()).await;
    Ok(())
}

/// Serves connections until a future is ready, and returns its output.
async fn accept<T>(
    service: &Arc<Service>,
    listener: &TcpListener,
    connections: &GracefulShutdown,
    until: impl Future<Output = T>,
) -> T {
    let idle = service.options.limits.idle;
    let router = api::router(service.clone());
    let permits = Arc::new(Semaphore::new(service.options.limits.connections));
    let mut until = std::pin::pin!(until);
    loop {
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            end = &mut until => return end,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            end = &mut until => return end,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A report is written in one piece: waiting to fill a packet would only delay it.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(idle));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .serve_connection(
                TokioIo::new(Box::pin(stream)),
                TowerToHyperService::new(router.clone()),
            );
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                tracing::debug!("a connection failed: {error}");
            }
        });
    }
}

/// Waits for Ctrl-C, or for the signal of a supervisor.
async fn signalled() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
