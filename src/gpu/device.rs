//! An open device: its limits, its buffers, its pipelines and what its driver complains of.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Instant,
};

use bytemuck::Pod;

use super::{Batch, Binding, Element, Kernel, kernel::Constant, probe::probe, readback::Pool};
use crate::{
    budget::{GPU_ENTRIES, GPU_MEMORY, GPU_WORK, SOFTWARE_ENTRIES, SOFTWARE_WORK},
    engine::Timing,
    error::{Error, Result},
    report::{DeviceInfo, DeviceKind},
    scheme::Precision,
};

/// What an adapter must have for kernels in f64, whose bits are taken apart.
pub(super) const F64: wgpu::Features =
    wgpu::Features::SHADER_F64.union(wgpu::Features::SHADER_INT64);

/// Bytes that a kernel may take at once, and that every buffer has at least: four numbers in f64.
const VECTOR: u64 = 32;

/// An adapter that was opened.
#[derive(Debug)]
pub struct GpuDevice {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    info: DeviceInfo,
    suits: DeviceKind,
    /// Bytes that one binding can hold.
    most_bytes: u64,
    memory: u64,
    pipelines: RefCell<Pipelines>,
    timing: RefCell<Timing>,
    staging: Pool,
    has_f64: OnceCell<bool>,
    /// The first error that no call returned.
    fault: Arc<Mutex<Option<String>>>,
}

type Pipelines = HashMap<(Kernel, Precision, Vec<Constant>), Rc<wgpu::ComputePipeline>>;

/// A storage buffer.
#[derive(Debug)]
pub struct Buffer {
    pub(super) inner: wgpu::Buffer,
    /// Bytes an element.
    width: usize,
}

impl Buffer {
    /// That so many elements take.
    pub(super) fn bytes(&self, elements: usize) -> u64 {
        (elements * self.width) as u64
    }
}

