// One invocation computes one loss difference with respect to the input, over the step, by the identity that cannot cancel:
// l(x + step e_i) - l(x) = log1p( sum_c (p - y)[c] expm1(step W[c,i]) / exp(step W[target,i]) ).
// growth is expm1(step W) / step: nothing shrinks with the step, and nothing underflows before the gradient does.
// A dispatch adds the classes [tile_begin, tile_end); the last one takes the logarithm.

@group(0) @binding(1) var<storage, read> left: array<f32>;                  // [rows, k], p - y
@group(0) @binding(2) var<storage, read> right: array<f32>;                 // [k, m], growth
@group(0) @binding(3) var<storage, read> labels: array<u32>;                // [rows]
@group(0) @binding(4) var<storage, read_write> differences: array<f32>;     // [rows, m]

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let entry = group_index(group, groups) * GROUP + lane;
    if (entry >= params.rows * params.columns) {
        return;
    }
    let row = entry / params.columns;
    let column = entry % params.columns;
    let row_start = row * params.classes;

    var sum = tile_sum(row_start, column);
    if (params.tile_begin > 0u) {
        sum += differences[entry];
    }
    if (params.tile_end == params.classes) {
        sum = log1p_per_step(sum / (1.0 + params.step * right[labels[row] * params.columns + column]));
    }
    differences[entry] = sum;
}
