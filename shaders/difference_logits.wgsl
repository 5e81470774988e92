// One invocation computes one loss difference with respect to the logits, over the step: only class c moves, so the sum has
// one term, l(z + step e_c) - l(z) = log1p( (p - y)[c] expm1(step) / exp(step y[c]) ).

@group(0) @binding(1) var<storage, read> residual: array<f32>;              // [rows, k], p - y
@group(0) @binding(2) var<storage, read> labels: array<u32>;                // [rows]
@group(0) @binding(3) var<storage, read_write> differences: array<f32>;     // [rows, k]

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let entry = group_index(group, groups) * GROUP + lane;
    if (entry >= params.rows * params.classes) {
        return;
    }
    let growth = expm1_accurate(params.step) / params.step;
    var at_target = 1.0;
    if (entry % params.classes == labels[entry / params.classes]) {
        at_target += params.step * growth;
    }
    differences[entry] = log1p_per_step(residual[entry] * growth / at_target);
}
