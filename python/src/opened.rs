//! Devices that stay open: to open one, or to see that there is none, takes longer than most
//! checks.

use std::{cell::RefCell, rc::Rc};

use gradprobe::{device::Device, error::Result};

type Opened = Vec<((String, u64), Rc<Device>)>;

thread_local! {
    static OPENED: RefCell<Opened> = const { RefCell::new(Vec::new()) };
}

/// Returns the device of this choice, within this memory in bytes. It belongs to the thread.
///
/// # Errors
/// Those of [`Device::select_within`].
pub(crate) fn device(choice: &str, memory: u64) -> Result<Rc<Device>> {
    OPENED.with_borrow_mut(|opened| {
        let key = (choice.to_owned(), memory);
        if let Some((_, device)) = opened.iter().find(|(opened, _)| *opened == key) {
            return Ok(device.clone());
        }
        let device = Rc::new(Device::select_within(choice, memory)?);
        opened.push((key, device.clone()));
        Ok(device)
    })
}
