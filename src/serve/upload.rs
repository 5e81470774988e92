//! A body, from the wire to the spool folder, or if it is short to a row of the database: not longer than it may be, and never more of it in
//! memory than a mebibyte.

use std::{
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, BodyDataStream, Bytes},
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt;
use tempfile::NamedTempFile;

use super::{Service, blocking, refusal::Refusal, store::Received};
use crate::{
    error::Error,
    io::{self, Format},
};

/// Bytes of a body that soon is looked at.
const SOON_LOOKED_AT: u64 = 1 << 20;
/// What is held of a body before it is written.
const HELD: usize = 1 << 20;
/// A body that is no longer needs no file of its own. A row of the database is the faster up to about so many bytes, says SQLite
/// (sqlite.org/fasterthanfs.html).
const OF_A_ROW: usize = 100 << 10;
/// Bytes a second that a sender must reach on average.
const LEAST_RATE: f64 = 16384.0;
/// After it that is asked of it.
const START: Duration = Duration::from_secs(10);
/// What is refused is taken in for so long.
const DRAINING: Duration = Duration::from_secs(1);
/// Types of content that are taken.
pub(super) const TYPES: [&str; 6] = [
    "application/octet-stream",
    "application/x-safetensors",
    "application/vnd.safetensors",
    "application/x-npz",
    "application/zip",
    "application/x-zip-compressed",
];

/// A body that has been received. Dropped, it is gone.
pub(super) struct Upload {
    pub(super) body: Received,
    pub(super) bytes: u64,
}

/// A body on its way.
pub(super) struct Incoming {
    stream: BodyDataStream,
    /// Whether its sender sends it: who asks first (`Expect: 100-continue`) does so only once it is waited for.
    is_sent: bool,
}

impl Incoming {
    pub(super) fn new(headers: &HeaderMap, body: Body) -> Self {
        Self {
            stream: body.into_data_stream(),
            is_sent: !headers.contains_key(header::EXPECT),
        }
    }

    async fn next(&mut self) -> Option<Result<Bytes, axum::Error>> {
        self.is_sent = true;
        self.stream.next().await
    }

    /// Takes in what is left of it, for a while, where it is refused: a sender that is still writing when the connection is closed may never read why.
    pub(super) async fn drain(mut self) {
        if self.is_sent {
            let rest = async { while let Some(Ok(_)) = self.next().await {} };
            // Whether it comes to its end or not, the answer is sent.
            let _ = tokio::time::timeout(DRAINING, rest).await;
        }
    }
}

/// What can be refused before a body is received.
pub(super) fn admit(service: &Service, headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.map(|kind| kind.to_str().unwrap_or_default());
    if let Some(kind) = kind {
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !TYPES.contains(&essence.to_ascii_lowercase().as_str()) {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!(
                    "Content-Type is {essence}, but a safetensors or npz file is expected, as application/octet-stream"
                ),
            ));
        }
    }
    let coding = headers.get(header::CONTENT_ENCODING);
    if let Some(coding) =
        coding.filter(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let coding = String::from_utf8_lossy(coding.as_bytes());
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("Content-Encoding is {coding}, but a body is taken only as it is"),
        ));
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > service.options.limits.body => Err(too_long(service)),
        _ => Ok(()),
    }
}

fn too_long(service: &Service) -> Refusal {
    let most = bytesize::ByteSize::b(service.options.limits.body);
    let detail =
        format!("the body is longer than {most}, which is the most that this service takes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

impl Upload {
    /// Whether it waits for no longer one to be looked at: it is short, and what it holds is not packed, of which no more is read than the
    /// short list of an archive's members.
    pub(super) fn is_soon_looked_at(&self) -> bool {
        self.bytes <= SOON_LOOKED_AT && !io::is_packed(&self.body.source())
    }
}

/// Receives a body.
///
/// Without a `format` it is told by its first bytes.
pub(super) async fn receive(
    service: &Arc<Service>,
    body: &mut Incoming,
    format: Option<Format>,
) -> Result<Upload, Refusal> {
    let mut file: Option<NamedTempFile> = None;
    let (mut held, mut bytes) = (Vec::new(), 0_u64);
    let started = Instant::now();
    loop {
        let next = tokio::time::timeout(service.options.limits.idle, body.next());
        let Ok(next) = next.await else {
            return Err(too_slow());
        };
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(|error| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                format!("the body broke off: {error}"),
            )
        })?;
        bytes += chunk.len() as u64;
        if bytes > service.options.limits.body {
            return Err(too_long(service));
        }
        let elapsed = started.elapsed();
        if elapsed > START && (bytes as f64) < LEAST_RATE * elapsed.as_secs_f64() {
            return Err(too_slow());
        }
        held.extend_from_slice(&chunk);
        if held.len() >= HELD {
            let (begun, emptied) = write(service, file, held, format).await?;
            (file, held) = (Some(begun), emptied);
        }
    }
    if bytes == 0 {
        let detail = "there is no body: a safetensors or npz file is expected";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, detail));
    }
    let body = match file {
        None if held.len() <= OF_A_ROW => Received::Short(extension(format, &held), Arc::new(held)),
        file => Received::Long(write(service, file, held, format).await?.0),
    };
    Ok(Upload { body, bytes })
}

/// Writes what is held, the first of it into a new file, where it keeps no other request waiting; hands back the empty buffer.
async fn write(
    service: &Arc<Service>,
    file: Option<NamedTempFile>,
    mut held: Vec<u8>,
    format: Option<Format>,
) -> Result<(NamedTempFile, Vec<u8>), Refusal> {
    let service = service.clone();
    let write = move || {
        let mut file = match file {
            Some(file) => file,
            None => service.store.receive(extension(format, &held))?,
        };
        // The plain file: the wrapper's own write would tell the client the file's path.
        let written = file.as_file_mut().write_all(&held).and_then(|()| {
            if held.len() < HELD {
                Ok(())
            } else {
                file.as_file().sync_data()
            }
        });
        written.map_err(Error::io("write", "the spool folder"))?;
        held.clear();
        Ok((file, held))
    };
    blocking(write).await
}

/// What the name of a file says; nothing where it is no such name.
pub(super) fn format_of_name(name: &str) -> Option<Format> {
    io::format(Path::new(name)).ok()
}

/// Of a file of that format, or else by its first bytes.
fn extension(format: Option<Format>, head: &[u8]) -> &'static str {
    match format {
        Some(Format::Npz) => "npz",
        Some(Format::Safetensors) => "safetensors",
        None if head.starts_with(b"PK") => "npz",
        None => "safetensors",
    }
}

fn too_slow() -> Refusal {
    let detail = "the body came too slowly, and was given up";
    Refusal::new(StatusCode::REQUEST_TIMEOUT, detail)
}
