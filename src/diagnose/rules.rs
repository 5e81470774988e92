//! The catalogue: one file per cause, and the order in which they are tried.
//!
//! A new cause is one file here and one row in [`STAGES`].

use super::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair};
use crate::{problem::Wrt, report::Code, tensor::Dtype};

mod accumulated;
mod accumulated_moving;
mod all_zero;
mod averaged_over_workers;
pub(super) mod below_resolution;
mod bias_missing;
mod class_weights_missing;
mod columns_permuted;
mod columns_zero;
mod divided_by_all_rows;
mod divided_by_classes;
mod divided_by_count;
mod dropout_on;
mod half_precision;
mod ignored_rows;
mod input_scaling_missed;
mod label_smoothing_missing;
mod labels_shifted;
mod loss_scaled;
mod mean_instead_of_sum;
mod noisy;
mod norm_clipped;
mod not_finite;
mod one_hot_missing;
mod penalty_missing;
mod reduced_precision;
mod rows_permuted;
mod rows_scaled;
mod rows_zero;
mod sample_weight_missing;
mod scaled;
mod sigmoid;
mod sign_flipped;
mod softmax_missing;
mod softmax_over_batch;
mod softmax_twice;
mod stale_weights;
mod sum_instead_of_mean;
mod temperature;
pub(super) mod tolerance_too_loose;
pub(super) mod tolerance_too_tight;
mod transposed;
pub(super) mod unknown;
mod value_clipped;
mod weight_wrong;
mod wrong_labels;

/// Examines a pair, and returns `None` if its cause does not show.
pub(super) type Rule = fn(&Evidence, &Pair) -> Option<Hypothesis>;

/// Rules that are tried together. If several of them explain a pair equally well, the arrays cannot
/// tell them apart.
pub(super) struct Stage {
    pub(super) claim: Claim,
    pub(super) rules: &'static [(Code, Rule)],
}

/// The claim that the hypotheses of a stage make.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// A fact, independent of any other errors. It is undone even if it explains none of them.
    Fact,
    /// One factor. If the gradient is off by one factor only, the search tries just facts and
    /// factors.
    Factor,
    /// A cause that leaves no error, or only one factor.
    Cause,
    /// A cause that leaves the right rows or columns in another order.
    Order,
    /// A cause of some of the rows or columns. They are masked, and unmasked again if the others
    /// stay unexplained.
    Part,
}

/// All rules, from plain facts and simple causes to those that fit nearly anything.
pub(super) const STAGES: [Stage; 10] = [
    Stage {
        claim: Claim::Fact,
        rules: &[
            (Code::NotFinite, not_finite::rule),
            (Code::AllZero, all_zero::rule),
            (Code::HalfPrecision, half_precision::rule),
        ],
    },
    // Factors that the problem or common habits suggest.
    Stage {
        claim: Claim::Factor,
        rules: &[
            (Code::SignFlipped, sign_flipped::rule),
            (Code::SumInsteadOfMean, sum_instead_of_mean::rule),
            (Code::MeanInsteadOfSum, mean_instead_of_sum::rule),
            (Code::DividedByClasses, divided_by_classes::rule),
            (Code::DividedByAllRows, divided_by_all_rows::rule),
            (Code::DividedByCountNotWeights, divided_by_count::rule),
            (Code::Accumulated, accumulated::rule),
            (Code::LossScaled, loss_scaled::rule),
            (Code::AveragedOverWorkers, averaged_over_workers::rule),
            (Code::NormClipped, norm_clipped::rule),
        ],
    },
    Stage {
        claim: Claim::Factor,
        rules: &[(Code::Scaled, scaled::rule)],
    },
    // Entries that carry a mark.
    Stage {
        claim: Claim::Cause,
        rules: &[
            (Code::ValueClipped, value_clipped::rule),
            (Code::DropoutOn, dropout_on::rule),
        ],
    },
    // The gradient of another loss.
    Stage {
        claim: Claim::Cause,
        rules: &[
            (Code::OneHotMissing, one_hot_missing::rule),
            (Code::SoftmaxMissing, softmax_missing::rule),
            (Code::LabelsShifted, labels_shifted::rule),
            (Code::LabelSmoothingMissing, label_smoothing_missing::rule),
            (Code::ClassWeightsMissing, class_weights_missing::rule),
            (Code::SampleWeightMissing, sample_weight_missing::rule),
            (Code::SoftmaxOverBatch, softmax_over_batch::rule),
            (Code::SigmoidInsteadOfSoftmax, sigmoid::rule),
            (Code::SoftmaxTwice, softmax_twice::rule),
            (Code::BiasMissing, bias_missing::rule),
            (Code::Temperature, temperature::rule),
            (Code::PenaltyMissing, penalty_missing::rule),
        ],
    },
    // The right numbers at other places, or times a factor; a few other labels.
    Stage {
        claim: Claim::Cause,
        rules: &[
            (Code::ColumnsPermuted, columns_permuted::rule),
            (Code::RowsPermuted, rows_permuted::rule),
            (Code::Transposed, transposed::rule),
            (Code::InputScalingMissed, input_scaling_missed::rule),
            (Code::RowsScaled, rows_scaled::rule),
            (Code::WrongLabels, wrong_labels::rule),
        ],
    },
    Stage {
        claim: Claim::Part,
        rules: &[
            (Code::RowsZero, rows_zero::rule),
            (Code::ColumnsZero, columns_zero::rule),
            (Code::IgnoredRowsNotMasked, ignored_rows::rule),
        ],
    },
    // Other weights.
    Stage {
        claim: Claim::Cause,
        rules: &[
            (Code::StaleWeights, stale_weights::rule),
            (Code::BiasMissing, bias_missing::another),
            (Code::Accumulated, accumulated_moving::rule),
            (Code::WeightTransposedOrWrong, weight_wrong::rule),
        ],
    },
    Stage {
        claim: Claim::Order,
        rules: &[
            (Code::OneHotMissing, one_hot_missing::rule),
            (Code::SoftmaxMissing, softmax_missing::rule),
            (Code::LabelsShifted, labels_shifted::rule),
            (Code::ClassWeightsMissing, class_weights_missing::rule),
            (Code::SigmoidInsteadOfSoftmax, sigmoid::rule),
            (Code::BiasMissing, bias_missing::rule),
        ],
    },
    // No structure at all.
    Stage {
        claim: Claim::Cause,
        rules: &[
            (Code::ReducedPrecisionMatmul, reduced_precision::rule),
            (Code::Noisy, noisy::rule),
        ],
    },
];

/// Returns true if a cause can occur in this gradient. Only the rules of such causes are tried.
pub(super) fn applies(code: Code, evidence: &Evidence) -> bool {
    let problem = evidence.problem;
    match code {
        Code::WeightTransposedOrWrong => weight_wrong::applies(evidence),
        Code::WrongLabels => !evidence.wrt.is_parameter() && problem.is_one_hot(),
        Code::InputScalingMissed => matches!(evidence.wrt, Wrt::Input | Wrt::Weight),
        // Given logits have no layer below them.
        Code::BiasMissing | Code::StaleWeights => !problem.is_of_logits(),
        Code::ReducedPrecisionMatmul => {
            evidence.check.dtype == Dtype::F32 && !problem.is_of_logits()
        }
        Code::IgnoredRowsNotMasked | Code::DividedByAllRows => evidence.has_ignored(),
        Code::DividedByCountNotWeights => evidence.is_weighted(),
        Code::SampleWeightMissing => problem.sample_weight().is_some(),
        _ => true,
    }
}
