// One invocation computes one logit z[j,c] = sum_i x[j,i] W[c,i] + b[c], and beside it what rounding may have done to it: the
// sum of magnitudes, or the drift of a sum in order, as in the twin. A dispatch adds the columns [tile_begin, tile_end),
// so that no invocation loops too long.

@group(0) @binding(1) var<storage, read> input: array<f32>;                 // [rows, m]
@group(0) @binding(2) var<storage, read> weight: array<f32>;                // [k, m]
@group(0) @binding(3) var<storage, read> bias: array<f32>;                  // [k]
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;          // [rows, k]
@group(0) @binding(5) var<storage, read_write> magnitude: array<f32>;       // [rows, k]

const DRIFT = 0.6;
const CHAIN = 512u;

fn products(i: u32, j: u32) -> vec4<f32> {
    return vec4(input[i], input[i + 1u], input[i + 2u], input[i + 3u])
        * vec4(weight[j], weight[j + 1u], weight[j + 2u], weight[j + 3u]);
}

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let entry = entry_index(place);
    if (entry >= params.rows * params.classes) {
        return;
    }
    let c = entry % params.classes;
    let row_start = entry / params.classes * params.columns;
    let class_start = c * params.columns;

    // 16 sums side by side: a chain of additions 16 times shorter, and so its rounding error.
    var sums0 = vec4(0.0);
    var sums1 = vec4(0.0);
    var sums2 = vec4(0.0);
    var sums3 = vec4(0.0);
    var abs0 = vec4(0.0);
    var squares0 = vec4(0.0);
    var abs1 = vec4(0.0);
    var squares1 = vec4(0.0);
    var abs2 = vec4(0.0);
    var squares2 = vec4(0.0);
    var abs3 = vec4(0.0);
    var squares3 = vec4(0.0);
    var i = params.tile_begin;
    for (; i + 16u <= params.tile_end; i += 16u) {
        let p0 = products(row_start + i, class_start + i);
        let p1 = products(row_start + i + 4u, class_start + i + 4u);
        let p2 = products(row_start + i + 8u, class_start + i + 8u);
        let p3 = products(row_start + i + 12u, class_start + i + 12u);
        sums0 += p0;
        sums1 += p1;
        sums2 += p2;
        sums3 += p3;
        abs0 += abs(p0);
        squares0 += p0 * p0;
        abs1 += abs(p1);
        squares1 += p1 * p1;
        abs2 += abs(p2);
        squares2 += p2 * p2;
        abs3 += abs(p3);
        squares3 += p3 * p3;
    }
    for (; i < params.tile_end; i += 1u) {
        let p = input[row_start + i] * weight[class_start + i];
        sums0.x += p;
        abs0.x += abs(p);
        squares0.x += p * p;
    }
    let sums = (sums0 + sums1) + (sums2 + sums3);
    let sums_abs = (abs0 + abs1) + (abs2 + abs3);
    let squares = (squares0 + squares1) + (squares2 + squares3);
    var sum = (sums.x + sums.y) + (sums.z + sums.w);
    let sum_abs = (sums_abs.x + sums_abs.y) + (sums_abs.z + sums_abs.w);
    let root = sqrt((squares.x + squares.y) + (squares.z + squares.w));
    let length = min(params.tile_end - params.tile_begin, CHAIN);
    var moved = max(sum_abs, DRIFT * sqrt(f32(length)) * max(abs(sum), root));
    if (params.tile_begin > 0u) {
        sum += logits[entry];
        moved += magnitude[entry];
    } else {
        sum += bias[c];
        moved += abs(bias[c]);
    }
    logits[entry] = sum;
    magnitude[entry] = moved;
}
