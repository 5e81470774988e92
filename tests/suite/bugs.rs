//! Wrong gradients, each made by a program that really has the bug, as a framework or a programmer
//! would make it.
//!
//! A [`Work`] holds two programs, the one that the file describes and the one that ran. A bug makes
//! them differ, or changes the gradient that the second one returns.

use gradprobe::{problem::Wrt, report::Code, tensor::Dtype};
use rand::SeedableRng;

mod entries;
mod factors;
mod fit;
mod foreign;
mod losses;
mod models;
mod numbers;
mod places;
mod program;
mod targets;
mod work;

pub(crate) use work::{Case, Touched};

use entries::*;
use factors::*;
use fit::SCALES;
use foreign::{FOREIGN, room};
use models::*;
use numbers::Rng;
use places::*;
use program::Program;
use targets::*;
use work::{Bug, Work};

const ANY: &[Wrt] = &Wrt::ALL;
const MATRICES: &[Wrt] = &[Wrt::Input, Wrt::Logits, Wrt::Weight];
const ROWS: &[Wrt] = &[Wrt::Input, Wrt::Logits];
const INPUT: &[Wrt] = &[Wrt::Input];
const FLOATS: &[Dtype] = &[Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16];
const WIDE: &[Dtype] = &[Dtype::F64, Dtype::F32];
const F32: &[Dtype] = &[Dtype::F32];

/// The catalogue without `below-resolution`, which is no bug of a gradient.
///
/// A gradient of the bias has k entries that sum to 0, and one column. Causes that show only in the
/// structure of entries (permutations, dropout, clipped values, noise) or in products with the
/// input or the weight are left out there, and so is a softmax over the batch, whose gradient is 0.
/// A parameter's gradient has no row per sample, so it cannot show single wrong labels; it shows
/// the order of its rows and columns. The weight and the input's scaling come after the logits, so
/// only the input's gradient shows them. A step of stale weights is lost in the rounding of bf16.
#[rustfmt::skip]
const CATALOGUE: &[(Code, &[Wrt], &[Dtype], Bug)] = &[
    (Code::Accumulated, ANY, FLOATS, accumulated),
    (Code::SumInsteadOfMean, ANY, FLOATS, sum_instead_of_mean),
    (Code::MeanInsteadOfSum, ANY, FLOATS, mean_instead_of_sum),
    (Code::DividedByClasses, ANY, FLOATS, divided_by_classes),
    (Code::DividedByAllRows, ANY, FLOATS, divided_by_all_rows),
    (Code::DividedByCountNotWeights, ANY, FLOATS, divided_by_count),
    (Code::SignFlipped, ANY, FLOATS, sign_flipped),
    (Code::LossScaled, ANY, FLOATS, loss_scaled),
    (Code::AveragedOverWorkers, ANY, FLOATS, averaged_over_workers),
    (Code::NormClipped, ANY, FLOATS, norm_clipped),
    (Code::Scaled, ANY, FLOATS, scaled),
    (Code::AllZero, ANY, FLOATS, all_zero),
    (Code::RowsZero, MATRICES, FLOATS, rows_zero),
    (Code::IgnoredRowsNotMasked, MATRICES, FLOATS, ignored_rows_not_masked),
    (Code::ClassWeightsMissing, MATRICES, FLOATS, class_weights_missing),
    (Code::RowsPermuted, MATRICES, FLOATS, rows_permuted),
    (Code::WrongLabels, ROWS, FLOATS, wrong_labels),
    (Code::ColumnsPermuted, MATRICES, FLOATS, columns_permuted),
    (Code::Transposed, MATRICES, FLOATS, transposed_buffer),
    (Code::InputScalingMissed, INPUT, FLOATS, input_scaling_missed),
    (Code::OneHotMissing, ANY, FLOATS, one_hot_missing),
    (Code::SoftmaxMissing, ANY, FLOATS, softmax_missing),
    (Code::LabelsShifted, ANY, FLOATS, labels_shifted),
    (Code::LabelSmoothingMissing, ANY, FLOATS, label_smoothing_missing),
    (Code::SoftmaxOverBatch, MATRICES, FLOATS, over_batch),
    (Code::SigmoidInsteadOfSoftmax, MATRICES, FLOATS, sigmoid_instead),
    (Code::SoftmaxTwice, MATRICES, FLOATS, softmax_twice),
    (Code::BiasMissing, MATRICES, FLOATS, bias_missing),
    (Code::Temperature, MATRICES, FLOATS, temperature),
    (Code::WeightTransposedOrWrong, INPUT, FLOATS, weight_wrong),
    (Code::StaleWeights, MATRICES, WIDE, stale_weights),
    (Code::PenaltyMissing, ANY, FLOATS, penalty_missing),
    (Code::ValueClipped, MATRICES, FLOATS, value_clipped),
    (Code::HalfPrecision, ANY, WIDE, half_precision),
    (Code::ReducedPrecisionMatmul, MATRICES, F32, reduced_precision),
    (Code::DropoutOn, MATRICES, FLOATS, dropout_on),
    (Code::Noisy, MATRICES, WIDE, noisy),
    (Code::NotFinite, ANY, FLOATS, not_finite),
];

