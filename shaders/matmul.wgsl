// One workgroup computes 8 rows by 4 · lanes columns of left · right / normalizer,
// [rows, k] · [k, m]. With R p - r on the left and W on the right this is the backward pass. With
// the weights of the conditioning and |W| it is the conditioning. A dispatch adds the classes
// [tile_begin, tile_end), and the last dispatch divides.

struct Params {
    normalizer: real,   // divides the finished product
    rows: u32,
    columns: u32,       // m, a multiple of 4
    classes: u32,       // k
    class_begin: u32,   // the first class in `right`
    tile_begin: u32,    // this dispatch adds the classes [tile_begin, tile_end)
    tile_end: u32,
    magnitudes: u32,    // 1 for left · |right|
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<real>;                 // [rows, k]
@group(0) @binding(2) var<storage, read> right: array<vec4<real>>;          // [class_begin.., m]
@group(0) @binding(3) var<storage, read_write> product: array<vec4<real>>;  // [rows, m]

fn tables() -> u32 {
    return 1u;
}

fn first_row(_table: u32) -> u32 {
    return 0u - params.class_begin;
}

fn right_vector(index: u32) -> vec4<real> {
    var r = right[index];
    if (params.magnitudes == 1u) {
        r = abs(r);
    }
    return r;
}

fn finish(tile: Tile, offset: u32, _table: u32, sum: vec4<real>) {
    let row = tile.row + offset;
    if (row >= params.rows) {
        return;
    }
    let entry = row * width() + tile.column;
    var whole = sum;
    if (params.tile_begin > 0u) {
        whole += product[entry];
    }
    if (params.tile_end == params.classes) {
        whole /= params.normalizer;
    }
    product[entry] = whole;
}
