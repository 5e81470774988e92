// One invocation computes one entry of the derivative with respect to the logits, all steps of the scheme together: only class c moves,
// so the sum in a loss difference has one term, R log1p( (p - onehot(label))[c] expm1(step) / exp(step 1[c = label]) ), besides what is
// linear in the step.

@group(0) @binding(1) var<storage, read> residual: array<real>;         // [rows, k], p - onehot(label)
@group(0) @binding(2) var<storage, read> labels: array<u32>;            // [rows]
@group(0) @binding(3) var<storage, read> totals: array<real>;           // [rows], R
@group(0) @binding(4) var<storage, read> linear: array<real>;           // [rows, k], R onehot(label) - r
@group(0) @binding(5) var<storage, read_write> derivative: array<real>; // [rows, k]

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let entry = entry_index(place);
    if (entry >= params.rows * params.classes) {
        return;
    }
    let row = entry / params.classes;
    var sum = real(0.0);
    for (var s = params.step_begin; s < params.step_end; s += 1u) {
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
