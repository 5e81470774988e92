//! The devices that can compute a numeric gradient, and the choice among them.

use std::sync::LazyLock;

use crate::{
    cpu::CpuEngine,
    engine::{Allowance, ComparingEngine, Engine},
    error::{Error, Result},
    gpu::{self, Adapter},
    plan::Plan,
    problem::{Problem, Wrt},
    report::{DeviceInfo, DeviceKind},
    scheme::{Method, Precision},
};

/// A device that computes numeric gradients.
#[derive(Debug)]
pub enum Device {
    /// The CPU engine.
    Cpu {
        /// Reason for the choice, if the user may have expected another device.
        note: Option<String>,
    },
    /// An adapter that passed the self-probe.
    Gpu(Box<gpu::GpuDevice>),
}

/// A parsed value of `--device`.
#[derive(Clone, Copy)]
enum Choice<'a> {
    /// A real GPU if there is one, else the CPU.
    Auto,
    Cpu,
    /// The first adapter of this kind.
    Kind(DeviceKind),
    /// The adapter of this index, counted from 1. Index 0 is the CPU.
    Index(usize),
    /// The first device whose name contains this.
    Name(&'a str),
}

impl<'a> Choice<'a> {
    fn parse(asked: &'a str) -> Self {
        match asked {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "gpu" => Self::Kind(DeviceKind::Gpu),
            "software" => Self::Kind(DeviceKind::Software),
            name => match name.parse() {
                Ok(0) => Self::Cpu,
                Ok(index) => Self::Index(index),
                Err(_) if is_named(&cpu_info(), name) => Self::Cpu,
                Err(_) => Self::Name(name),
            },
        }
    }

    fn find(self, adapters: &[Adapter]) -> Option<&Adapter> {
        let first = |is_match: &dyn Fn(&DeviceInfo) -> bool| {
            adapters.iter().find(|adapter| is_match(adapter.info()))
        };
        match self {
            Self::Cpu => None,
            Self::Auto => first(&|info| info.kind == DeviceKind::Gpu),
            Self::Kind(kind) => first(&|info| info.kind == kind),
            Self::Index(index) => adapters.get(index - 1),
            Self::Name(name) => first(&|info| is_named(info, name)),
        }
    }
}

/// Returns true if the name of the device contains `part`, ignoring case. An empty part matches
/// nothing.
fn is_named(info: &DeviceInfo, part: &str) -> bool {
    !part.is_empty() && info.name.to_lowercase().contains(&part.to_lowercase())
}

impl Device {
    /// Selects a device by `auto` (a real GPU if there is one, else the CPU), `cpu`, `gpu`,
    /// `software`, an index, or a part of its name. Starts no driver if the choice is the CPU.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if nothing matches, [`Error::Setting`] if the build has no `gpu`
    /// feature, [`Error::Gpu`] if the adapter cannot be opened, [`Error::Miscomputes`] if it fails
    /// the self-probe.
    pub fn select(asked: &str) -> Result<Self> {
        let choice = Choice::parse(asked);
        if matches!(choice, Choice::Cpu) {
            return Ok(Self::Cpu { note: None });
        }
        if !cfg!(feature = "gpu") {
            return Self::without_gpus(asked, choice);
        }
        let adapters = gpu::adapters();
        match (choice.find(&adapters), choice) {
            (Some(adapter), _) => {
                tracing::info!("opening {}", adapter.info().name);
                Ok(Self::Gpu(Box::new(adapter.open()?)))
            }
            (None, Choice::Auto) => Ok(Self::Cpu {
                note: Some(no_gpu(&adapters)),
            }),
            (None, _) => Err(Error::NoDevice {
                asked: asked.to_owned(),
                present: names(&adapters),
            }),
        }
    }

    /// Selects a device in a build without the `gpu` feature.
    fn without_gpus(asked: &str, choice: Choice<'_>) -> Result<Self> {
        match choice {
            Choice::Auto => Ok(Self::Cpu {
                note: Some("this build has no gpu feature".to_owned()),
            }),
            _ => Err(Error::Setting {
                name: "--device",
                found: format!("\"{asked}\""),
                expected: "this build has no gpu feature and computes on the cpu only".to_owned(),
            }),
        }
    }

    /// Selects a device like [`Device::select`], for a check with a budget of `memory` bytes. Half
    /// of the budget is for the arrays of an evaluation.
    ///
    /// # Errors
    /// Those of [`Device::select`].
    pub fn select_within(asked: &str, memory: u64) -> Result<Self> {
        let mut device = Self::select(asked)?;
        device.limit_memory(memory / 2);
        Ok(device)
    }

    /// Limits the arrays of an evaluation to `bytes` in total. The CPU engine has no such limit.
    pub fn limit_memory(&mut self, bytes: u64) {
        if let Self::Gpu(device) = self {
            device.limit_memory(bytes);
        }
    }

