// One invocation computes one entry of the derivative with respect to the weight, all steps of the scheme together: W[c,i] moves one
// logit of every sample by step x[j,i], so the sum over the samples j has one term each and step,
// R log1p( (p - onehot(label))[c] expm1(step x) / exp(step x 1[c = label]) ), besides what is linear in the step.
// A dispatch adds the samples [tile_begin, tile_end).

@group(0) @binding(1) var<storage, read> residual: array<real>;         // [rows, k], p - onehot(label)
@group(0) @binding(2) var<storage, read> input: array<real>;            // [rows, m], the input, or 1 for the bias
@group(0) @binding(3) var<storage, read> labels: array<u32>;            // [rows]
@group(0) @binding(4) var<storage, read> totals: array<real>;           // [rows], R
@group(0) @binding(5) var<storage, read> linear: array<real>;           // [rows, k], R onehot(label) - r
@group(0) @binding(6) var<storage, read_write> derivative: array<real>; // [k, m]

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

    var sum = real(0.0);
    for (var start = params.tile_begin; start < params.tile_end; start += BLOCK) {
        var part = real(0.0);
        for (var row = start; row < min(start + BLOCK, params.tile_end); row += 1u) {
            let x = input[row * params.columns + column];
            for (var s = params.step_begin; s < params.step_end; s += 1u) {
                let step = params.steps[s];
                // expm1(step x) / step, which is x where the step is lost in it.
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
