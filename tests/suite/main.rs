//! Tests that need neither an adapter, nor a service, nor a browser.

#[path = "../common/framework.rs"]
#[allow(dead_code)]
mod framework;
#[path = "../common/problems.rs"]
#[allow(dead_code)]
mod problems;

mod action;
mod architecture;
mod bugs;
mod cli;
mod diagnosis;
mod docs;
mod forms;
mod model;
mod networks;
mod objects;
mod output;
mod parts;
mod properties;
mod relations;
mod rows;
mod style;
mod sums;
mod sweeps;
mod tolerances;
