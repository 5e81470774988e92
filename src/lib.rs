//! Checks a gradient entry by entry against a finite difference that cannot cancel.
//!
//! Somebody holds arrays (input, weight, target, and the gradient that their code produced) and doubts the
//! gradient. [`check::check`] says whether it is right at its real shape and type, and [`diagnose`] what is wrong with it
//! if it is not. The arithmetic runs on a GPU ([`gpu`]) or on the host ([`cpu`]); data flows one way, from [`tensor`]
//! through [`problem`], [`engine`] and [`check`] to [`report`] and [`output`].

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)
)]

pub mod bench;
pub mod check;
pub mod cli;
pub mod cpu;
pub mod demo;
pub mod diagnose;
pub mod engine;
pub mod error;
pub mod gpu;
pub mod io;
pub mod loss;
pub mod output;
pub mod plan;
pub mod problem;
pub mod report;
pub mod scheme;
pub mod sweep;
pub mod tensor;
