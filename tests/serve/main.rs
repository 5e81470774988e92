//! Tests of `gradprobe serve`: real processes, real sockets.

#[path = "../common/cases.rs"]
#[allow(dead_code)]
mod cases;
#[path = "../common/framework.rs"]
#[allow(dead_code)]
mod framework;
#[path = "../common/problems.rs"]
#[allow(dead_code)]
mod problems;
#[path = "../common/service.rs"]
#[allow(dead_code)]
mod service;

mod access;
mod bodies;
mod fixtures;
mod jobs;
mod limits;
mod memory;
mod openapi;
mod remote;
mod requests;
mod restart;
