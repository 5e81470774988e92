// One invocation computes four logits of a row, z[j,c] = sum_i x[j,i] W[c,i] + b[c], and beside each what rounding may have done to it:
// the sum of magnitudes, or the drift of a sum in order, as in the twin. All of a workgroup take the same classes, of the window
// [class_begin, class_end), so that what they read of the weight is uniform. A dispatch adds the columns [tile_begin, tile_end), of
// which the first is a multiple of 4 and those past the last are 0, so that no invocation loops too long.

@group(0) @binding(1) var<storage, read> input: array<vec4<real>>;      // [rows, m]
@group(0) @binding(2) var<storage, read> weight: array<vec4<real>>;     // [class_end - class_begin, m]
@group(0) @binding(3) var<storage, read> bias: array<real>;             // [k]
@group(0) @binding(4) var<storage, read_write> logits: array<real>;     // [rows, k]
@group(0) @binding(5) var<storage, read_write> magnitude: array<real>;  // [rows, k]

const DRIFT = 0.6;
const CHAIN = 512u;

const TILE_CLASSES = 4u;

// Vectors of columns whose products are added before they are added to the sum: a shorter chain of additions.
const BLOCK = 16u;

// Four sums side by side of each: products, magnitudes, squares.
struct Sums {
    products: vec4<real>,
    magnitudes: vec4<real>,
    squares: vec4<real>,
}

fn total(v: vec4<real>) -> real {
    return (v.x + v.y) + (v.z + v.w);
}

fn finish(row: u32, c: u32, sums: Sums) {
    if (row >= params.rows || c >= params.class_end) {
        return;
    }
    let entry = row * params.classes + c;
    var sum = total(sums.products);
    let root = sqrt(total(sums.squares));
    let length = min(params.tile_end - params.tile_begin, CHAIN);
    var moved = max(total(sums.magnitudes), DRIFT * sqrt(real(length)) * max(abs(sum), root));
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

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let tiles = (params.class_end - params.class_begin + TILE_CLASSES - 1u) / TILE_CLASSES;
    let group = group_index(place);
    let c = params.class_begin + group % tiles * TILE_CLASSES;
    let row = group / tiles * GROUP + place.lane;
    let width = params.columns / 4u;
    // Past the end the last one is read again, and nothing is written.
    let x = min(row, params.rows - 1u) * width;
    let last = params.class_end - 1u - params.class_begin;
    let w = c - params.class_begin;
    let w0 = w * width;
    let w1 = min(w + 1u, last) * width;
    let w2 = min(w + 2u, last) * width;
    let w3 = min(w + 3u, last) * width;

    var s0 = Sums(vec4<real>(0.0), vec4<real>(0.0), vec4<real>(0.0));
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    let tile_end = (params.tile_end + 3u) / 4u;
    for (var start = params.tile_begin / 4u; start < tile_end; start += BLOCK) {
        var p0 = vec4<real>(0.0);
        var p1 = vec4<real>(0.0);
        var p2 = vec4<real>(0.0);
        var p3 = vec4<real>(0.0);
        let end = min(start + BLOCK, tile_end);
        for (var i = start; i < end; i += 1u) {
            let v = input[x + i];
            let t0 = v * weight[w0 + i];
            let t1 = v * weight[w1 + i];
            let t2 = v * weight[w2 + i];
            let t3 = v * weight[w3 + i];
            p0 += t0;
            p1 += t1;
            p2 += t2;
            p3 += t3;
            s0.magnitudes += abs(t0);
            s1.magnitudes += abs(t1);
            s2.magnitudes += abs(t2);
            s3.magnitudes += abs(t3);
            s0.squares += t0 * t0;
            s1.squares += t1 * t1;
            s2.squares += t2 * t2;
            s3.squares += t3 * t3;
        }
        s0.products += p0;
        s1.products += p1;
        s2.products += p2;
        s3.products += p3;
    }
    finish(row, c, s0);
    finish(row, c + 1u, s1);
    finish(row, c + 2u, s2);
    finish(row, c + 3u, s3);
}
