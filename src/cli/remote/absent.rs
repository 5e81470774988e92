//! The stand-in for `remote` in a build without that feature.

use clap::Args;

use crate::{
    check::Listener,
    error::{Error, Result},
    output::Run,
};

#[derive(Args)]
pub(super) struct RemoteArguments {
    /// Address of a gradprobe serve (not in this build)
    #[arg(long, hide = true, value_name = "URL")]
    server: Option<String>,
}

/// A service. This build has no values of the type.
pub(super) enum Remote {}

impl Remote {
    /// # Errors
    /// [`Error::Usage`] with `--server`.
    pub(super) fn new(
        arguments: &RemoteArguments,
        _settings: Vec<(String, String)>,
        _html: bool,
    ) -> Result<Option<Self>> {
        match arguments.server {
            None => Ok(None),
            Some(_) => Err(Error::Usage(
                "this build of gradprobe has no --server; build it with --features remote"
                    .to_owned(),
            )),
        }
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
