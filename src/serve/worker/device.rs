//! The device that the worker has opened, and reopens after a failure.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    device::Device,
    report::{DeviceInfo, DeviceKind},
    serve::service::Service,
};

/// Time after which a device that could not be reopened is tried again. Chosen.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The open device, or the CPU while the device cannot be opened.
pub(super) struct OpenDevice<'a> {
    service: &'a Service,
    /// Shared by nested checks: one that is overtaken keeps the device it started on.
    device: RefCell<Rc<Device>>,
    /// Time at which the CPU replaced the device.
    lost: Cell<Option<Instant>>,
}

impl<'a> OpenDevice<'a> {
    pub(super) fn new(service: &'a Service, device: Device) -> Self {
        Self {
            service,
            device: RefCell::new(Rc::new(device)),
            lost: Cell::new(None),
        }
    }

    /// Returns the device. Tries to reopen one that has been lost for a while.
    pub(super) fn current(&self) -> Rc<Device> {
        if let Some(since) = self.lost.get()
            && since.elapsed() > RETRY_AFTER
        {
            self.reopen("it could not be opened");
        }
        self.device.borrow().clone()
    }

    /// Opens the device again and returns it. Returns the CPU, with a note of the reason, if the
    /// device cannot be opened.
    pub(super) fn reopen(&self, reason: &str) -> Rc<Device> {
        let name = self.info().name;
        let device = match self.service.open_device() {
            Ok(device) => {
                self.lost.set(None);
                device
            }
            Err(error) => {
                tracing::error!("{error}");
                self.lost.set(Some(Instant::now()));
                let note = Some(format!("{name} is lost: {reason}"));
                Device::Cpu { note }
            }
        };
        let device = Rc::new(device);
        *self.device.borrow_mut() = device.clone();
        device
    }

    pub(super) fn info(&self) -> DeviceInfo {
        self.device.borrow().info()
    }

    /// Returns true if the host's processor computes, in the CPU engine or in a software adapter.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self.info().kind, DeviceKind::Cpu | DeviceKind::Software)
    }
}
