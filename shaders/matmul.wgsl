// One invocation computes 8 rows by 4 columns of left · right / normalizer, [rows,k]·[k,m]: of p - y with W it is the backward pass, of
// the conditioning's weights with |W| (params.magnitudes) it is S + T. A dispatch adds the classes [tile_begin, tile_end).

@group(0) @binding(1) var<storage, read> left: array<real>;                 // [rows, k]
@group(0) @binding(2) var<storage, read> right: array<vec4<real>>;          // [class_end - class_begin, m]
@group(0) @binding(3) var<storage, read_write> product: array<vec4<real>>;  // [rows, m]

fn finish(tile: Tile, row: u32, step: u32, sum: vec4<real>) {
    if (tile.row + row >= params.rows) {
        return;
    }
    let entry = (tile.row + row) * width() + tile.column;
    var whole = sum;
    if (params.tile_begin > 0u) {
        whole += product[entry];
    }
    if (params.tile_end == params.classes) {
        whole /= params.normalizer;
    }
    product[entry] = whole;
}
