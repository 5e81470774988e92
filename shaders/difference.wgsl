// One workgroup computes 8 rows by 4 · lanes columns of the derivative with respect to the input.
//
// 1. A step moves the logits by step W[.,i]. The difference of the losses, over the step, is
//      R log1p( step q / (1 + step growth[label,i]) ) / step + linear[j,i]
//      with q = sum_c (p - onehot(label))[c] growth[c,i] and growth = expm1(step W) / step.
//    The terms are as small as the result, so nothing cancels. They do not shrink with the step, so
//    nothing underflows before the gradient does. src/cpu/difference.rs derives the formula.
// 2. A dispatch adds the classes [tile_begin, tile_end) to q, for every step of the scheme.
//    `carried` passes q, and growth[label,i] once the label's class was added, to the next
//    dispatch.
// 3. The last dispatch takes the logarithms and adds the quotients, each times its weight.

struct Params {
    steps: vec4<real>,      // offset * eps of the scheme's quotients
    weights: vec4<real>,    // the weight of each quotient in the derivative
    step_count: u32,
    rows: u32,
    columns: u32,           // m, a multiple of 4
    classes: u32,           // k
    class_begin: u32,       // the classes [class_begin, class_end) are in `right`
    class_end: u32,
    tile_begin: u32,        // this dispatch adds the classes [tile_begin, tile_end)
    tile_end: u32,
    has_linear: u32,        // 1 if the targets have a linear part
    zero: u32,              // 0: see keep()
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<real>;         // [rows, k], p - onehot(label)
// The growth of each step, [steps, class_begin..class_end, m].
@group(0) @binding(2) var<storage, read> right: array<vec4<real>>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;        // [rows]
@group(0) @binding(4) var<storage, read> totals: array<real>;       // [rows], R
@group(0) @binding(5) var<storage, read> linear: array<vec4<real>>; // [rows, m]
// For each step, q and growth[label,.] so far, [steps, 2, rows, m].
@group(0) @binding(6) var<storage, read_write> carried: array<vec4<real>>;
@group(0) @binding(7) var<storage, read_write> derivative: array<vec4<real>>;   // [rows, m]

fn tables() -> u32 {
    return params.step_count;
}

fn first_row(table: u32) -> u32 {
    return table * (params.class_end - params.class_begin) - params.class_begin;
}

fn right_vector(index: u32) -> vec4<real> {
    return right[index];
}

fn finish(tile: Tile, offset: u32, s: u32, sum: vec4<real>) {
    let row = tile.row + offset;
    if (row >= params.rows) {
        return;
    }
    let entry = row * width() + tile.column;
    let entries = params.rows * width();
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
        growth = right[(first_row(s) + label) * width() + tile.column];
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
    if (s > 0u) {
        part += derivative[entry];
    } else if (params.has_linear == 1u) {
        // A scheme is exact for a line, whatever the step.
        part += linear[entry];
    }
    derivative[entry] = part;
}
