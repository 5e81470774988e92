//! The circumstances of a run: its device, its problem, its duration.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{loss::Reduction, tensor::Dtype};

/// The device that computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The name of the processor or of the adapter.
    pub name: String,
    /// The kind of device.
    #[serde(rename = "type")]
    pub kind: DeviceKind,
    /// The interface to the device, such as Vulkan.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// The reason why this is not the device that a user might expect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The kinds of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The host's processor, through this crate's own loops.
    Cpu,
    /// A graphics processor.
    Gpu,
    /// An adapter that runs shaders on the host's processor.
    Software,
}

impl fmt::Display for DeviceKind {
    /// Writes the name that JSON uses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The sizes and options of a problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProblemInfo {
    /// Samples.
    pub n: usize,
    /// Features. `None` if the logits are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d: Option<usize>,
    /// Classes.
    pub k: usize,
    /// The element type of the input, or of given logits.
    pub dtype: Dtype,
    /// The network, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkInfo>,
    /// The reduction of the samples' losses to one number.
    pub reduction: Reduction,
    /// The share of the target that is spread over all classes.
    pub label_smoothing: f64,
    /// The target that marks samples without a loss.
    pub ignore_index: i64,
    /// True if the classes have weights.
    pub class_weight: bool,
    /// True if the samples have weights.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sample_weight: bool,
    /// The divisor of the sum of the losses, if it is not that of the reduction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalizer: Option<f64>,
}

/// A network, in words and numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// The functions of its layers and of its loss, in order.
    pub functions: String,
    /// The layers, but the last, whose upstream gradient is given.
    pub upstream: usize,
    /// All layers but the last.
    pub inner: usize,
}

/// Wall-clock durations in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// From the start to tensors in memory, or mapped.
    pub load: f64,
    /// From there to the finished report.
    pub compute: f64,
    /// Both together.
    pub total: f64,
}
