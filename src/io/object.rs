//! Objects in S3, Google Cloud Storage or Azure Blob Storage, or behind HTTP, read by ranges.
//!
//! An object looks like a mapped file: it is a temporary file of the object's length, without a
//! name, that is empty until ranges of the object are [fetched](Storage::fetch) into it. Readers
//! therefore need not know of stores. They fetch what they are about to read, and only this takes
//! room on the disk.
//!
//! Each object has its own connection, and a runtime on the thread that fetches: no thread of it
//! outlives a call, so a process may be forked between two calls.
//!
//! Credentials are those of the environment variables that the stores' own tools read. They are
//! sent as headers, so no address in a message holds any.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder,
    http::HttpBuilder, path::Path as Key,
};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::bytes::{Budget, Mapping};
use crate::{
    error::{Error, Result},
    report::Ranges,
    tensor::{Bytes, Storage},
};

/// Bytes of one request. Stores advise 8 to 16 MiB.
const CHUNK: u64 = 8 << 20;
/// Requests under way at a time, which bounds the memory that they take.
const REQUESTS: usize = 8;
/// Times that a request is repeated, and the time after which it is not.
const RETRIES: usize = 3;
const RETRY_TIME: Duration = Duration::from_secs(20);

/// An object in a store.
struct Object {
    mapping: Mapping,
    fetched: RwLock<Ranges>,
    remote: Mutex<Remote>,
}

/// The object itself, and the file that takes its bytes.
struct Remote {
    store: Store,
    object: ObjectMeta,
    file: File,
}

/// The store of an object.
struct Store {
    /// The address, for messages.
    path: PathBuf,
    key: Key,
    store: Box<dyn ObjectStore>,
    runtime: Runtime,
}

/// Opens an object. None of its bytes are fetched.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn open(path: &Path, budget: Budget) -> Result<Bytes> {
    let store = Store::connect(path)?;
    let object = store.runtime.block_on(store.store.head(&store.key));
    let object = object.map_err(|error| store.failed(error))?;
    if object.size == 0 {
        // An empty range cannot be mapped.
        return Ok(Arc::new(Vec::new()));
    }
    let failed = |error| Error::io("make room on the disk for", path)(error);
    let file = tempfile::tempfile().map_err(failed)?;
    file.set_len(object.size).map_err(failed)?;
    Ok(Arc::new(Object {
        mapping: Mapping::new(&file, budget).map_err(failed)?,
        fetched: RwLock::default(),
        remote: Mutex::new(Remote {
            store,
            object,
            file,
        }),
    }))
}

/// Returns the objects of these types below an address that ends in `/`, or those that a pattern
/// matches, sorted.
///
/// # Errors
/// [`Error::Io`], or [`Error::Usage`] for a pattern that is none, or for HTTP, which cannot list.
#[cfg(feature = "cli")]
pub(super) fn list(path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let text = path.to_string_lossy();
    if text.starts_with("http") {
        return Err(Error::Usage(format!(
            "{text}: a web server does not list its files; name each, or their index"
        )));
    }
    let is_folder = text.ends_with('/');
    let fixed = text.find(['*', '[']).unwrap_or(text.len());
    let folder = &text[..=text[..fixed].rfind('/').unwrap_or_default()];
    let store = Store::connect(Path::new(folder))?;
    // The scheme, and the bucket with its slash.
    let root: usize = text.split_inclusive('/').take(3).map(str::len).sum();
    let (root, pattern) = text.split_at(root);
    let pattern = glob::Pattern::new(pattern);
    let pattern = pattern.map_err(|error| Error::Usage(format!("{text}: {}", error.msg)))?;
    let options = glob::MatchOptions {
        require_literal_separator: true,
        ..glob::MatchOptions::new()
    };
    let found = store.store.list(Some(&store.key)).try_collect::<Vec<_>>();
    let found = store.runtime.block_on(found);
    let found = found.map_err(|error| store.failed(error))?;
    let keys = found.iter().map(|object| object.location.as_ref());
    let is_input = |key: &str| extensions.iter().any(|it| key.ends_with(&format!(".{it}")));
    let is_wanted = |key: &&str| (is_folder && is_input(key)) || pattern.matches_with(key, options);
    let mut paths: Vec<PathBuf> = keys
        .filter(is_wanted)
        .map(|key| format!("{root}{}", key.replace('%', "%25")).into())
        .collect();
    paths.sort();
    Ok(paths)
}

