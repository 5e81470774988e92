//! The parameters of a launch, and how they lie in a uniform buffer.

use bytemuck::Pod;

use super::Launch;
use crate::gpu::Element;

/// The parameters of one launch, in the order of the shader's `Params`.
pub trait Params {
    /// Returns the name and the value of each.
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

/// Declares a struct and implements [`Params`] for it.
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
                vec![$((stringify!($field), self.$field.into()),)*]
            }
        }
    };
}
pub(super) use params;

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<[f64; 4]> for Value {
    fn from(values: [f64; 4]) -> Self {
        Self::Numbers(values)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Count(value)
    }
}

/// The steps of a scheme as the kernels take them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Steps {
    /// The steps, at most four.
    pub steps: [f64; 4],
    /// The weight of each step's quotient in the derivative.
    pub weights: [f64; 4],
    /// The number of steps.
    pub step_count: u32,
}

impl Steps {
    /// Takes each step with its weight, as [`Plan::quotients`](crate::plan::Plan::quotients)
    /// returns them.
    pub fn new(quotients: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut all = Self::default();
        for (index, (step, weight)) in quotients.enumerate() {
            all.steps[index] = step;
            all.weights[index] = weight;
            all.step_count += 1;
        }
        all
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
