//! Checks a gradient entry by entry against a finite difference that cannot cancel.
//!
//! Pass arrays (input, weight, target, and the gradient that your code computed). [`check::check`]
//! reports whether the gradient is right, at its real shape and type. If it is wrong, [`diagnose`]
//! names the cause. The arithmetic runs on a GPU ([`gpu`]) or on the host ([`cpu`]).
//!
//! # Use as a library
//!
//! The core alone, without the program, has few dependencies: tensors in, report out, on the CPU.
//!
//! ```toml
//! [dependencies]
//! gradprobe = { version = "0.1", default-features = false }
//! ```
//!
//! | feature | adds |
//! |---|---|
//! | `gpu` | the wgpu engine: Vulkan, Metal and DX12 |
//! | `files` | [`io`]: tensors from .safetensors and .npy files |
//! | `npz` | `files`, and tensors from NumPy's .npz archives |
//! | `output` | [`output`]: reports as text, JSON, HTML, Markdown, JUnit and GitHub annotations |
//! | `cli` | the program; it needs `files` and `output` |
//! | `serve` | `gradprobe serve`; it needs `cli` and `npz` |
//! | `remote` | `gradprobe check --server`; it needs `cli` |
//!
//! The default features are `gpu`, `npz`, `serve` and `remote`, which is all of them.
//!
//! # Example
//!
//! Two samples of two features, three classes, and a gradient whose second row was lost:
//!
//! ```
//! use gradprobe::{
//!     check::{Options, Subject, check},
//!     device::Device,
//!     loss::CrossEntropy,
//!     problem::{Problem, Wrt},
//!     report::{Code, Verdict},
//!     tensor::Tensor,
//! };
//!
//! let problem = Problem::new(
//!     Tensor::from_f64(&[2, 2], &[1.0, 2.0, -1.0, 0.5]),            // input [n, d]
//!     Tensor::from_f64(&[3, 2], &[0.5, -0.5, 0.0, 1.0, 0.25, 0.0]), // weight [k, d]
//!     None,                                                         // no bias
//!     &Tensor::from_classes(&[1, 0]),                               // target [n]
//!     CrossEntropy::default(),                                      // the mean, as in PyTorch
//! )?;
//! let values = [0.033_636_733_531_160_9, -0.118_206_524_411_050_19, 0.0, 0.0];
//! let gradient = Tensor::from_f64(&[2, 2], &values);
//! let subject = Subject { wrt: Wrt::Input, gradient: Some(gradient) };
//! let device = Device::select("cpu")?;
//! let report = check(&problem, &[subject], &Options::default(), &device, &mut ())?;
//!
//! assert_eq!(report.verdict, Verdict::Fail);
//! // Of the four entries, the two of the lost row are wrong.
//! assert_eq!(report.checks[0].wrong, 2);
//! assert_eq!(report.checks[0].findings[0].code, Code::RowsZero);
//! let worst = &report.checks[0].worst[0];
//! let place = report.checks[0].place(worst);
//! println!("{place} is {}, not {}", worst.numeric, worst.analytic);
//! # #[cfg(feature = "output")]
//! # {
//! # use gradprobe::output::text;
//! // With the feature `output`:
//! print!("{}", text::render(&report, text::Layout::default()));
//! # }
//! # Ok::<(), gradprobe::error::Error>(())
//! ```
//!
//! # Modules
//!
//! Data flows one way. A module imports only from those before it: [`error`], number (JSON's
//! numbers, private), [`tensor`], [`loss`],
//! [`scheme`], [`problem`], [`plan`], budget (work limits, private), [`rounding`], [`engine`],
//! [`cpu`], [`network`], [`report`], [`gpu`], [`device`], [`diagnose`], [`check`], [`sweep`],
//! [`io`], [`case`], [`parts`] and [`output`]; then the program.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)
)]

mod budget;
#[cfg(feature = "files")]
pub mod case;
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
pub mod network;
mod number;
#[cfg(feature = "output")]
pub mod output;
#[cfg(feature = "files")]
pub mod parts;
pub mod plan;
pub mod problem;
pub mod report;
pub mod rounding;
pub mod scheme;
pub mod sweep;
pub mod tensor;

// The program. Its modules are not part of the library's interface.
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