    /// Returns the device's name, kind and driver.
    pub fn info(&self) -> DeviceInfo {
        match self {
            Self::Cpu { note } => DeviceInfo {
                note: note.clone(),
                ..cpu_info()
            },
            Self::Gpu(device) => device.info().clone(),
        }
    }

    /// Returns the default precision: f64 on the CPU, f32 on a GPU.
    pub fn natural_precision(&self) -> Precision {
        match self {
            Self::Cpu { .. } => Precision::F64,
            Self::Gpu(_) => Precision::F32,
        }
    }

    /// Returns the CPU engine, with a note, if this device cannot run the check. An adapter without
    /// f64 cannot compute in f64. No adapter runs forward passes for a parameter: they need all
    /// samples for each entry, and the kernels split work by rows.
    pub fn fallback(&self, precision: Precision, method: Method, wrt: &[Wrt]) -> Option<Self> {
        let Self::Gpu(device) = self else {
            return None;
        };
        let name = &device.info().name;
        let note = if precision == Precision::F64 && !device.has_f64() {
            format!("{name} has no f64, which this check needs")
        } else if method == Method::ForwardPass && wrt.iter().any(|wrt| wrt.is_parameter()) {
            format!("{name} runs no forward passes for weight or bias")
        } else {
            return None;
        };
        Some(Self::Cpu { note: Some(note) })
    }

    /// Prepares an engine that evaluates `plan` for `problem`.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the problem exceeds the limits of the device.
    pub fn engine<'a>(&'a self, problem: &'a Problem, plan: Plan) -> Result<Box<dyn Engine + 'a>> {
        match self {
            Self::Cpu { .. } => Ok(Box::new(CpuEngine::new(problem, plan))),
            Self::Gpu(device) => device.engine(problem, plan),
        }
    }

    /// Prepares an engine that also compares. `plan` must use `difference`, and must not
    /// differentiate with respect to a parameter. Returns `None` for the CPU engine, whose results
    /// need no transfer.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the problem exceeds the limits of the device.
    pub fn comparing_engine<'a>(
        &'a self,
        problem: &'a Problem,
        plan: Plan,
        allowance: &Allowance,
    ) -> Result<Option<Box<dyn ComparingEngine + 'a>>> {
        match self {
            Self::Cpu { .. } => Ok(None),
            Self::Gpu(device) => device.comparing_engine(problem, plan, allowance).map(Some),
        }
    }
}

/// Name of the processor as Linux reports it, or the architecture if there is none.
static CPU_NAME: LazyLock<String> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut lines = text.lines();
    let model = lines.find(|line| line.starts_with("model name"));
    let name = model.and_then(|line| Some(line.split_once(':')?.1.trim()));
    name.unwrap_or(std::env::consts::ARCH).to_owned()
});

/// Returns the name of the CPU and its vector instructions. A report does not depend on the number
/// of threads, so it does not name it.
pub fn cpu_info() -> DeviceInfo {
    DeviceInfo {
        name: CPU_NAME.clone(),
        kind: DeviceKind::Cpu,
        backend: "host".to_owned(),
        driver: instructions(),
        note: None,
    }
}

/// Returns the name of the vector instructions that the kernels use.
fn instructions() -> String {
    // The text begins with the variant's name, `V3(…)`. The rest lists instruction sets.
    let arch = format!("{:?}", pulp::Arch::new());
    match arch.split(['(', ' ']).next().unwrap_or_default() {
        "V3" => "AVX2".to_owned(),
        "V4" => "AVX-512".to_owned(),
        name => name.to_owned(),
    }
}

fn no_gpu(adapters: &[Adapter]) -> String {
    match adapters.first() {
        None => "no GPU adapter was found".to_owned(),
        Some(software) => format!(
            "no GPU was found; {} is a software adapter, slower than the CPU engine",
            software.info().name
        ),
    }
}

fn names(adapters: &[Adapter]) -> Vec<String> {
    let adapters = adapters
        .iter()
        .map(|adapter| format!("{} ({})", adapter.info().name, adapter.info().kind));
    std::iter::once("cpu".to_owned()).chain(adapters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_the_gpu_feature_offers_the_cpu_only() {
        let select = |asked| Device::without_gpus(asked, Choice::parse(asked));
        let note = select("auto").unwrap().info().note;
        assert_eq!(note.as_deref(), Some("this build has no gpu feature"));
        for asked in ["gpu", "software", "1", "no such name"] {
            let error = select(asked).unwrap_err().to_string();
            let start = format!("--device is \"{asked}\", but this build has no gpu feature");
            assert!(error.starts_with(&start), "{error}");
        }
    }

    #[test]
    fn selects_the_cpu_by_index_and_by_name() {
        for asked in ["cpu", "0", &CPU_NAME.to_uppercase()] {
            let device = Device::select(asked).unwrap();
            assert!(matches!(device, Device::Cpu { note: None }), "{asked}");
        }
    }
}