impl GpuDevice {
    pub(super) fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        info: DeviceInfo,
        limits: &wgpu::Limits,
    ) -> Self {
        let fault = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&fault);
        // Without this, wgpu panics.
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            if let Ok(mut seen) = seen.lock() {
                seen.get_or_insert(one_line(&error.to_string()));
            }
        }));
        let binding = limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size);
        Self {
            device,
            queue,
            suits: info.kind,
            info,
            most_bytes: binding,
            memory: GPU_MEMORY,
            pipelines: RefCell::default(),
            timing: RefCell::default(),
            staging: Pool::default(),
            has_f64: OnceCell::new(),
            fault,
        }
    }

    /// Name, type and driver.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Elements that one binding can hold.
    pub fn most_elements<T>(&self) -> usize {
        self.most_bytes as usize / size_of::<T>()
    }

    /// Elements that one evaluation's buffers may hold together.
    pub fn memory_elements<T>(&self) -> usize {
        self.memory as usize / size_of::<T>()
    }

    /// Sets what one evaluation's buffers may take together, in bytes.
    pub fn limit_memory(&mut self, bytes: u64) {
        self.memory = bytes;
    }

    /// Buffers for results that wait for their next use.
    pub(super) fn staging(&self) -> Pool {
        Arc::clone(&self.staging)
    }

    /// Where its time went since it was opened.
    pub fn timing(&self) -> Timing {
        *self.timing.borrow()
    }

    pub(super) fn time(&self, add: impl FnOnce(&mut Timing)) {
        add(&mut self.timing.borrow_mut());
    }

    /// Whether the kernels compute in f64 as well, and pass the self-probe there: asked once, when it is first needed.
    pub fn has_f64(&self) -> bool {
        let has = || self.device.features().contains(F64) && probe::<f64>(self).is_ok();
        *self.has_f64.get_or_init(has)
    }

    /// Whether kernels can be timed.
    pub fn has_timestamps(&self) -> bool {
        self.device
            .features()
            .contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Ticks of its clock in seconds.
    pub(super) fn seconds(&self, ticks: u64) -> f64 {
        ticks as f64 * f64::from(self.queue.get_timestamp_period()) * 1e-9
    }

    /// The kind of device whose variants of the kernels it runs.
    pub(super) fn suits(&self) -> DeviceKind {
        self.suits
    }

    /// Runs the variants that suit another kind of device.
    pub fn suit(&mut self, kind: DeviceKind) {
        self.suits = kind;
    }

    /// Returns the number of entries per submission, if nothing else sets a limit.
    pub(super) fn most_entries(&self) -> usize {
        match self.info.kind {
            DeviceKind::Software => SOFTWARE_ENTRIES,
            _ => GPU_ENTRIES,
        }
    }

    /// Returns the number of multiply-adds per submission.
    pub(super) fn most_multiply_adds(&self) -> usize {
        match self.info.kind {
            DeviceKind::Software => SOFTWARE_WORK,
            _ => GPU_WORK,
        }
    }

    /// Sets what one binding can hold, in bytes.
    pub fn limit_binding(&mut self, bytes: u64) {
        self.most_bytes = bytes;
    }

    /// Begins a sequence of dispatches.
    pub fn batch<T: Element>(&self) -> Batch<'_, T> {
        Batch::new(self)
    }

    /// A buffer of `values`.
    pub fn upload<T: Pod>(&self, label: &str, values: &[T]) -> Buffer {
        let buffer = self.empty::<T>(label, values.len());
        self.write(&buffer, values);
        buffer
    }

    /// A buffer of zeros; a few where there would be none, as an empty buffer cannot be bound.
    pub fn empty<T>(&self, label: &str, elements: usize) -> Buffer {
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC;
        let width = size_of::<T>();
        Buffer {
            inner: self.buffer(label, (elements * width) as u64, usage),
            width,
        }
    }

    /// Overwrites the beginning of a buffer.
    pub fn write<T: Pod>(&self, buffer: &Buffer, values: &[T]) {
        let started = Instant::now();
        self.queue
            .write_buffer(&buffer.inner, 0, bytemuck::cast_slice(values));
        self.time(|timing| timing.upload += started.elapsed().as_secs_f64());
    }

    pub(super) fn buffer(
        &self,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> wgpu::Buffer {
        let size = bytes.max(VECTOR);
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    /// Gives it back to its driver: whatever is asked of it from here on fails, as it would if the driver took it away.
    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// # Errors
    /// [`Error::Gpu`] if the driver has complained of anything since the device was opened.
    pub fn check(&self) -> Result<()> {
        let fault = self.fault.lock().ok().and_then(|fault| fault.clone());
        fault.map_or(Ok(()), |reason| Err(self.failed(reason)))
    }

    pub(super) fn failed(&self, reason: impl ToString) -> Error {
        Error::Gpu {
            device: self.info.name.clone(),
            reason: one_line(&reason.to_string()),
        }
    }

    /// The pipeline of a kernel, made when it is first asked for.
    pub(super) fn pipeline(
        &self,
        kernel: Kernel,
        precision: Precision,
        constants: Vec<Constant>,
    ) -> Rc<wgpu::ComputePipeline> {
        let values = constants.iter();
        let values: Vec<_> = values
            .map(|Constant(name, value)| (*name, *value as f64))
            .collect();
        let make = || {
            Rc::new(self.make_pipeline(
                kernel.name(),
                kernel.source(precision),
                kernel.bindings(),
                &values,
            ))
        };
        let mut pipelines = self.pipelines.borrow_mut();
        Rc::clone(
            pipelines
                .entry((kernel, precision, constants))
                .or_insert_with(make),
        )
    }

    pub(super) fn make_pipeline(
        &self,
        name: &str,
        source: &str,
        bindings: &[Binding],
        constants: &[(&str, f64)],
    ) -> wgpu::ComputePipeline {
        let label = Some(name);
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let module = self
            .device
            .create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
        let entries: Vec<_> = bindings
            .iter()
            .enumerate()
            .map(|(index, &binding)| layout_entry(index, binding))
            .collect();
        let group = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label,
                entries: &entries,
            });
        let layout = self
            .device
            .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label,
                bind_group_layouts: &[Some(&group)],
                ..Default::default()
            });
        self.device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label,
                layout: Some(&layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants,
                    ..Default::default()
                },
                cache: None,
            })
    }
}

fn layout_entry(index: usize, binding: Binding) -> wgpu::BindGroupLayoutEntry {
    let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
    let ty = match binding {
        Binding::Params => wgpu::BufferBindingType::Uniform,
        Binding::Read => storage(true),
        Binding::Write => storage(false),
    };
    wgpu::BindGroupLayoutEntry {
        binding: index as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}

/// Drivers and validators write paragraphs; a message of ours is one sentence.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
