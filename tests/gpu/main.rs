//! Tests that run on every adapter there is, and whose figures a real card should be held to.

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
