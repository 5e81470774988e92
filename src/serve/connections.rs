//! From a socket to a handler, and the service's end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_io_timeout::TimeoutStream;

use super::{Service, api, worker};
use crate::{
    error::{Error, Result},
    report::DeviceInfo,
};

/// Bytes of a request's head.
const HEAD: usize = 32 << 10;
/// Lines of it.
const HEADERS: usize = 64;
/// How often old jobs are looked for.
const FORGETTING: Duration = Duration::from_secs(60);
/// For answers under way, once nothing is computed any more.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Serves until the process is asked to end.
///
/// # Errors
/// [`Error::Io`] if the address cannot be had, and those of the device.
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

    let forgetting = tokio::spawn({
        let service = service.clone();
        async move {
            loop {
                let service = service.clone();
                // What it could not do it has said.
                let _ = tokio::task::spawn_blocking(move || service.forget()).await;
                tokio::time::sleep(FORGETTING).await;
            }
        }
    });
    let connections = GracefulShutdown::new();
    accept(&service, &listener, &connections, asked_to_end()).await;
    forgetting.abort();

    let waits = if service.store.under_way.is_idle() {
        ""
    } else {
        "; asked again, it does not wait for the check that runs"
    };
    tracing::warn!("asked to end: no more jobs are taken{waits}");
    service.end();
    let mut computing = tokio::task::spawn_blocking(move || worker.join());
    let in_time = async {
        tokio::select! {
            in_time = tokio::time::timeout(service.options.grace, &mut computing) => in_time.is_ok(),
            () = asked_to_end() => false,
        }
    };
    // Who comes now is told so, and may still fetch a report.
    if !accept(&service, &listener, &connections, in_time).await {
        tracing::warn!("the check that runs is broken off, and done again by the next service");
        service.abort();
        let _ = computing.await;
    }
    drop(listener);
    let _ = tokio::time::timeout(LAST_ANSWERS, connections.shutdown()).await;
    Ok(())
}

/// Answers whoever comes, until something has happened.
async fn accept<T>(
    service: &Arc<Service>,
    listener: &TcpListener,
    connections: &GracefulShutdown,
    until: impl Future<Output = T>,
) -> T {
    let router = api::router(service.clone());
    let places = Arc::new(Semaphore::new(service.options.limits.connections));
    let mut until = std::pin::pin!(until);
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            end = &mut until => return end,
        };
        let arrived = tokio::select! {
            arrived = listener.accept() => arrived,
            end = &mut until => return end,
        };
        let stream = match arrived {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, say: others will end.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // A report is sent in one piece.
        let _ = stream.set_nodelay(true);
        // Who takes nothing of an answer holds no place for ever.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(service.options.limits.idle));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(service.options.limits.idle)
            .max_headers(HEADERS)
            .max_buf_size(HEAD)
            .serve_connection(
                TokioIo::new(Box::pin(stream)),
                TowerToHyperService::new(router.clone()),
            );
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            // Who has gone away is told nothing.
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }
}

/// Ctrl-C, or what a supervisor sends.
async fn asked_to_end() {
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