/// Pairs of codes in the order of the search, with their bugs in the order in which they happen.
#[rustfmt::skip]
const PAIRS: &[(Code, Code, [Bug; 2])] = &[
    (Code::Accumulated, Code::LabelsShifted,
        [labels_shifted, |work, _| accumulate(work, 10)]),
    (Code::SumInsteadOfMean, Code::LabelSmoothingMissing,
        [label_smoothing_missing, sum_instead_of_mean]),
    (Code::SignFlipped, Code::SumInsteadOfMean,
        [sum_instead_of_mean, sign_flipped]),
    (Code::DividedByClasses, Code::RowsZero,
        [divided_by_classes, rows_zero]),
    (Code::LossScaled, Code::ColumnsPermuted,
        [loss_scaled, columns_permuted]),
    (Code::AveragedOverWorkers, Code::OneHotMissing,
        [one_hot_missing, averaged_over_workers]),
    (Code::SumInsteadOfMean, Code::ClassWeightsMissing,
        [class_weights_missing, sum_instead_of_mean]),
    (Code::RowsPermuted, Code::BiasMissing,
        [bias_missing, rows_permuted]),
    // BCEWithLogitsLoss takes the mean over n·k.
    (Code::DividedByClasses, Code::SigmoidInsteadOfSoftmax,
        [sigmoid_instead, divided_by_classes]),
];

/// Returns the codes of the catalogue that can be injected with respect to `wrt` in `dtype`.
pub(crate) fn codes(wrt: Wrt, dtype: Dtype) -> Vec<Code> {
    let fitting = CATALOGUE
        .iter()
        .filter(|(_, wrts, dtypes, _)| wrts.contains(&wrt) && dtypes.contains(&dtype));
    fitting.map(|(code, ..)| *code).collect()
}

/// Returns a gradient with a bug, or `None` if no draw has room for it above the rounding of
/// `dtype`.
pub(crate) fn case(code: Code, wrt: Wrt, dtype: Dtype, seed: u64) -> Option<Case> {
    let (.., bug) = CATALOGUE.iter().find(|(name, ..)| *name == code).unwrap();
    draw(&[*bug], code, wrt, dtype, seed)
}

/// Returns the input's gradient with two bugs at once. `index` cycles through the pairs.
pub(crate) fn pairs(index: usize, dtype: Dtype, seed: u64) -> Option<(Code, Code, Case)> {
    let (first, second, bugs) = PAIRS[index % PAIRS.len()];
    let case = draw(&bugs, first, Wrt::Input, dtype, seed)?;
    Some((first, second, case))
}

/// Returns the input's gradient with a bug that no rule covers. `index` cycles through ten of them.
pub(crate) fn foreign(index: usize, dtype: Dtype, seed: u64) -> Case {
    let bug = FOREIGN[index % FOREIGN.len()];
    let seed = seed.wrapping_mul(31).wrapping_add(index as u64);
    draw(&[room, bug], Code::Unknown, Wrt::Input, dtype, seed).unwrap()
}

/// Draws until there is room for the bugs and they are visible.
fn draw(bugs: &[Bug], code: Code, wrt: Wrt, dtype: Dtype, seed: u64) -> Option<Case> {
    const ATTEMPTS: usize = 100;
    let mix = |seed: u64, byte| seed.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte);
    let name = code.to_string();
    let mut rng = Rng::seed_from_u64(name.bytes().chain(wrt.name().bytes()).fold(seed, mix));
    (0..ATTEMPTS).find_map(|_| {
        let mut work = Work::new(wrt, Program::random(&mut rng, dtype));
        if wrt == Wrt::Bias && !has_bias_enough(&work.file, code) {
            return None;
        }
        bugs.iter().try_for_each(|bug| bug(&mut work, &mut rng))?;
        work.finish(code)
    })
}

/// Returns true if the bias's gradient has enough entries to show more than a factor.
fn has_bias_enough(file: &Program, code: Code) -> bool {
    file.bias.is_some() && (SCALES.contains(&code) || file.shape.2 >= 6)
}
