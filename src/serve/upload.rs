//! Receiving a body: into memory if it is short, into a file of the spool folder otherwise. At most
//! 1 MiB of a body is in memory at a time.

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
use bytesize::ByteSize;
use futures::StreamExt;
use tempfile::NamedTempFile;

use super::{
    refusal::Refusal,
    service::{Service, blocking},
    store::ReceivedBody,
};
use crate::{
    error::Error,
    io::{self, Format},
};

/// Most bytes of a body that is quick to inspect. Chosen.
const QUICK: u64 = 1 << 20;
/// Bytes that are buffered before they are written. Chosen.
const BUFFER: usize = 1 << 20;
/// Most bytes of a body that is kept in the database instead of a file. SQLite reads and writes
/// rows up to about this size faster than files (sqlite.org/fasterthanfs.html).
const MAX_INLINE: usize = 100 << 10;
/// Bytes per second that a client must reach on average. Chosen.
const MIN_RATE: f64 = 16384.0;
/// Time after which that rate is required. Chosen.
const RATE_AFTER: Duration = Duration::from_secs(10);
/// Time for which the rest of a refused body is read. Chosen.
const DRAIN: Duration = Duration::from_secs(1);
/// Accepted content types.
pub(super) const TYPES: [&str; 6] = [
    "application/octet-stream",
    "application/x-safetensors",
    "application/vnd.safetensors",
    "application/x-npz",
    "application/zip",
    "application/x-zip-compressed",
];

/// Content types of the forms that `curl -F` and `curl -d` send.
const FORMS: [&str; 2] = ["multipart/form-data", "application/x-www-form-urlencoded"];

/// A received body. Dropping it deletes it.
pub(super) struct Upload {
    pub(super) body: ReceivedBody,
    pub(super) bytes: u64,
}

impl Upload {
    /// Returns true if the body is quick to inspect: it is short and not packed.
    pub(super) fn is_quick(&self) -> bool {
        self.bytes <= QUICK && !io::is_packed(&self.body.source())
    }
}

/// A body that is being received.
pub(super) struct Incoming {
    stream: BodyDataStream,
    /// False if the client sends its body only once it is read (`Expect: 100-continue`), and
    /// nothing has been read yet.
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

    /// Reads the rest of a refused body for a while. A client that is still writing when the
    /// connection is closed may never read the refusal.
    pub(super) async fn drain(mut self) {
        if self.is_sent {
            let rest = async { while let Some(Ok(_)) = self.next().await {} };
            // The refusal is sent even if the body does not end.
            let _ = tokio::time::timeout(DRAIN, rest).await;
        }
    }
}

/// Checks the head of a request before its body is received.
///
/// # Errors
/// 415 for another content type or a content encoding, 413 for a body that is too long.
pub(super) fn check_head(service: &Service, headers: &HeaderMap) -> Result<(), Refusal> {
    let unsupported = |detail| Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        let kind = kind.to_str().unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        let essence = essence.to_ascii_lowercase();
        if FORMS.contains(&essence.as_str()) {
            return unsupported(format!(
                "Content-Type is {essence}, a form; send the file as it is, with \
                 curl -X POST -T FILE, or with curl --data-binary @FILE \
                 -H 'Content-Type: application/octet-stream'"
            ));
        }
        if !TYPES.contains(&essence.as_str()) {
            return unsupported(format!(
                "Content-Type is {essence}; send a safetensors or npz file as \
                 application/octet-stream"
            ));
        }
    }
    if let Some(coding) = headers.get(header::CONTENT_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        let coding = String::from_utf8_lossy(coding.as_bytes());
        return unsupported(format!(
            "Content-Encoding is {coding}; send the file without a content encoding"
        ));
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > service.options.limits.body => Err(too_long(service)),
        _ => Ok(()),
    }
}

/// Receives a body. Without a `format`, detects the format from the first bytes.
///
/// # Errors
/// 400 for an empty or interrupted body, 408 for one that arrives too slowly, 413 for one that is
/// too long, 507 if the disk is full.
pub(super) async fn receive(
    service: &Arc<Service>,
    body: &mut Incoming,
    format: Option<Format>,
) -> Result<Upload, Refusal> {
    let mut file: Option<NamedTempFile> = None;
    let (mut buffer, mut bytes) = (Vec::new(), 0_u64);
    let started = Instant::now();
    loop {
        let next = tokio::time::timeout(service.options.limits.idle, body.next());
        let Some(chunk) = next.await.map_err(|_| too_slow())? else {
            break;
        };
        let chunk = chunk
            .map_err(|error| Refusal::bad_request(format!("the body was interrupted: {error}")))?;
        bytes += chunk.len() as u64;
        if bytes > service.options.limits.body {
            return Err(too_long(service));
        }
        let elapsed = started.elapsed();
        if elapsed > RATE_AFTER && (bytes as f64) < MIN_RATE * elapsed.as_secs_f64() {
            return Err(too_slow());
        }
        buffer.extend_from_slice(&chunk);
        if buffer.len() >= BUFFER {
            let (written, emptied) = write(service, file, buffer, format).await?;
            (file, buffer) = (Some(written), emptied);
        }
    }
    if bytes == 0 {
        return Err(Refusal::bad_request(
            "the body is empty; send a safetensors or npz file",
        ));
    }
    let body = if file.is_none() && buffer.len() <= MAX_INLINE {
        ReceivedBody::Inline(extension(format, &buffer), Arc::new(buffer))
    } else {
        ReceivedBody::Spooled(write(service, file, buffer, format).await?.0)
    };
    Ok(Upload { body, bytes })
}

/// Appends the buffer to the file, or to a new file if there is none. Returns the file and the
/// emptied buffer.
async fn write(
    service: &Arc<Service>,
    file: Option<NamedTempFile>,
    mut buffer: Vec<u8>,
    format: Option<Format>,
) -> Result<(NamedTempFile, Vec<u8>), Refusal> {
    let service = service.clone();
    let write = move || {
        let mut file = match file {
            Some(file) => file,
            None => service.store.spool.create(extension(format, &buffer))?,
        };
        // Writes to the plain file: an error of the temporary file would show its path to the
        // client.
        let written = file.as_file_mut().write_all(&buffer).and_then(|()| {
            if buffer.len() < BUFFER {
                Ok(())
            } else {
                file.as_file().sync_data()
            }
        });
        written.map_err(Error::io("write", "the spool folder"))?;
        buffer.clear();
        Ok((file, buffer))
    };
    blocking(write).await
}

/// Returns the format for the extension of a file name.
pub(super) fn format_of_name(name: &str) -> Option<Format> {
    // The files of an index are not here.
    io::format(Path::new(name))
        .ok()
        .filter(|it| !matches!(it, Format::Index))
}

/// Returns the extension of a format. Without a format, detects it from the first bytes of the
/// file.
fn extension(format: Option<Format>, head: &[u8]) -> &'static str {
    match format {
        Some(Format::Npz) => "npz",
        Some(Format::Safetensors | Format::Index) => "safetensors",
        None if head.starts_with(b"PK") => "npz",
        None => "safetensors",
    }
}

fn too_long(service: &Service) -> Refusal {
    let limit = ByteSize::b(service.options.limits.body);
    let detail = format!("the body is longer than {limit}, the limit of this service");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn too_slow() -> Refusal {
    let detail = "the body arrived too slowly";
    Refusal::new(StatusCode::REQUEST_TIMEOUT, detail)
}
