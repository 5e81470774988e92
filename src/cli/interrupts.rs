//! Ctrl-C and SIGTERM.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::check::Listener;

/// The exit code of an interrupted program: 128 plus the number of SIGINT, as shells have it.
pub(super) const INTERRUPTED: u8 = 130;

/// A flag that is set once the program is asked to end. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    /// Starts to catch Ctrl-C and SIGTERM: from here on they ask a check to end with a report.
    pub(super) fn listen() -> Self {
        let interrupts = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // If a signal cannot be caught, it ends the program, as without this call.
            let _ = signal_hook::flag::register(signal, interrupts.0.clone());
        }
        interrupts
    }
}

impl Listener for Interrupts {
    fn is_interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
