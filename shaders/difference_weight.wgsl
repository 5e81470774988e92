// One invocation computes one entry of the loss differences with respect to the weight, over the step: W[c,i] moves one logit of every
// sample by step x[j,i], so the sum over the samples j has one term each,
// R log1p( (p - onehot(label))[c] expm1(step x) / exp(step x 1[c = label]) ), and what is linear in the step.
// A dispatch adds the samples [tile_begin, tile_end).

@group(0) @binding(1) var<storage, read> residual: array<f32>;              // [rows, k], p - onehot(label)
@group(0) @binding(2) var<storage, read> input: array<f32>;                 // [rows, m], the input, or 1 for the bias
@group(0) @binding(3) var<storage, read> labels: array<u32>;                // [rows]
@group(0) @binding(4) var<storage, read> totals: array<f32>;                // [rows], R
@group(0) @binding(5) var<storage, read> linear: array<f32>;                // [rows, k], R onehot(label) - r
@group(0) @binding(6) var<storage, read_write> differences: array<f32>;     // [k, m]

// Samples whose terms are added before they are added to the sum: a shorter chain of additions.
const BLOCK = 32u;

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let entry = entry_index(place);
    if (entry >= params.classes * params.columns) {
        return;
    }
    let c = entry / params.columns;
    let column = entry % params.columns;

    var sum = 0.0;
    for (var start = params.tile_begin; start < params.tile_end; start += BLOCK) {
        var part = 0.0;
        for (var row = start; row < min(start + BLOCK, params.tile_end); row += 1u) {
            let x = input[row * params.columns + column];
            // expm1(step x) / step, which is x where the step is lost in it.
            var growth = x;
            if (abs(params.step * x) > 1e-20) {
                growth = expm1_accurate(params.step * x) / params.step;
            }
            var term = residual[row * params.classes + c] * growth;
            if (c == labels[row]) {
                term /= 1.0 + params.step * growth;
            }
            part += totals[row] * log1p_per_step(term);
            if (params.has_linear == 1u) {
                part += linear[row * params.classes + c] * x;
            }
        }
        sum += part;
    }
    if (params.tile_begin > 0u) {
        sum += differences[entry];
    }
    differences[entry] = sum;
}
