//! Files of arrays of any shape.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use gradprobe::{
    io::{self, Inputs, Request, Source},
    tensor::Dtype,
};
use safetensors::tensor::TensorView;

use crate::framework::tensor;

/// Changes the form of an array.
pub(super) type Form<'a> = (&'static str, &'a dyn Fn(&Array) -> Array);

/// An array with its shape and its values in row-major order.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f64>,
    /// True if it is stored as integers.
    pub(super) is_whole: bool,
}

impl Array {
    pub(super) fn new(shape: &[usize], values: Vec<f64>) -> Self {
        let (shape, is_whole) = (shape.to_vec(), false);
        Self {
            shape,
            values,
            is_whole,
        }
    }

    /// Returns the array with the given axes in this order.
    pub(super) fn permuted(&self, order: &[usize]) -> Self {
        let shape: Vec<usize> = order.iter().map(|&axis| self.shape[axis]).collect();
        let stride = |axis: usize| self.shape[axis + 1..].iter().product::<usize>();
        let value = |mut element: usize| {
            let mut at = 0;
            for (&axis, &extent) in order.iter().zip(&shape).rev() {
                at += element % extent * stride(axis);
                element /= extent;
            }
            self.values[at]
        };
        Self {
            values: (0..self.values.len()).map(value).collect(),
            shape,
            is_whole: self.is_whole,
        }
    }

    pub(super) fn reshaped(&self, shape: &[usize]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), self.values.len());
        Self {
            shape: shape.to_vec(),
            ..self.clone()
        }
    }
}

/// The tensors and the metadata of a file.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) dtype: Dtype,
    pub(super) arrays: HashMap<&'static str, Array>,
    pub(super) metadata: HashMap<String, String>,
}

impl File {
    /// Returns the file with some arrays replaced by another form of them.
    pub(super) fn with(&self, forms: &[Form]) -> Self {
        let mut file = self.clone();
        for (name, form) in forms {
            let array = form(&self.arrays[name]);
            file.arrays.insert(name, array);
        }
        file
    }

    pub(super) fn without(&self, names: &[&str]) -> Self {
        let mut file = self.clone();
        file.arrays.retain(|name, _| !names.contains(name));
        file
    }

    pub(super) fn source(&self) -> Source {
        let kind = |dtype| match dtype {
            Dtype::F16 => safetensors::Dtype::F16,
            Dtype::BF16 => safetensors::Dtype::BF16,
            Dtype::F64 => safetensors::Dtype::F64,
            _ => safetensors::Dtype::F32,
        };
        let arrays = self.arrays.iter().map(|(name, array)| {
            let (dtype, bytes) = if array.is_whole {
                let labels = array.values.iter().map(|&label| label as i64);
                (
                    safetensors::Dtype::I64,
                    labels.flat_map(i64::to_le_bytes).collect(),
                )
            } else {
                let values = tensor(self.dtype, &array.shape, &array.values);
                (kind(self.dtype), values.as_bytes().to_vec())
            };
            (*name, array.shape.clone(), dtype, bytes)
        });
        let arrays: Vec<(_, _, _, Vec<u8>)> = arrays.collect();
        let views = arrays.iter().map(|(name, shape, dtype, bytes)| {
            (
                *name,
                TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
            )
        });
        let bytes = safetensors::serialize(views, Some(self.metadata.clone())).unwrap();
        Source::Bytes(PathBuf::from("it.safetensors"), Arc::new(bytes))
    }

    pub(super) fn load(&self) -> Inputs {
        io::load(&self.source(), &Request::default()).unwrap()
    }
}
