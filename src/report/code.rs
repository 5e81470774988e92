//! The catalogue of causes, with the names that reports use.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A cause of errors, written in kebab-case: `Code::RowsZero` is `rows-zero`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// NaN or infinite entries.
    NotFinite,
    /// Zeros in every entry.
    AllZero,
    /// Values that f16 or bf16 holds exactly, in a wider type.
    HalfPrecision,
    /// Values that f32 holds exactly, in f64.
    SinglePrecision,

    /// The derivative times -1.
    SignFlipped,
    /// A missing division by the mean's normalizer.
    SumInsteadOfMean,
    /// A division by the mean's normalizer that the loss does not have.
    MeanInsteadOfSum,
    /// A division by the number of classes.
    DividedByClasses,
    /// A mean that counts ignored samples.
    DividedByAllRows,
    /// A weighted mean divided by the number of samples, not by their weights.
    DividedByCountNotWeights,
    /// Several backward passes summed in one buffer.
    Accumulated,
    /// The factor of a gradient scaler, not divided out.
    LossScaled,
    /// A division by the number of workers.
    AveragedOverWorkers,
    /// A gradient scaled down to a given norm.
    NormClipped,
    /// One factor that no habit of training explains.
    Scaled,

    /// Entries cut off at a bound.
    ValueClipped,
    /// Random zeros, with the other entries scaled up.
    DropoutOn,

    /// The softmax without the target subtracted.
    OneHotMissing,
    /// The target without the softmax.
    SoftmaxMissing,
    /// Every label off by one class.
    LabelsShifted,
    /// A label smoothing other than the declared one.
    LabelSmoothingMissing,
    /// Class weights in only one of gradient and loss.
    ClassWeightsMissing,
    /// A loss that gives every sample the same weight, instead of its own of the file.
    SampleWeightMissing,
    /// A softmax over the samples, not over the classes.
    SoftmaxOverBatch,
    /// A sigmoid for each class, not a softmax over them.
    SigmoidInsteadOfSoftmax,
    /// A cross-entropy that takes probabilities for logits.
    SoftmaxTwice,
    /// A layer without its bias, or with another one.
    BiasMissing,
    /// Logits divided by a temperature.
    Temperature,
    /// A quadratic penalty in only one of gradient and loss.
    PenaltyMissing,

    /// The columns of the derivative in another order.
    ColumnsPermuted,
    /// The rows of the derivative in another order.
    RowsPermuted,
    /// A buffer written in row-major order and read in column-major order, or the reverse.
    Transposed,
    /// A factor for each column.
    InputScalingMissed,
    /// A factor for each row.
    RowsScaled,
    /// Other labels for a few samples.
    WrongLabels,

    /// Rows of zeros.
    RowsZero,
    /// Columns of zeros.
    ColumnsZero,
    /// A gradient for samples that the loss ignores.
    IgnoredRowsNotMasked,

    /// A layer's backward pass without one of its terms.
    LayerTermMissing,
    /// Another slope than PyTorch's, exactly on a kink.
    OtherSubgradient,

    /// The weights of another optimizer step.
    StaleWeights,
    /// The logits' gradient times another weight.
    WeightTransposedOrWrong,

    /// Matrix products with operands rounded to a narrower type.
    ReducedPrecisionMatmul,
    /// Random errors in every entry.
    Noisy,

    /// An absolute tolerance above the entries themselves.
    ToleranceTooLoose,
    /// A tolerance below what rounding explains.
    ToleranceTooTight,
    /// Entries too small for the finite difference.
    BelowResolution,
    /// No cause of this catalogue.
    Unknown,
}

impl Code {
    /// Returns the form in which the cause is tried, if it has others: a gradient that does not
    /// show this form may still have the cause.
    pub fn form(self) -> Option<&'static str> {
        Some(match self {
            Self::Accumulated => "equal passes, or plain gradient descent between them",
            Self::LossScaled => "one power of two for all entries",
            Self::AveragedOverWorkers => "equal workers, up to 64 of them",
            Self::NormClipped => "clipped to a round norm",
            Self::ValueClipped => "one bound for all entries",
            Self::DropoutOn => "zeros in the gradient itself, and one rate",
            Self::LabelsShifted => "all labels moved by one class",
            Self::LabelSmoothingMissing => "one smoothing for all rows, over all classes",
            Self::ClassWeightsMissing => "one weight for each class",
            Self::BiasMissing => "no bias, or one other bias",
            Self::Temperature => "one temperature for all rows",
            Self::PenaltyMissing => "an L2 penalty on this variable",
            Self::RowsScaled => "one factor for each row",
            Self::InputScalingMissed => "one factor for each column",
            Self::WrongLabels => "a few samples",
            Self::StaleWeights => "one step of plain gradient descent",
            Self::WeightTransposedOrWrong => "one other weight for all rows",
            Self::ReducedPrecisionMatmul => "operands rounded to TF32 or bf16",
            Self::Noisy => "normal errors, alike everywhere",
            _ => return None,
        })
    }
}

impl fmt::Display for Code {
    /// Writes the name that JSON uses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
