// One workgroup computes 64 entries of the derivative with respect to the weight, or the bias, one
// per invocation, from all steps of the scheme.
//
// 1. A step in W[c,i] moves logit c of every sample j by step x[j,i]. The sum of difference.wgsl
//    has one term for each sample, with growth = expm1(step x[j,i]) / step:
//      R log1p( step (p - onehot(label))[c] growth / (1 + step growth 1[c = label]) ) / step
//        + linear[j,c] x[j,i]
// 2. A dispatch adds the samples [tile_begin, tile_end): within a block of 32 first, then over the
//    blocks.

struct Params {
    steps: vec4<real>,      // offset * eps of the scheme's quotients
    weights: vec4<real>,    // the weight of each quotient in the derivative
    step_count: u32,
    columns: u32,           // m
    classes: u32,           // k
    tile_begin: u32,        // this dispatch adds the samples [tile_begin, tile_end)
    tile_end: u32,
    has_linear: u32,        // 1 if the targets have a linear part
    zero: u32,              // 0: see keep()
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> residual: array<real>; // [rows, k], p - onehot(label)
@group(0) @binding(2) var<storage, read> input: array<real>;    // [rows, m]; all 1 for the bias
@group(0) @binding(3) var<storage, read> labels: array<u32>;    // [rows]
@group(0) @binding(4) var<storage, read> totals: array<real>;   // [rows], R
@group(0) @binding(5) var<storage, read> linear: array<real>;   // [rows, k], R onehot(label) - r
@group(0) @binding(6) var<storage, read_write> derivative: array<real>; // [k, m]

// Samples per partial sum. Short chains of additions round less.
const BLOCK = 32u;

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let entry = entry_index(place);
    if (entry >= params.classes * params.columns) {
        return;
    }
    let c = entry / params.columns;
    let column = entry % params.columns;

    var sum = real(0.0);
    for (var start = params.tile_begin; start < params.tile_end; start += BLOCK) {
        var part = real(0.0);
        for (var row = start; row < min(start + BLOCK, params.tile_end); row += 1u) {
            let x = input[row * params.columns + column];
            for (var s = 0u; s < params.step_count; s += 1u) {
                let step = params.steps[s];
                // The growth is x if step x may underflow.
                var growth = x;
                if (abs(step * x) > 1e-20) {
                    growth = expm1_accurate(step * x) / step;
                }
                var term = residual[row * params.classes + c] * growth;
                if (c == labels[row]) {
                    term /= 1.0 + step * growth;
                }
                part += params.weights[s] * totals[row] * log1p_per_step(term, step);
            }
            if (params.has_linear == 1u) {
                part += linear[row * params.classes + c] * x;
            }
        }
        sum += part;
    }
    if (params.tile_begin > 0u) {
        sum += derivative[entry];
    }
    derivative[entry] = sum;
}
