//! Checks a gradient entry by entry against a finite difference that cannot cancel.
//!
//! Somebody holds arrays (input, weight, target, and the gradient that their code produced) and doubts the
//! gradient. [`check::check`] says whether it is right at its real shape and type, and [`diagnose`] what is wrong with it
//! if it is not. The arithmetic runs on a GPU ([`gpu`]) or on the host ([`cpu`]); data flows one way, from [`tensor`]
//! through [`problem`], [`engine`] and [`check`] to [`report`] and [`output`].
//!
//! Two samples of two features, three classes, and a gradient whose second row was lost:
//!
//! ```
//! use gradprobe::{
//!     check::{Options, Subject, check},
//!     device::Device,
//!     loss::CrossEntropy,
//!     output::{document::Document, text},
//!     problem::{Problem, Wrt},
//!     report::Verdict,
//!     tensor::Tensor,
//! };
//!
//! let problem = Problem::new(
//!     Tensor::from_f64(&[2, 2], &[1.0, 2.0, -1.0, 0.5]),           // input [n, d]
//!     Tensor::from_f64(&[3, 2], &[0.5, -0.5, 0.0, 1.0, 0.25, 0.0]), // weight [k, d]
//!     None,                                                       // no bias
//!     &Tensor::from_classes(&[1, 0]),                             // target [n]
//!     CrossEntropy::default(),                                    // the mean, as in PyTorch
//! )?;
//! let gradient = Tensor::from_f64(&[2, 2], &[0.033_636_733_531_160_9, -0.118_206_524_411_050_19, 0.0, 0.0]);
//! let subject = Subject { wrt: Wrt::Input, gradient: Some(gradient) };
//! let device = Device::select("cpu")?;
//! let report = check(&problem, &[subject], &Options::default(), &device, &mut ())?;
//!
//! assert_eq!(report.verdict(), Verdict::Fail);
//! // Of the four entries the two of the lost row are wrong.
//! assert_eq!(report.checks[0].tally.wrong, 2);
//! assert_eq!(report.checks[0].findings[0].code.to_string(), "rows-zero");
//! let worst = &report.checks[0].tally.worst[0];
//! println!("{} is {}, not {}", Wrt::Input.place(worst.row, worst.column), worst.numeric, worst.analytic);
//! print!("{}", text::render(&Document::from(&report), text::Layout::default()));
//! # Ok::<(), gradprobe::error::Error>(())
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)
)]

pub mod check;
pub mod cpu;
pub mod device;
pub mod diagnose;
pub mod engine;
pub mod error;
#[cfg(feature = "gpu")]
pub mod gpu;
#[cfg(not(feature = "gpu"))]
#[path = "gpu/absent.rs"]
pub mod gpu;
#[cfg(feature = "files")]
pub mod io;
pub mod loss;
#[cfg(feature = "output")]
pub mod output;
pub mod plan;
pub mod problem;
pub mod report;
pub mod scheme;
pub mod sweep;
pub mod tensor;

// The program: its modules are no part of the library's interface.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod bench;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cli")]
mod demo;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod settings;
