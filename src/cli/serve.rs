//! `gradprobe serve`: the flags of the service.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;
use clap::Args;

use super::{
    SUCCESS,
    stdout::print,
    token::token,
    values::{bytes, count, memory},
};
use crate::{
    error::Result,
    serve::{self, Limits, Options},
};

#[derive(Args)]
pub(super) struct ServeArguments {
    /// Address to listen on; port 0 picks a free one
    #[arg(
        long,
        default_value = "127.0.0.1:8417",
        value_name = "ADDRESS:PORT",
        value_parser = address
    )]
    listen: SocketAddr,
    /// Folder for jobs, reports and files
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Device that computes, as for check
    #[arg(long, default_value = "auto", value_name = "D")]
    device: String,
    /// Memory for arrays, apart from the weights, as for check
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = memory)]
    memory: ByteSize,
    /// Require the token in the first line of this file from every client
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Serve clients on other machines without a token
    #[arg(long)]
    insecure: bool,

    /// Largest file
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = some_bytes)]
    max_body: ByteSize,
    /// Jobs that may wait in the queue
    #[arg(
        long,
        default_value_t = Limits::default().queue,
        value_name = "N",
        value_parser = count
    )]
    max_queue: usize,
    /// Files received at a time
    #[arg(
        long,
        default_value_t = Limits::default().uploads,
        value_name = "N",
        value_parser = count
    )]
    max_uploads: usize,
    /// Time limit of one check
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = some_time)]
    max_time: Duration,
    /// Memory for running checks besides their tensors, most of it for tables of the weights; a
    /// check that needs more is refused
    #[arg(long, default_value = "8GiB", value_name = "SIZE", value_parser = memory)]
    max_memory: ByteSize,
    /// Close a connection if the client neither sends nor reads for this time
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = some_time)]
    max_silence: Duration,
    /// Delete ended jobs after this time; the service checks once a minute
    #[arg(long, default_value = "7d", value_name = "TIME", value_parser = time)]
    keep: Duration,
    /// Disk space for the files, reports and pages of all jobs; if they need more, the oldest ended
    /// jobs are deleted
    #[arg(long, default_value = "20GiB", value_name = "SIZE", value_parser = bytes)]
    keep_size: ByteSize,
    /// Time that the running check has left at a shutdown
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = time)]
    grace: Duration,
}

fn address(text: &str) -> std::result::Result<SocketAddr, &'static str> {
    let found = text.to_socket_addrs().ok().and_then(|mut all| all.next());
    found.ok_or("expected an address and a port, such as 127.0.0.1:8417 or [::1]:8417")
}

fn some_bytes(text: &str) -> std::result::Result<ByteSize, String> {
    match bytes(text)? {
        ByteSize(0) => Err("expected a size above zero".to_owned()),
        size => Ok(size),
    }
}

/// Parses a number and a unit.
fn time(text: &str) -> std::result::Result<Duration, String> {
    let units = [
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
        ("d", 86400.0),
    ];
    let found = units.iter().find_map(|(unit, seconds)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    });
    found.ok_or_else(|| "expected a time, such as 30s, 5m, 1h or 7d".to_owned())
}

fn some_time(text: &str) -> std::result::Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("expected a time above zero".to_owned()),
        time => Ok(time),
    }
}

impl ServeArguments {
    pub(super) fn run(self) -> Result<u8> {
        let token = self.token_file.as_deref().map(token).transpose()?;
        let options = Options {
            listen: self.listen,
            data: self.data,
            device: self.device,
            memory: self.memory.as_u64(),
            token,
            insecure: self.insecure,
            limits: Limits {
                body: self.max_body.as_u64(),
                queue: self.max_queue,
                uploads: self.max_uploads,
                idle: self.max_silence,
                check: self.max_time,
                memory: self.max_memory.as_u64(),
                ..Limits::default()
            },
            keep_for: self.keep,
            keep_bytes: self.keep_size.as_u64(),
            grace: self.grace,
        };
        serve::serve(options, |address, device| {
            // A closed stdout is no reason to stop.
            let _ = print(&format!(
                "http://{address} serves checks on {}\n",
                device.name
            ));
        })?;
        Ok(SUCCESS)
    }
}
