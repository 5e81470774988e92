//! `weight-transposed-or-wrong`: the right logits' gradient, times another weight.

use crate::{
    cpu::matmul::matmul,
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        layer::{Layer, transposed},
        least_squares::orthonormal,
        losses::cross_entropy,
        pair::Pair,
        words::Words,
    },
    problem::Wrt,
    report::Code,
};

/// Most classes for which another weight is searched: the time is quadratic in them. Chosen.
const MOST_CLASSES: usize = 256;
/// Rows beyond the rank that must agree with the weight that the others give. Chosen.
const LEAST_ROWS_LEFT: usize = 3;

/// The weights that a gradient may have been multiplied by.
#[derive(Clone, Copy)]
enum Other {
    /// The transpose, in the forward and the backward pass.
    TransposedLayer,
    /// The transpose, in the backward pass alone.
    TransposedProduct,
    /// Any other, in the backward pass alone.
    Product,
}

/// Returns true if the weight may be transposed, or the search for another one is possible.
pub(super) fn applies(evidence: &Evidence) -> bool {
    is_square(evidence) || is_searched(evidence)
}

fn is_square(evidence: &Evidence) -> bool {
    let k = evidence.problem.k();
    k >= 2 && k == evidence.problem.d()
}

fn is_searched(evidence: &Evidence) -> bool {
    evidence.wrt == Wrt::Input && evidence.problem.k() <= MOST_CLASSES
}

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    // In half precision the weight may be rounded too. That is another weight, but not a new cause.
    if !applies(evidence) || pair.storage > 0.0 {
        return None;
    }
    let other = || is_searched(evidence).then(|| other_product(evidence, pair));
    transposed_layer(evidence, pair).or_else(|| other().flatten())
}

fn transposed_layer(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if !is_square(evidence) {
        return None;
    }
    let k = evidence.problem.k();
    let layer = Layer {
        weight: evidence.layer.transposed_weight(k),
        bias: evidence.layer.bias.clone(),
    };
    let after = if evidence.wrt == Wrt::Weight {
        in_its_own_axes(evidence, pair, &layer)?
    } else {
        evidence.explains(pair, &layer, &cross_entropy)?
    };
    let words = words(evidence, Other::TransposedLayer);
    Some(Hypothesis::new(Code::WeightTransposedOrWrong, after, words))
}

/// Returns the pair against the weight's gradient over the transposed layer. A gradient has the
/// axes of its weight, so it is transposed too.
fn in_its_own_axes(evidence: &Evidence, pair: &Pair, layer: &Layer) -> Option<Pair> {
    if !evidence.is_whole() {
        return None;
    }
    let k = evidence.problem.k();
    let g = evidence.predict(layer, &cross_entropy);
    let allowed = evidence.allowed(layer, &cross_entropy, &g, pair.dtype);
    let after = pair.against(transposed(&g, k), transposed(&allowed, k));
    after.leaves_one_factor().then_some(after)
}

/// Tests a = G·V with an unknown V: such a V exists exactly if a lies in the span of G's columns.
fn other_product(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (k, d) = (evidence.problem.k(), pair.columns);
    // Rows with masked entries are left out.
    let mut g = evidence.derivatives(&evidence.rows, &evidence.layer, &cross_entropy);
    let mut a = pair.a.clone();
    let is_live = |row: usize| pair.row(row).all(|e| pair.is_live(e));
    let mut rows = 0;
    for row in 0..pair.rows() {
        let of_row = &mut g[row * k..(row + 1) * k];
        if is_live(row) {
            rows += usize::from(of_row.iter().any(|g| *g != 0.0));
        } else {
            of_row.fill(0.0);
            a[pair.row(row)].fill(0.0);
        }
    }
    let basis = orthonormal(g.clone(), k);
    if rows < basis.len() + LEAST_ROWS_LEFT {
        return None;
    }
    // Rounding grows with the magnitudes of V, which are about |a| / |g|. Each row gets the bound
    // of its largest entry.
    let larger = pair.norm_ratio().max(1.0);
    let allowed = pair.allowed().chunks_exact(d).flat_map(|row| {
        let largest = row.iter().copied().fold(0.0, f64::max);
        vec![larger * largest; d]
    });
    let after = pair.against(projected(&basis, &a, d), allowed.collect());
    let after = after.without(|entry| !is_live(entry / d));
    if !after.is_explained() || !after.is_informative() {
        return None;
    }
    let is_transposed = k == d && {
        let g = matmul(&g, &evidence.layer.transposed_weight(k), d);
        after.with(g).is_scaled()
    };
    let other = if is_transposed {
        Other::TransposedProduct
    } else {
        Other::Product
    };
    let words = words(evidence, other);
    Some(
        Hypothesis::new(Code::WeightTransposedOrWrong, after, words)
            .confidence(0.9)
            .evidence("rank", basis.len() as f64)
            .evidence("cosine", pair.cosine()),
    )
}

/// Returns the projection of the columns of a matrix [rows, d] on the span of a basis.
fn projected(basis: &[Vec<f64>], a: &[f64], d: usize) -> Vec<f64> {
    let mut sum = vec![0.0; a.len()];
    for direction in basis {
        let mut along = vec![0.0; d];
        for (q, a) in direction.iter().zip(a.chunks_exact(d)) {
            along.iter_mut().zip(a).for_each(|(sum, a)| *sum += q * a);
        }
        for (q, sum) in direction.iter().zip(sum.chunks_exact_mut(d)) {
            sum.iter_mut()
                .zip(&along)
                .for_each(|(sum, along)| *sum += q * along);
        }
    }
    sum
}

fn words(evidence: &Evidence, other: Other) -> Words {
    let name = evidence.name();
    let (message, correction, fix) = match other {
        Other::TransposedLayer => (
            format!(
                "{name} is the gradient of the layer with its weight transposed: the file has it \
                 the other way round"
            ),
            "compared with the transposed weight",
            "set --weight-layout dk (weight_layout in the file) if the weight is [features, \
             classes], as NumPy's X @ W and flax's Dense have it; or save it as nn.Linear has it, \
             [classes, features]",
        ),
        Other::TransposedProduct => (
            format!(
                "{name} is the logits' gradient times the transpose of the weight: the product \
                 was taken the wrong way round"
            ),
            "compared with the weight that fits best",
            "multiply by the weight as it is, dlogits @ weight: nn.Linear stores it as \
             [out_features, in_features], flax's Dense as [in, out]",
        ),
        Other::Product => (
            format!("{name} is the logits' gradient times a weight other than the file's"),
            "compared with the weight that fits best",
            "save the weight that the backward pass used: look for another layer's, another \
             checkpoint's, or one that was changed in place between the forward and the backward \
             pass",
        ),
    };
    Words {
        message,
        correction: correction.into(),
        fix: fix.into(),
        ..Words::default()
    }
}
