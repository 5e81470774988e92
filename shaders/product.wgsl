// What the kernels share that multiply [rows,k]·[k,m], their entry point too: a kernel declares the operands `left` and `right`, the latter
// a window of the classes, [class_begin, class_end), of one table for each step that the dispatch takes, and what becomes of a row of a
// tile, `finish(tile, row, step, sum)`.
//
// An invocation takes a tile of 8 rows by 4 columns. All of a workgroup take the same rows, so that what they read of `left` is
// uniform, and columns beside each other. The tile is written out: drivers do not unroll what naga makes of a loop.

// Invocations of a workgroup, as suits the number of columns.
override lanes: u32 = 64u;

// Whether a workgroup keeps its rows of `left` in shared memory: a GPU loads a number that all invocations want no faster than one for
// each, and would wait for eight of them a class; a software adapter reads it from a cache, and waits at barriers.
override shares: bool = false;

const TILE_ROWS = 8u;

// Classes whose terms are added before they are added to the sum: a shorter chain of additions.
const BLOCK = 32u;

// Of eight rows, two vectors a class.
var<workgroup> shared_left: array<vec4<real>, 2u * BLOCK>;

struct Tile {
    row: u32,       // the first of its rows
    column: u32,    // in vectors of 4
}

// Columns in vectors of 4.
fn width() -> u32 {
    return params.columns / 4u;
}

fn tile_of(place: Place) -> Tile {
    let groups = (width() + lanes - 1u) / lanes;
    let group = group_index(place);
    return Tile(group / groups * TILE_ROWS, group % groups * lanes + place.lane);
}

// Where a row of `left` begins; past the end the last one is read again, and nothing is written.
fn left_row(row: u32) -> u32 {
    return min(row, params.rows - 1u) * params.classes;
}

// The block's classes of the tile's rows, into shared memory. Every invocation of the workgroup must call it.
fn share_left(tile: Tile, lane: u32, start: u32, end: u32) {
    workgroupBarrier();
    for (var i = lane; i < 2u * (end - start); i += lanes) {
        let row = tile.row + i % 2u * 4u;
        let c = start + i / 2u;
        shared_left[i] = vec4<real>(
            left[left_row(row) + c],
            left[left_row(row + 1u) + c],
            left[left_row(row + 2u) + c],
            left[left_row(row + 3u) + c],
        );
    }
    workgroupBarrier();
}

// The terms [tile_begin, tile_end) of a tile of left · right, or left · |right|. Every invocation of the workgroup must call it.
fn tile_sums(tile: Tile, lane: u32, step: u32) -> array<vec4<real>, 8> {
    // Of the step's table, as if it began with class 0.
    let table = step * (params.class_end - params.class_begin) - params.class_begin;
    // Past the end the last columns are read again, and nothing is written.
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
            var r = right[(table + c) * width() + column];
            if (params.magnitudes == 1u) {
                r = abs(r);
            }
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
    for (var step = params.step_begin; step < params.step_end; step += 1u) {
        let sums = tile_sums(tile, place.lane, step);
        if (tile.column >= width()) {
            continue;
        }
        finish(tile, 0u, step, sums[0]);
        finish(tile, 1u, step, sums[1]);
        finish(tile, 2u, step, sums[2]);
        finish(tile, 3u, step, sums[3]);
        finish(tile, 4u, step, sums[4]);
        finish(tile, 5u, step, sums[5]);
        finish(tile, 6u, step, sums[6]);
        finish(tile, 7u, step, sums[7]);
    }
}
