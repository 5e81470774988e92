//! One trait for what computes losses, and the choice of the device that does.

use std::{ops::Range, sync::LazyLock};

use crate::{
    cpu::Cpu,
    error::{Error, Result},
    gpu::{self, Adapter},
    plan::{Allowance, Comparison, Evaluation, Plan, Rows},
    problem::{Problem, Wrt},
    report::{DeviceInfo, DeviceKind},
    scheme::{Method, Precision},
    tensor::Tensor,
};

/// Computes the losses of one plan for one problem, a range of rows at a time.
pub trait Engine {
    /// How many rows one call may ask for.
    fn rows_per_call(&self) -> usize;

    /// The losses, or loss differences, of a range of rows, and how well they are conditioned.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device's driver reports a fault.
    fn evaluate(&mut self, rows: Range<usize>) -> Result<Evaluation>;

    /// Where one row takes so long that it is better had some of its entries at a time, who does so; none where it does not.
    fn long_rows(&self) -> Option<LongRows<'_>> {
        None
    }

    /// Begins the same, and returns at once; not for a parameter. A few may be begun before the first is collected.
    fn submit(&mut self, rows: Range<usize>);

    /// What was submitted first, to be had a few rows at a time by several threads.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device's driver reports a fault.
    fn collect(&mut self) -> Result<Chunk<'_>>;

    /// The gradient of a range of rows by the chain rule, [rows·m].
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device's driver reports a fault.
    fn backward(&mut self, rows: Range<usize>) -> Result<Vec<f64>>;
}

/// Evaluates rows that take long.
#[derive(Clone, Copy)]
pub struct LongRows<'a> {
    cpu: &'a Cpu<'a>,
    /// What a row is cut into.
    parts: usize,
}

impl LongRows<'_> {
    /// One row; before some of its entries are evaluated `goes_on` is told the share that is done. None if it does not go on.
    pub fn evaluate(&self, row: usize, goes_on: &mut dyn FnMut(f64) -> bool) -> Option<Evaluation> {
        self.cpu.evaluate_long_row(row, self.parts, goes_on)
    }
}

/// An engine that compares as well, so that errors need not be read back.
pub trait Comparer: Engine {
    /// Begins to compare a range of rows of the gradient, and returns at once.
    fn submit_comparison(&mut self, rows: Range<usize>, gradient: &Tensor);

    /// What was found of the rows that were submitted first.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device's driver reports a fault.
    fn collect_comparison(&mut self) -> Result<Comparison>;
}

/// The evaluation of a range of rows.
pub enum Chunk<'a> {
    /// Not yet: rows are evaluated by who asks for them, so that they are still in the cache when they are used.
    ToCome(&'a Cpu<'a>),
    /// All of them, widened where they are used.
    Here(Box<dyn Rows + 'a>),
}

impl Chunk<'_> {
    /// The evaluation of some of its rows; `first` is the first of them all.
    pub fn rows(&self, rows: Range<usize>, first: usize, evaluation: &mut Evaluation) {
        let here = rows.start - first..rows.end - first;
        match self {
            Self::ToCome(cpu) => cpu.evaluate_rows(rows, evaluation),
            Self::Here(all) => all.rows(here, evaluation),
        }
    }
}

/// Entries that the CPU engine is asked for at most at a time, of which it keeps nothing: a twentieth of a second's work, on many threads.
const CPU_ENTRIES: usize = 1 << 24;
/// The same of the input, with respect to a parameter: three f64 vectors of it are 24 MiB.
const CPU_INPUTS: usize = 1 << 20;
/// Multiply-adds of a thread in an eighth of a second, as measured in 2026: between the calls others are let pass.
const SOON: usize = 1 << 29;
/// But no fewer rows of a thread than make its pass over a large weight worth while, unless they take seconds.
const LEAST_ROWS: usize = 16;
const MOST: usize = 1 << 33;

/// Threads that the work is sized for: what the samples add to a parameter depends, in its last bits, on how many are added at a time,
/// and is to be the same everywhere.
fn threads(plan: &Plan) -> usize {
    match plan.wrt.is_parameter() {
        true => 2,
        false => rayon::current_num_threads(),
    }
}