impl Store {
    fn connect(path: &Path) -> Result<Self> {
        let failed = |reason: &dyn std::fmt::Display| {
            Error::io("read", path)(std::io::Error::other(scrubbed(&reason.to_string())))
        };
        let text = path.to_string_lossy();
        let url = Url::parse(&text).map_err(|error| failed(&error))?;
        let key = Key::from_url_path(url.path()).map_err(|error| failed(&error))?;
        // Fails if there is one already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: RETRY_TIME,
            ..RetryConfig::default()
        };
        let store = match url.scheme() {
            "s3" => AmazonS3Builder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build()
                .map(boxed),
            "gs" => GoogleCloudStorageBuilder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build()
                .map(boxed),
            "az" => MicrosoftAzureBuilder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build()
                .map(boxed),
            _ => HttpBuilder::new()
                .with_url(&url[..url::Position::BeforePath])
                .with_client_options(ClientOptions::new().with_allow_http(true))
                .with_retry(retry)
                .build()
                .map(boxed),
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            path: path.to_owned(),
            key,
            store: store.map_err(|error| failed(&error))?,
            runtime: runtime.map_err(Error::io("read", path))?,
        })
    }

    /// Describes a failure.
    fn failed(&self, error: object_store::Error) -> Error {
        use object_store::Error as Failure;
        let reason = match &error {
            Failure::NotFound { .. } => "there is no such object".to_owned(),
            Failure::Unauthenticated { .. } | Failure::PermissionDenied { .. } => {
                "access was denied; credentials are taken from environment variables, \
                 such as AWS_ACCESS_KEY_ID"
                    .to_owned()
            }
            Failure::Precondition { .. } => "the object changed while it was read".to_owned(),
            Failure::NotSupported { .. } | Failure::NotImplemented { .. } => {
                "its server cannot send ranges of a file".to_owned()
            }
            error => scrubbed(&error.to_string()),
        };
        Error::io("read", &self.path)(std::io::Error::other(reason))
    }
}

impl Remote {
    /// Copies a range of the object into the file, in requests of [`CHUNK`] bytes.
    fn copy(&mut self, place: &Range<usize>) -> Result<()> {
        let Self {
            store,
            object,
            file,
        } = self;
        let (start, end) = (place.start as u64, place.end as u64);
        let chunks = (start..end).step_by(CHUNK as usize);
        let chunks = chunks.map(|at| at..end.min(at + CHUNK));
        let request = |range: Range<u64>| {
            let options = GetOptions {
                range: Some(GetRange::Bounded(range.clone())),
                if_match: object.e_tag.clone(),
                ..GetOptions::default()
            };
            async {
                let answer = store.store.get_opts(&store.key, options).await?;
                Ok((range, answer.bytes().await?))
            }
        };
        let copied = async {
            let mut answers = stream::iter(chunks).map(request).buffered(REQUESTS);
            while let Some((range, bytes)) = answers
                .try_next()
                .await
                .map_err(|error| store.failed(error))?
            {
                if bytes.len() as u64 != range.end - range.start {
                    let reason = std::io::Error::other("the store sent another range");
                    return Err(Error::io("read", &store.path)(reason));
                }
                file.seek(SeekFrom::Start(range.start))
                    .and_then(|_| file.write_all(&bytes))
                    .map_err(Error::io("make room on the disk for", &store.path))?;
            }
            Ok(())
        };
        store.runtime.block_on(copied)
    }
}

impl Storage for Object {
    fn bytes(&self) -> &[u8] {
        self.mapping.bytes()
    }

    fn range(&self, place: Range<usize>) -> &[u8] {
        let fetched = self.fetched.read().unwrap_or_else(PoisonError::into_inner);
        let holds = |range: &Range<usize>| range.start <= place.start && place.end <= range.end;
        assert!(
            place.is_empty() || fetched.ranges().iter().any(holds),
            "bytes {place:?} of an object are read before they are fetched"
        );
        &self.mapping.bytes()[place]
    }

    fn fetch(&self, place: Range<usize>) -> Result<()> {
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        let fetched = self.fetched.read().unwrap_or_else(PoisonError::into_inner);
        let missing = missing(&fetched, &place);
        drop(fetched);
        for range in missing.ranges() {
            remote.copy(range)?;
            let mut fetched = self.fetched.write().unwrap_or_else(PoisonError::into_inner);
            fetched.add(range.clone());
        }
        Ok(())
    }

    fn was_read(&self, bytes: usize) {
        self.mapping.was_read(bytes);
    }
}

fn boxed(store: impl ObjectStore) -> Box<dyn ObjectStore> {
    Box::new(store)
}

/// Returns the part of a range that is not in the set.
fn missing(fetched: &Ranges, place: &Range<usize>) -> Ranges {
    Ranges::from(place.clone()).intersection(&fetched.complement(place.end))
}

/// Returns a text without the queries of the addresses in it, which may hold signatures.
fn scrubbed(text: &str) -> String {
    let mut scrubbed = String::new();
    let mut is_query = false;
    for character in text.chars() {
        is_query = match character {
            '?' => true,
            _ if character.is_whitespace() || "\"')>".contains(character) => false,
            _ => is_query,
        };
        if !is_query {
            scrubbed.push(character);
        }
    }
    scrubbed
}
