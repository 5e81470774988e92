// One invocation computes one entry of left · right / normalizer, [rows,k]·[k,m]: of p - y with W it is the backward pass, of
// the conditioning's weights with |W| it is S + T. A dispatch adds the classes [tile_begin, tile_end).

@group(0) @binding(1) var<storage, read> left: array<f32>;                  // [rows, k]
@group(0) @binding(2) var<storage, read> right: array<f32>;                 // [k, m]
@group(0) @binding(3) var<storage, read_write> product: array<f32>;         // [rows, m]

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let entry = entry_index(place);
    if (entry >= params.rows * params.columns) {
        return;
    }
    let column = entry % params.columns;
    let row_start = entry / params.columns * params.classes;

    var sum = tile_sum(row_start, column);
    if (params.tile_begin > 0u) {
        sum += product[entry];
    }
    if (params.tile_end == params.classes) {
        sum /= params.normalizer;
    }
    product[entry] = sum;
}
