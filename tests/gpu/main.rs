//! Tests that run on every adapter.

#[path = "../common/devices.rs"]
#[allow(dead_code)]
mod devices;
#[path = "../common/exact.rs"]
#[allow(dead_code)]
mod exact;
#[path = "../common/framework.rs"]
#[allow(dead_code)]
mod framework;
#[path = "../common/numeric.rs"]
#[allow(dead_code)]
mod numeric;
#[path = "../common/problems.rs"]
#[allow(dead_code)]
mod problems;

mod accuracy;
mod compared;
mod golden;
mod power;
mod shaders;
mod twins;
