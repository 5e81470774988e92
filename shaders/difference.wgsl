// One invocation computes 8 rows by 4 columns of the derivative with respect to the input, from loss differences by the identity that
// cannot cancel: R log1p( sum_c (p - onehot(label))[c] expm1(step W[c,i]) / exp(step W[label,i]) ), and what is linear in the step.
// growth is expm1(step W) / step: nothing shrinks with the step, and nothing underflows before the gradient does. A dispatch takes all
// steps of the scheme and adds the classes [tile_begin, tile_end); the last one takes the logarithms.

@group(0) @binding(1) var<storage, read> left: array<real>;                     // [rows, k], p - onehot(label)
@group(0) @binding(2) var<storage, read> right: array<vec4<real>>;              // [steps, class_end - class_begin, m], growth
@group(0) @binding(3) var<storage, read> labels: array<u32>;                    // [rows]
@group(0) @binding(4) var<storage, read> totals: array<real>;                   // [rows], R
@group(0) @binding(5) var<storage, read> linear: array<vec4<real>>;             // [rows, m], the linear part
@group(0) @binding(6) var<storage, read_write> carried: array<vec4<real>>;      // [steps, 2, rows, m], from one dispatch to the next
@group(0) @binding(7) var<storage, read_write> derivative: array<vec4<real>>;   // [rows, m]

fn finish(tile: Tile, offset: u32, s: u32, sum: vec4<real>) {
    let row = tile.row + offset;
    if (row >= params.rows) {
        return;
    }
    let entry = row * width() + tile.column;
    let entries = params.rows * width();
    // The sum over the classes before, and the growth of a label that was among them.
    let so_far = 2u * s * entries + entry;
    let at_label = so_far + entries;
    var whole = sum;
    var growth = vec4<real>(0.0);
    if (params.tile_begin > 0u) {
        whole += carried[so_far];
        growth = carried[at_label];
    }
    let label = labels[row];
    if (label >= params.tile_begin && label < params.tile_end) {
        let table = s * (params.class_end - params.class_begin) - params.class_begin;
        growth = right[(table + label) * width() + tile.column];
    }
    if (params.tile_end < params.classes) {
        carried[so_far] = whole;
        carried[at_label] = growth;
        return;
    }
    let step = params.steps[s];
    whole /= 1.0 + step * growth;
    var part = params.weights[s] * totals[row] * vec4<real>(
        log1p_per_step(whole.x, step),
        log1p_per_step(whole.y, step),
        log1p_per_step(whole.z, step),
        log1p_per_step(whole.w, step),
    );
    if (s > params.step_begin) {
        part += derivative[entry];
    } else if (params.has_linear == 1u) {
        // A scheme is exact for a line, whatever the step.
        part += linear[entry];
    }
    derivative[entry] = part;
}
