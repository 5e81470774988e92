//! Options and limits of a service.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Options of a service, as the flags of `gradprobe serve` give them.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Folder for jobs, reports and bodies.
    pub data: PathBuf,
    /// Name of the device, as for [`crate::device::Device::select`].
    pub device: String,
    /// Bytes for the arrays of a check, apart from the weights: the part of a body that is read,
    /// and computed on a GPU, at a time.
    pub memory: u64,
    /// Token that clients must present. `None` serves every client.
    pub token: Option<String>,
    /// True if clients on other machines need no token.
    pub insecure: bool,
    /// Limits on clients and checks.
    pub limits: Limits,
    /// Age at which an ended job is deleted.
    pub keep_for: Duration,
    /// Bytes that the bodies, reports and pages of all jobs may take. Beyond it the oldest ended
    /// jobs are deleted.
    pub keep_bytes: u64,
    /// Time that the running check has left at a shutdown.
    pub grace: Duration,
}

/// Limits on clients and checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a body.
    pub body: u64,
    /// Queued jobs.
    pub queue: usize,
    /// Bodies received at a time.
    pub uploads: usize,
    /// Open connections.
    pub connections: usize,
    /// Time without a byte of a request, or without a byte of the answer read, after which a
    /// connection is closed.
    pub idle: Duration,
    /// Time that a check may take.
    pub check: Duration,
    /// Bytes that all running checks may take together, by [`crate::check::memory`].
    pub memory: u64,
}

/// The defaults are chosen: no client of a small team reaches them, and they bound a runaway
/// script.
impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 30,
            queue: 10_000,
            uploads: 64,
            connections: 1024,
            idle: Duration::from_secs(10),
            check: Duration::from_secs(3600),
            memory: 8 << 30,
        }
    }
}