/// Rows that the CPU engine is asked for at a time, at most.
pub(crate) fn cpu_rows(problem: &Problem, plan: &Plan) -> usize {
    let entries = match plan.wrt.is_parameter() {
        true => CPU_INPUTS,
        false => CPU_ENTRIES,
    };
    let threads = threads(plan);
    let least = match plan.method {
        Method::Difference => threads * LEAST_ROWS,
        Method::ForwardPass => 1,
    };
    (entries / problem.columns(plan.wrt))
        .min(plan.rows_at_a_time(problem, threads * SOON))
        .max(least)
        .clamp(1, plan.rows_at_a_time(problem, threads * MOST))
}

struct CpuEngine<'a> {
    cpu: Cpu<'a>,
    rows: usize,
    /// What a row that takes long is cut into: each an eighth of a second of a thread.
    parts: Option<usize>,
}

impl<'a> CpuEngine<'a> {
    fn new(problem: &'a Problem, plan: Plan) -> Self {
        let a_row = Plan::work(problem, plan.wrt, plan.method, plan.scheme);
        let is_long = plan.method == Method::ForwardPass && a_row > threads(&plan) * SOON;
        Self {
            cpu: Cpu::new(problem, plan),
            rows: cpu_rows(problem, &plan),
            parts: is_long.then(|| a_row.div_ceil(SOON)),
        }
    }
}

impl Engine for CpuEngine<'_> {
    fn rows_per_call(&self) -> usize {
        self.rows
    }

    fn evaluate(&mut self, rows: Range<usize>) -> Result<Evaluation> {
        Ok(self.cpu.evaluate(rows))
    }

    fn long_rows(&self) -> Option<LongRows<'_>> {
        let cpu = &self.cpu;
        self.parts.map(|parts| LongRows { cpu, parts })
    }

    fn submit(&mut self, _rows: Range<usize>) {}

    fn collect(&mut self) -> Result<Chunk<'_>> {
        Ok(Chunk::ToCome(&self.cpu))
    }

    fn backward(&mut self, rows: Range<usize>) -> Result<Vec<f64>> {
        Ok(self.cpu.backward(rows))
    }
}

impl<T: gpu::Element> Engine for gpu::Gpu<'_, T> {
    fn rows_per_call(&self) -> usize {
        self.rows_per_call()
    }

    fn evaluate(&mut self, rows: Range<usize>) -> Result<Evaluation> {
        self.evaluate(rows)
    }

    fn submit(&mut self, rows: Range<usize>) {
        self.submit(rows);
    }

    fn collect(&mut self) -> Result<Chunk<'_>> {
        Ok(Chunk::Here(Box::new(self.collect()?)))
    }

    fn backward(&mut self, rows: Range<usize>) -> Result<Vec<f64>> {
        self.backward(rows)
    }
}

impl<T: gpu::Element> Comparer for gpu::Gpu<'_, T> {
    fn submit_comparison(&mut self, rows: Range<usize>, gradient: &Tensor) {
        self.submit_comparison(rows, gradient);
    }

    fn collect_comparison(&mut self) -> Result<Comparison> {
        self.collect_comparison()
    }
}

/// Where the arithmetic is done.
#[derive(Debug)]
pub enum Device {
    /// On the host, by this crate's own loops.
    Cpu {
        /// Why not elsewhere, if that might have been expected.
        note: Option<String>,
    },
    /// On an adapter that has passed the self-probe.
    Gpu(Box<gpu::Device>),
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
        Ok(match self {
            Self::Cpu { .. } => Box::new(CpuEngine::new(problem, plan)),
            Self::Gpu(device) => match plan.precision {
                Precision::F32 => Box::new(gpu::Gpu::<f32>::new(device, problem, plan)?),
                Precision::F64 => Box::new(gpu::Gpu::<f64>::new(device, problem, plan)?),
            },
        })
    }

    /// Prepares a plan, by `difference` and not of a parameter, on a device that compares as well; none on the CPU engine, which has
    /// nothing to read back.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the problem does not fit the device's limits.
    pub fn comparer<'a>(
        &'a self,
        problem: &'a Problem,
        plan: Plan,
        allowance: &Allowance,
    ) -> Result<Option<Box<dyn Comparer + 'a>>> {
        let Self::Gpu(device) = self else {
            return Ok(None);
        };
        Ok(Some(match plan.precision {
            Precision::F32 => Box::new(gpu::Gpu::<f32>::comparing(
                device, problem, plan, allowance,
            )?),
            Precision::F64 => Box::new(gpu::Gpu::<f64>::comparing(
                device, problem, plan, allowance,
            )?),
        }))
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
