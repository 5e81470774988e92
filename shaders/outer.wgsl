// One invocation computes one entry of leftᵀ · right / normalizer, [k,rows]·[rows,m]: of R p - r with the input it is the
// weight's gradient; of the conditioning's weights with |x| (params.magnitudes) its conditioning. A dispatch adds the samples
// [tile_begin, tile_end).

@group(0) @binding(1) var<storage, read> left: array<real>;             // [rows, k]
@group(0) @binding(2) var<storage, read> right: array<real>;            // [rows, m]
@group(0) @binding(3) var<storage, read_write> product: array<real>;    // [k, m]

// Samples whose terms are added before they are added to the sum: a shorter chain of additions.
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
            part += left[row * params.classes + c] * value;
        }
        sum += part;
    }
    sum /= params.normalizer;
    if (params.tile_begin > 0u) {
        sum += product[entry];
    }
    product[entry] = sum;
}
