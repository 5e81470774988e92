// One workgroup computes 64 entries, one per invocation, of leftᵀ · right / normalizer,
// [k, rows] · [rows, m]. With R p - r on the left and the input on the right this is the backward
// pass of the weight. With the weights of the conditioning and |x| it is the conditioning, and with
// squares of the products that of samples that err independently. A
// dispatch adds the samples [tile_begin, tile_end): within a block of 32 first, then over the
// blocks.

struct Params {
    normalizer: real,   // divides what each dispatch adds
    columns: u32,       // m
    classes: u32,       // k
    tile_begin: u32,    // this dispatch adds the samples [tile_begin, tile_end)
    tile_end: u32,
    magnitudes: u32,    // 1 for leftᵀ · |right|
    squares: u32,       // 1 to add the squares of the products
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<real>;             // [rows, k]
@group(0) @binding(2) var<storage, read> right: array<real>;            // [rows, m]
@group(0) @binding(3) var<storage, read_write> product: array<real>;    // [k, m]

// Samples per partial sum. Short chains of additions round less.
const BLOCK = 32u;

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let entry = entry_index(place);
    if (entry >= params.classes * params.columns) {
        return;
    }
    let c = entry / params.columns;
    let column = entry % params.columns;

    var sum = real(0.0);
    for (var start = params.tile_begin; start < params.tile_end; start += BLOCK) {
        var part = real(0.0);
        for (var row = start; row < min(start + BLOCK, params.tile_end); row += 1u) {
            var value = right[row * params.columns + column];
            if (params.magnitudes == 1u) {
                value = abs(value);
            }
            var term = left[row * params.classes + c] * value;
            if (params.squares == 1u) {
                term *= term;
            }
            part += term;
        }
        sum += part;
    }
    sum /= params.normalizer;
    if (params.tile_begin > 0u) {
        sum += product[entry];
    }
    product[entry] = sum;
}
