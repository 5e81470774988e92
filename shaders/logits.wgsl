// One workgroup computes 64 rows by 4 classes of the logits, z[j,c] = sum_i x[j,i] W[c,i] + b[c],
// and the magnitude of each: a bound on its rounding error, in units of the roundoff. An
// invocation takes one row, so that all invocations read the same elements of the weight.
//
// 1. A dispatch adds the columns [tile_begin, tile_end), so that no invocation loops too long.
//    tile_begin is a multiple of 4, and the columns past the end hold zeros.
// 2. Each sum is four sums side by side, over blocks of 64 columns: short chains round less.
// 3. The magnitude is that of src/cpu/logits.rs.

struct Params {
    rows: u32,
    columns: u32,       // d, padded to a multiple of 4
    classes: u32,       // k
    class_begin: u32,   // the classes [class_begin, class_end) are in `weight`
    class_end: u32,
    tile_begin: u32,    // this dispatch adds the columns [tile_begin, tile_end)
    tile_end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4<real>>;  // [rows, d]
@group(0) @binding(2) var<storage, read> weight: array<vec4<real>>; // [class_begin..class_end, d]
@group(0) @binding(3) var<storage, read> bias: array<real>;         // [k]
@group(0) @binding(4) var<storage, read_write> logits: array<real>;     // [rows, k]
@group(0) @binding(5) var<storage, read_write> magnitude: array<real>;  // [rows, k]

const DRIFT = 0.6;
const CHAIN = 512u;
const TILE_CLASSES = 4u;
const BLOCK = 16u;  // vectors of 4 columns

struct Sums {
    products: vec4<real>,
    magnitudes: vec4<real>,
    squares: vec4<real>,
}

fn total(v: vec4<real>) -> real {
    return (v.x + v.y) + (v.z + v.w);
}

// Adds the magnitudes and the squares of four products.
fn add(sums: ptr<function, Sums>, products: vec4<real>) {
    (*sums).magnitudes += abs(products);
    (*sums).squares += products * products;
}

fn finish(row: u32, c: u32, sums: Sums) {
    if (row >= params.rows || c >= params.class_end) {
        return;
    }
    let entry = row * params.classes + c;
    var sum = total(sums.products);
    let length = min(params.tile_end - params.tile_begin, CHAIN);
    let first = select(real(0.0), bias[c], params.tile_begin == 0u);
    let partial = max(max(abs(sum), sqrt(total(sums.squares))), abs(first));
    var bound = max(total(sums.magnitudes), DRIFT * sqrt(real(length)) * partial);
    if (params.tile_begin > 0u) {
        sum += logits[entry];
        bound += magnitude[entry];
    } else {
        sum += bias[c];
        bound += abs(bias[c]);
    }
    logits[entry] = sum;
    magnitude[entry] = bound;
}

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let tiles = (params.class_end - params.class_begin + TILE_CLASSES - 1u) / TILE_CLASSES;
    let group = group_index(place);
    let c = params.class_begin + group % tiles * TILE_CLASSES;
    let row = group / tiles * GROUP + place.lane;
    let width = params.columns / 4u;
    // A row or class past the end reads the last one again, and writes nothing.
    let x = min(row, params.rows - 1u) * width;
    let last = params.class_end - 1u - params.class_begin;
    let w = c - params.class_begin;
    let w0 = w * width;
    let w1 = min(w + 1u, last) * width;
    let w2 = min(w + 2u, last) * width;
    let w3 = min(w + 3u, last) * width;

    var s0 = Sums();
    var s1 = Sums();
    var s2 = Sums();
    var s3 = Sums();
    let stop = (params.tile_end + 3u) / 4u;
    for (var start = params.tile_begin / 4u; start < stop; start += BLOCK) {
        var p0 = vec4<real>(0.0);
        var p1 = vec4<real>(0.0);
        var p2 = vec4<real>(0.0);
        var p3 = vec4<real>(0.0);
        let end = min(start + BLOCK, stop);
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
            add(&s0, t0);
            add(&s1, t1);
            add(&s2, t2);
            add(&s3, t3);
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
