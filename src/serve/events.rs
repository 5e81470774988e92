//! A job as a stream of server-sent events: each names the state, and carries the job.

use std::{convert::Infallible, time::Duration};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use super::job::Job;

/// A word now and then keeps proxies from closing a stream.
const ALIVE: Duration = Duration::from_secs(15);

/// Events up to that of a job's end, or of the service's.
pub(super) fn stream_of(
    job: watch::Receiver<Job>,
    ending: watch::Receiver<bool>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send> {
    let jobs = WatchStream::new(job);
    let ended = WatchStream::new(ending).filter(|ending| std::future::ready(*ending));
    // Nothing follows a final state: then nobody is left to tell it.
    let events = jobs.take_until(Box::pin(async move {
        let mut ended = ended;
        ended.next().await
    }));
    respond(events)
}

/// The only event of a job that has ended.
pub(super) fn single(job: Job) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send> {
    respond(stream::once(std::future::ready(job)))
}

fn respond(
    jobs: impl Stream<Item = Job> + Send + 'static,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send> {
    let events = jobs.map(|job| {
        let event = Event::default().event(job.state.name());
        Ok(event.json_data(&job).unwrap_or_default())
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE))
}
