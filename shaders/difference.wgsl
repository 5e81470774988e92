// One invocation computes 8 rows by 4 columns of loss differences with respect to the input, over the step, by the identity that cannot
// cancel: R log1p( sum_c (p - onehot(label))[c] expm1(step W[c,i]) / exp(step W[label,i]) ), and what is linear in the step.
// growth is expm1(step W) / step: nothing shrinks with the step, and nothing underflows before the gradient does.
// A dispatch adds the classes [tile_begin, tile_end); the last one takes the logarithm.

@group(0) @binding(1) var<storage, read> left: array<f32>;                      // [rows, k], p - onehot(label)
@group(0) @binding(2) var<storage, read> right: array<vec4<f32>>;               // [class_end - class_begin, m], growth
@group(0) @binding(3) var<storage, read> labels: array<u32>;                    // [rows]
@group(0) @binding(4) var<storage, read> totals: array<f32>;                    // [rows], R
@group(0) @binding(5) var<storage, read> linear: array<vec4<f32>>;              // [rows, m], the linear part
@group(0) @binding(6) var<storage, read_write> at_label: array<vec4<f32>>;      // [rows, m], growth of a label in another window
@group(0) @binding(7) var<storage, read_write> differences: array<vec4<f32>>;   // [rows, m]

fn finish(tile: Tile, offset: u32, sum: vec4<f32>) {
    let row = tile.row + offset;
    if (row >= params.rows) {
        return;
    }
    let entry = row * width() + tile.column;
    let label = labels[row];
    let is_bound = label >= params.class_begin && label < params.class_end;
    var growth = vec4(0.0);
    if (is_bound) {
        growth = right[(label - params.class_begin) * width() + tile.column];
    }
    var whole = sum;
    if (params.tile_begin > 0u) {
        whole += differences[entry];
    }
    if (params.tile_end == params.classes) {
        if (label < params.class_begin) {
            growth = at_label[entry];
        }
        whole /= 1.0 + params.step * growth;
        whole = totals[row] * vec4(
            log1p_per_step(whole.x),
            log1p_per_step(whole.y),
            log1p_per_step(whole.z),
            log1p_per_step(whole.w),
        );
        if (params.has_linear == 1u) {
            whole += linear[entry];
        }
    } else if (is_bound && params.class_end < params.classes) {
        at_label[entry] = growth;
    }
    differences[entry] = whole;
}
