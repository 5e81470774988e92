//! The devices that can do the arithmetic, and the choice among them.

use std::sync::LazyLock;

use crate::{
    cpu::CpuEngine,
    engine::{ComparingEngine, Engine},
    error::{Error, Result},
    gpu::{self, Adapter},
    plan::{Allowance, Plan},
    problem::{Problem, Wrt},
    report::{DeviceInfo, DeviceKind},
    scheme::{Method, Precision},
};

/// Where the arithmetic is done.
#[derive(Debug)]
pub enum Device {
    /// On the host, by this crate's own loops.
    Cpu {
        /// Why not elsewhere, if that might have been expected.
        note: Option<String>,
    },
    /// On an adapter that has passed the self-probe.
    Gpu(Box<gpu::GpuDevice>),
}

impl Device {
    /// Finds a device: `auto` (a real GPU where there is one, else the CPU), `cpu`, `gpu`, `software`, an adapter's
    /// index, or a part of its name. Only `cpu` starts no driver.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if nothing matches, [`Error::Gpu`] if the adapter cannot be opened,
    /// [`Error::Miscomputes`] if it fails the self-probe.
    pub fn select(asked: &str) -> Result<Self> {
        if asked == "cpu" {
            return Ok(Self::Cpu { note: None });
        }
        let named = |info: &DeviceInfo| {
            !asked.is_empty() && info.name.to_lowercase().contains(&asked.to_lowercase())
        };
        let adapters = gpu::adapters();
        let of_kind = |kind| adapters.iter().find(|adapter| adapter.info().kind == kind);
        let found = match asked {
            "auto" => match of_kind(DeviceKind::Gpu) {
                Some(gpu) => Some(gpu),
                None => {
                    return Ok(Self::Cpu {
                        note: Some(no_gpu(&adapters)),
                    });
                }
            },
            "gpu" => of_kind(DeviceKind::Gpu),
            "software" => of_kind(DeviceKind::Software),
            name => match name.parse::<usize>() {
                // Index 0 is the CPU engine.
                Ok(0) => return Ok(Self::Cpu { note: None }),
                Ok(index) => adapters.get(index - 1),
                Err(_) if named(&cpu_info()) => return Ok(Self::Cpu { note: None }),
                Err(_) => adapters.iter().find(|adapter| named(adapter.info())),
            },
        };
        let adapter = found.ok_or_else(|| Error::NoDevice {
            asked: asked.to_owned(),
            present: present(&adapters),
        })?;
        tracing::info!("opening {}", adapter.info().name);
        Ok(Self::Gpu(Box::new(adapter.open()?)))
    }

    /// The same for a check that may take so many bytes: half of them are its arrays'.
    ///
    /// # Errors
    /// Those of [`Device::select`].
    pub fn select_within(asked: &str, memory: u64) -> Result<Self> {
        let mut device = Self::select(asked)?;
        device.limit_memory(memory / 2);
        Ok(device)
    }

    /// Sets what the arrays of an evaluation may take together, in bytes.
    pub fn limit_memory(&mut self, bytes: u64) {
        if let Self::Gpu(device) = self {
            device.limit_memory(bytes);
        }
    }

    /// Name, type and driver.
    pub fn info(&self) -> DeviceInfo {
        match self {
            Self::Cpu { note } => DeviceInfo {
                note: note.clone(),
                ..cpu_info()
            },
            Self::Gpu(device) => device.info().clone(),
        }
    }

    /// The arithmetic it does unless asked otherwise.
    pub fn natural_precision(&self) -> Precision {
        match self {
            Self::Cpu { .. } => Precision::F64,
            Self::Gpu(_) => Precision::F32,
        }
    }

    /// The CPU engine, saying why, if the shaders on this device cannot compute in `precision`, or the gradient of a parameter
    /// by `method`: a forward pass of all samples for each of its entries is no work that is cut by rows.
    pub fn fallback(&self, precision: Precision, method: Method, wrt: &[Wrt]) -> Option<Self> {
        let Self::Gpu(device) = self else {
            return None;
        };
        let name = &device.info().name;
        let note = if precision == Precision::F64 && !device.has_f64() {
            format!("f64 was needed, and {name} computes in f32")
        } else if method == Method::ForwardPass && wrt.iter().any(|wrt| wrt.is_parameter()) {
            format!("forward passes for the weight and the bias are not computed on {name}")
        } else {
            return None;
        };
        Some(Self::Cpu { note: Some(note) })
    }

    /// Prepares a plan for a problem.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the problem does not fit the device's limits.
    pub fn engine<'a>(&'a self, problem: &'a Problem, plan: Plan) -> Result<Box<dyn Engine + 'a>> {
        match self {
            Self::Cpu { .. } => Ok(Box::new(CpuEngine::new(problem, plan))),
            Self::Gpu(device) => device.engine(problem, plan),
        }
    }

    /// Prepares a plan, by `difference` and not of a parameter, on a device that compares as well; none on the CPU engine, which has
    /// nothing to read back.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the problem does not fit the device's limits.
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

/// What the system calls the processor; where it does not say, its architecture.
static CPU_NAME: LazyLock<String> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut lines = text.lines();
    let model = lines.find(|line| line.starts_with("model name"));
    let name = model.and_then(|line| Some(line.split_once(':')?.1.trim()));
    name.unwrap_or(std::env::consts::ARCH).to_owned()
});

/// The CPU engine's name, vector instructions and threads.
pub fn cpu_info() -> DeviceInfo {
    DeviceInfo {
        name: CPU_NAME.clone(),
        kind: DeviceKind::Cpu,
        backend: "host".to_owned(),
        driver: format!(
            "{}, {} threads",
            instructions(),
            rayon::current_num_threads()
        ),
        note: None,
    }
}

/// The vector instructions that the kernels are dispatched to.
fn instructions() -> String {
    // Its name is the variant's; the rest of the text lists single instruction sets.
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
        Some(software) => {
            format!(
                "no GPU was found; {} is software, and slower than the CPU engine",
                software.info().name
            )
        }
    }
}

fn present(adapters: &[Adapter]) -> Vec<String> {
    let adapters = adapters
        .iter()
        .map(|adapter| format!("{} ({})", adapter.info().name, adapter.info().kind));
    std::iter::once("cpu".to_owned()).chain(adapters).collect()
}
