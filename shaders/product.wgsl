// The entry point of the kernels that compute a product left [rows, k] · right [k, m] in tiles.
// `right` may hold several tables [class_begin.., m], and one product is computed for each.
//
// A kernel declares `left` and defines
//   tables() -> u32                              the number of tables in `right`
//   first_row(table) -> u32                      the row of `right` with class 0 of a table; if the
//                                                window begins later, the row where it would be
//   right_vector(index) -> vec4<real>            four columns of a row of `right`
//   finish(tile, offset, table, sum: vec4<real>) stores the sum of row tile.row + offset
//
// The tile's eight sums have a variable each, because drivers do not unroll the loops that naga
// emits.

// Returns the tile's sums over the classes [tile_begin, tile_end): within a block of 32 classes
// first, then over the blocks. Every invocation of the workgroup must call it.
fn tile_sums(tile: Tile, lane: u32, table: u32) -> array<vec4<real>, 8> {
    let first = first_row(table);
    // An invocation past the last column reads the last one again, and writes nothing.
    let column = min(tile.column, width() - 1u);
    let l0 = left_row(tile.row);
    let l1 = left_row(tile.row + 1u);
    let l2 = left_row(tile.row + 2u);
    let l3 = left_row(tile.row + 3u);
    let l4 = left_row(tile.row + 4u);
    let l5 = left_row(tile.row + 5u);
    let l6 = left_row(tile.row + 6u);
    let l7 = left_row(tile.row + 7u);
    var s0 = vec4<real>(0.0);
    var s1 = vec4<real>(0.0);
    var s2 = vec4<real>(0.0);
    var s3 = vec4<real>(0.0);
    var s4 = vec4<real>(0.0);
    var s5 = vec4<real>(0.0);
    var s6 = vec4<real>(0.0);
    var s7 = vec4<real>(0.0);
    for (var start = params.tile_begin; start < params.tile_end; start += BLOCK) {
        var p0 = vec4<real>(0.0);
        var p1 = vec4<real>(0.0);
        var p2 = vec4<real>(0.0);
        var p3 = vec4<real>(0.0);
        var p4 = vec4<real>(0.0);
        var p5 = vec4<real>(0.0);
        var p6 = vec4<real>(0.0);
        var p7 = vec4<real>(0.0);
        let end = min(start + BLOCK, params.tile_end);
        if (shares) {
            share_left(tile, lane, start, end);
        }
        for (var c = start; c < end; c += 1u) {
            let r = right_vector((first + c) * width() + column);
            var a: vec4<real>;
            var b: vec4<real>;
            if (shares) {
                a = shared_left[2u * (c - start)];
                b = shared_left[2u * (c - start) + 1u];
            } else {
                a = vec4<real>(left[l0 + c], left[l1 + c], left[l2 + c], left[l3 + c]);
                b = vec4<real>(left[l4 + c], left[l5 + c], left[l6 + c], left[l7 + c]);
            }
            p0 += a.x * r;
            p1 += a.y * r;
            p2 += a.z * r;
            p3 += a.w * r;
            p4 += b.x * r;
            p5 += b.y * r;
            p6 += b.z * r;
            p7 += b.w * r;
        }
        s0 += p0;
        s1 += p1;
        s2 += p2;
        s3 += p3;
        s4 += p4;
        s5 += p5;
        s6 += p6;
        s7 += p7;
    }
    return array(s0, s1, s2, s3, s4, s5, s6, s7);
}

@compute @workgroup_size(lanes)
fn main(place: Place) {
    let tile = tile_of(place);
    for (var table = 0u; table < tables(); table += 1u) {
        let sums = tile_sums(tile, place.lane, table);
        if (tile.column >= width()) {
            continue;
        }
        finish(tile, 0u, table, sums[0]);
        finish(tile, 1u, table, sums[1]);
        finish(tile, 2u, table, sums[2]);
        finish(tile, 3u, table, sums[3]);
        finish(tile, 4u, table, sums[4]);
        finish(tile, 5u, table, sums[5]);
        finish(tile, 6u, table, sums[6]);
        finish(tile, 7u, table, sums[7]);
    }
}
