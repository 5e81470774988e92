//! Pipelines: compiled kernels, created on first use and cached.

use std::rc::Rc;

use super::{
    GpuDevice,
    kernel::{Binding, Constant, Kernel},
};
use crate::scheme::Precision;

impl GpuDevice {
    /// Returns the pipeline of a kernel.
    pub(super) fn pipeline(
        &self,
        kernel: &Kernel,
        precision: Precision,
        constants: &[Constant],
    ) -> Rc<wgpu::ComputePipeline> {
        let values = constants.iter();
        let values = values.map(|Constant(name, value)| (*name, *value));
        let key = (kernel.name, precision, values.collect());
        let mut pipelines = self.pipelines.borrow_mut();
        let pipeline = pipelines.entry(key).or_insert_with(|| {
            let source = kernel.source(precision);
            Rc::new(self.make_pipeline(kernel.name, &source, kernel.bindings, constants))
        });
        Rc::clone(pipeline)
    }

    /// Compiles a shader whose bindings follow its parameters.
    pub(super) fn make_pipeline(
        &self,
        name: &str,
        source: &str,
        bindings: &[Binding],
        constants: &[Constant],
    ) -> wgpu::ComputePipeline {
        let (label, device) = (Some(name), &self.device);
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let storage = |binding: &Binding| wgpu::BufferBindingType::Storage {
            read_only: !binding.is_written,
        };
        let types = std::iter::once(wgpu::BufferBindingType::Uniform);
        let types = types.chain(bindings.iter().map(storage));
        let entries: Vec<_> = (0..).zip(types).map(layout_entry).collect();
        let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label,
            entries: &entries,
        });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&group)],
            ..Default::default()
        });
        let constants = constants.iter();
        let constants: Vec<_> = constants
            .map(|Constant(name, value)| (*name, *value as f64))
            .collect();
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                ..Default::default()
            },
            cache: None,
        })
    }
}

fn layout_entry((binding, ty): (u32, wgpu::BufferBindingType)) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}
