//! A request: the part of a file to read, and the settings that the caller gives.

use std::ops::Range;

use crate::{loss::Reduction, problem::WeightLayout, tensor::Dtype};

/// The part of a file to read, and settings that override the file's.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The model of a network, as a chain or as JSON. `None` takes the file's.
    pub model: Option<String>,
    /// The names of the variables whose gradients are to be checked: those of
    /// [`Wrt`](crate::problem::Wrt), or of the tensors of a network. If empty, takes all gradients
    /// in the file.
    pub wrt: Vec<String>,
    /// True to check the built-in backward pass with respect to `wrt`, or to the input if that is
    /// empty, and no gradient of the file.
    pub self_test: bool,
    /// The reduction of the loss. `None` takes the file's, or the mean.
    pub reduction: Option<Reduction>,
    /// The target of samples that do not count. `None` takes the file's, or PyTorch's -100.
    pub ignore_index: Option<i64>,
    /// The share of the target that is spread over all classes. `None` takes the file's, or 0.
    pub label_smoothing: Option<f64>,
    /// The divisor of the sum of the losses. `None` takes the file's, or that of the reduction.
    pub normalizer: Option<f64>,
    /// The order of the weight's axes. `None` takes the file's, or follows from the shapes.
    pub weight_layout: Option<WeightLayout>,
    /// The type that the gradients were computed in, if they are stored in a wider one. `None`
    /// takes the file's, or that of each gradient.
    pub computed_in: Option<Dtype>,
    /// The memory for arrays other than the weights, in bytes. `None` takes 1 GiB.
    pub memory: Option<usize>,
    /// The largest unpacked size of a compressed array, in bytes. `None` sets no limit.
    pub unpacked: Option<usize>,
    /// True if the samples of other files count too: those of this one may then all be ignored.
    pub is_part: bool,
    /// The rows of the input to validate, which reads them. `None` takes all rows. A check of
    /// random rows validates those itself.
    pub rows: Option<Range<usize>>,
}
