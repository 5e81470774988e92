//! A stand-in for `gpu` in a build without that feature: the same names, no adapters, and a device
//! that cannot exist.

use crate::{
    engine::{Allowance, ComparingEngine, Engine, Timing},
    error::Result,
    plan::Plan,
    problem::Problem,
    report::DeviceInfo,
};

/// An adapter. There is none in this build.
#[derive(Debug)]
pub enum Adapter {}

/// An opened adapter. There is none in this build.
#[derive(Debug)]
pub enum GpuDevice {}

/// Returns an empty list.
pub fn adapters() -> Vec<Adapter> {
    Vec::new()
}

#[allow(missing_docs, clippy::missing_errors_doc)]
impl Adapter {
    pub fn info(&self) -> &DeviceInfo {
        match *self {}
    }

    pub fn limits_text(&self) -> String {
        match *self {}
    }

    pub fn open(&self) -> Result<GpuDevice> {
        match *self {}
    }
}

#[allow(missing_docs, clippy::missing_errors_doc)]
impl GpuDevice {
    pub fn info(&self) -> &DeviceInfo {
        match *self {}
    }

    pub fn has_f64(&self) -> bool {
        match *self {}
    }

    pub fn limit_memory(&mut self, _bytes: u64) {
        match *self {}
    }

    pub fn timing(&self) -> Timing {
        match *self {}
    }

    pub fn engine<'a>(
        &'a self,
        _problem: &'a Problem,
        _plan: Plan,
    ) -> Result<Box<dyn Engine + 'a>> {
        match *self {}
    }

    pub fn comparing_engine<'a>(
        &'a self,
        _problem: &'a Problem,
        _plan: Plan,
        _allowance: &Allowance,
    ) -> Result<Box<dyn ComparingEngine + 'a>> {
        match *self {}
    }
}
