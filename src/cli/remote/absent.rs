//! Stands in for `remote` in a build without that feature: no `--server`, and a service that cannot exist.

use clap::Args;

use crate::{check::Listener, error::Result, output::Run};

#[derive(Args)]
pub(super) struct RemoteArguments {}

/// No service.
pub(super) enum Remote {}

impl Remote {
    pub(super) fn new(
        _arguments: &RemoteArguments,
        _settings: Vec<(String, String)>,
        _html: bool,
    ) -> Result<Option<Self>> {
        Ok(None)
    }

    pub(super) fn check(
        &self,
        _name: &str,
        _listener: &dyn Listener,
        _follow: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<Run>> {
        match *self {}
    }
}
