//! A job as a stream of server-sent events. Each is named by the state and carries the job.

use std::{convert::Infallible, time::Duration};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;

use crate::serve::job::JobView;

/// Pause between two comments in a silent stream, which keep proxies from closing it. Chosen.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Returns an event for now and one for each change, until the job ends or the service shuts down.
pub(super) fn follow(
    mut job: watch::Receiver<JobView>,
    shutdown: watch::Receiver<bool>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send> {
    job.mark_changed();
    let views = stream::unfold((job, shutdown), |(mut job, mut shutdown)| async move {
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|shutdown| *shutdown) => return None,
            // Fails once the sender is gone: after the event of the end.
            changed = job.changed() => changed.ok()?,
        }
        let view = job.borrow_and_update().clone();
        Some((view, (job, shutdown)))
    });
    respond(views)
}

/// Returns the only event of a job that has ended.
pub(super) fn single(job: JobView) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send> {
    respond(stream::iter([job]))
}

fn respond(
    views: impl Stream<Item = JobView> + Send + 'static,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send> {
    let events = views.map(|view| {
        let event = Event::default().event(view.state.name());
        Ok(event.json_data(&view).unwrap_or_default())
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
