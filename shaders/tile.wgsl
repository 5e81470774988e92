// Tiles of a product left [rows, k] · right [k, m], shared by the kernels that compute one.
//
// An invocation computes a tile of 8 rows by 4 columns. The invocations of a workgroup take the
// same rows, so that their reads of `left` are uniform, and adjacent columns.

// Invocations of a workgroup. The host picks their number by the number of columns.
override lanes: u32 = 64u;

// True if a workgroup copies its rows of `left` into shared memory. A GPU loads a uniform value no
// faster than one per invocation, and would wait for eight of them per class. A software adapter
// reads it from a cache, and would wait at the barriers.
override shares: bool = false;

const TILE_ROWS = 8u;

// Classes per partial sum. Short chains of additions round less.
const BLOCK = 32u;

// The rows of `left` for one block of classes: two vectors, that is eight rows, per class.
var<workgroup> shared_left: array<vec4<real>, 2u * BLOCK>;

struct Tile {
    row: u32,       // its first row
    column: u32,    // its columns, as a vector of 4
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

// Returns the offset of a row of `left`. A row past the end reads the last one again; nothing is
// written for it.
fn left_row(row: u32) -> u32 {
    return min(row, params.rows - 1u) * params.classes;
}

// Copies the tile's rows of `left`, classes [start, end), into shared memory. Every invocation of
// the workgroup must call it.
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
