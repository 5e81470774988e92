// One invocation computes one loss difference with respect to the input, over the step, by the identity that cannot cancel:
// R log1p( sum_c (p - onehot(label))[c] expm1(step W[c,i]) / exp(step W[label,i]) ), and what is linear in the step.
// growth is expm1(step W) / step: nothing shrinks with the step, and nothing underflows before the gradient does.
// A dispatch adds the classes [tile_begin, tile_end); the last one takes the logarithm.

@group(0) @binding(1) var<storage, read> left: array<f32>;                  // [rows, k], p - onehot(label)
@group(0) @binding(2) var<storage, read> right: array<f32>;                 // [k, m], growth
@group(0) @binding(3) var<storage, read> labels: array<u32>;                // [rows]
@group(0) @binding(4) var<storage, read> totals: array<f32>;                // [rows], R
@group(0) @binding(5) var<storage, read> linear: array<f32>;                // [rows, m], the linear part
@group(0) @binding(6) var<storage, read_write> differences: array<f32>;     // [rows, m]

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let entry = entry_index(place);
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
        let label = labels[row];
        if (label != NO_LABEL) {
            sum /= 1.0 + params.step * right[label * params.columns + column];
        }
        sum = totals[row] * log1p_per_step(sum);
        if (params.has_linear == 1u) {
            sum += linear[entry];
        }
    }
    differences[entry] = sum;
}
