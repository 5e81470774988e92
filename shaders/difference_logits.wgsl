// One workgroup computes 64 entries of the derivative with respect to the logits, one per
// invocation, from all steps of the scheme.
//
// A step in logit c moves that logit alone. The sum of difference.wgsl has one term, with
// growth = expm1(step) / step:
//   R log1p( step (p - onehot(label))[c] growth / (1 + step growth 1[c = label]) ) / step
//     + linear[j,c]

struct Params {
    steps: vec4<real>,      // offset * eps of the scheme's quotients
    weights: vec4<real>,    // the weight of each quotient in the derivative
    step_count: u32,
    rows: u32,
    classes: u32,           // k
    has_linear: u32,        // 1 if the targets have a linear part
    zero: u32,              // 0: see keep()
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> residual: array<real>; // [rows, k], p - onehot(label)
@group(0) @binding(2) var<storage, read> labels: array<u32>;    // [rows]
@group(0) @binding(3) var<storage, read> totals: array<real>;   // [rows], R
@group(0) @binding(4) var<storage, read> linear: array<real>;   // [rows, k], R onehot(label) - r
@group(0) @binding(5) var<storage, read_write> derivative: array<real>; // [rows, k]

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let entry = entry_index(place);
    if (entry >= params.rows * params.classes) {
        return;
    }
    let row = entry / params.classes;
    var sum = real(0.0);
    for (var s = 0u; s < params.step_count; s += 1u) {
        let step = params.steps[s];
        let growth = expm1_accurate(step) / step;
        var at_label = real(1.0);
        if (entry % params.classes == labels[row]) {
            at_label += step * growth;
        }
        sum += params.weights[s] * log1p_per_step(residual[entry] * growth / at_label, step);
    }
    sum *= totals[row];
    // A scheme is exact for a line, whatever the step.
    if (params.has_linear == 1u) {
        sum += linear[entry];
    }
    derivative[entry] = sum;
}
