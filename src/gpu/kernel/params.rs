//! The parameters of a launch, and their layout in a uniform buffer.

use bytemuck::Pod;

use super::Launch;
use crate::gpu::Element;

/// The parameters of one launch, in the order of the shader's `Params`.
pub trait Params {
    /// Returns the name and the value of each parameter.
    fn params(&self) -> Vec<(&'static str, Value)>;
}

/// The value of one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number in the arithmetic of the kernel, `real`.
    Number(f64),
    /// Four numbers, `vec4<real>`.
    Numbers([f64; 4]),
    /// A count, `u32`.
    Count(u32),
}

/// A field of a launch: one parameter of the shader, or several.
pub(super) trait Field {
    /// Appends the parameters of a field of this name.
    fn append(self, name: &'static str, params: &mut Vec<(&'static str, Value)>);
}

impl Field for f64 {
    fn append(self, name: &'static str, params: &mut Vec<(&'static str, Value)>) {
        params.push((name, Value::Number(self)));
    }
}

impl Field for u32 {
    fn append(self, name: &'static str, params: &mut Vec<(&'static str, Value)>) {
        params.push((name, Value::Count(self)));
    }
}

/// Declares the struct of a launch and implements [`Params`] for it.
macro_rules! params {
    (
        $(#[$about:meta])*
        $name:ident { $($(#[$about_field:meta])* $field:ident: $kind:ty,)* }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name {
            $($(#[$about_field])* pub $field: $kind,)*
        }

        impl $crate::gpu::kernel::params::Params for $name {
            fn params(&self) -> Vec<(&'static str, $crate::gpu::kernel::params::Value)> {
                use $crate::gpu::kernel::params::Field;
                let mut params = Vec::new();
                $(self.$field.append(stringify!($field), &mut params);)*
                params
            }
        }
    };
}
pub(super) use params;

/// The steps of a scheme: the shader's `steps`, `weights` and `step_count`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Steps {
    /// The steps, at most four.
    steps: [f64; 4],
    /// The weight of each step's quotient in the derivative.
    weights: [f64; 4],
    /// The number of steps.
    count: usize,
}

impl Steps {
    /// Collects the steps, each with its weight: see
    /// [`Plan::quotients`](crate::plan::Plan::quotients).
    pub fn new(quotients: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut all = Self::default();
        for (step, weight) in quotients {
            all.steps[all.count] = step;
            all.weights[all.count] = weight;
            all.count += 1;
        }
        all
    }

    /// Returns the number of steps.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns each step with its weight.
    pub(super) fn quotients(&self) -> Vec<(f64, f64)> {
        let all = self.steps.into_iter().zip(self.weights);
        all.take(self.count).collect()
    }
}

impl Field for Steps {
    fn append(self, _name: &'static str, params: &mut Vec<(&'static str, Value)>) {
        params.push(("steps", Value::Numbers(self.steps)));
        params.push(("weights", Value::Numbers(self.weights)));
        params.push(("step_count", Value::Count(self.count as u32)));
    }
}

/// The contents of a uniform buffer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Uniform {
    /// The name and the offset of each member, in bytes.
    pub offsets: Vec<(&'static str, usize)>,
    /// The buffer.
    pub bytes: Vec<u8>,
}

impl Uniform {
    /// Lays out the parameters of a launch for kernels that compute in T, by WGSL's rules: each
    /// member is aligned to its own size, the whole to the largest of them.
    pub fn new<T: Element>(launch: &dyn Launch) -> Self {
        let mut uniform = Self::default();
        for (name, value) in launch.params() {
            match value {
                Value::Number(number) => uniform.push(name, &[T::of(number)]),
                Value::Numbers(numbers) => uniform.push(name, &numbers.map(T::of)),
                Value::Count(count) => uniform.push(name, &[count]),
            }
        }
        if launch.kernel().has_zero() {
            uniform.push("zero", &[0u32]);
        }
        // The first member is the widest.
        let widest = uniform.offsets.get(1).map_or(4, |(_, offset)| *offset);
        uniform.pad(widest);
        uniform
    }

    fn push<V: Pod>(&mut self, name: &'static str, values: &[V]) {
        self.pad(size_of_val(values));
        self.offsets.push((name, self.bytes.len()));
        self.bytes.extend_from_slice(bytemuck::cast_slice(values));
    }

    fn pad(&mut self, alignment: usize) {
        let length = self.bytes.len().next_multiple_of(alignment);
        self.bytes.resize(length, 0);
    }
}
