// One invocation computes one loss difference with respect to the logits, over the step: only class c moves, so the sum has
// one term, R log1p( (p - onehot(label))[c] expm1(step) / exp(step 1[c = label]) ), and what is linear in the step.

@group(0) @binding(1) var<storage, read> residual: array<f32>;              // [rows, k], p - onehot(label)
@group(0) @binding(2) var<storage, read> labels: array<u32>;                // [rows]
@group(0) @binding(3) var<storage, read> totals: array<f32>;                // [rows], R
@group(0) @binding(4) var<storage, read> linear: array<f32>;                // [rows, k], R onehot(label) - r
@group(0) @binding(5) var<storage, read_write> differences: array<f32>;     // [rows, k]

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let entry = entry_index(place);
    if (entry >= params.rows * params.classes) {
        return;
    }
    let row = entry / params.classes;
    let growth = expm1_accurate(params.step) / params.step;
    var at_label = 1.0;
    if (entry % params.classes == labels[row]) {
        at_label += params.step * growth;
    }
    var difference = totals[row] * log1p_per_step(residual[entry] * growth / at_label);
    if (params.has_linear == 1u) {
        difference += linear[entry];
    }
    differences[entry] = difference;
}
