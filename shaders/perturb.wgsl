// One workgroup writes 64 elements of perturbed copies of samples, one per invocation. Copy v
// belongs to entry first + v of the gradient: it is sample entry / m, with column entry % m moved
// by the step.

struct Params {
    step: real,
    rows: u32,      // copies
    columns: u32,   // m
    first: u32,     // the entry of the first copy
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> base: array<real>;         // [samples, m]
@group(0) @binding(2) var<storage, read_write> copies: array<real>; // [rows, m]

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let element = entry_index(place);
    if (element >= params.rows * params.columns) {
        return;
    }
    let entry = params.first + element / params.columns;
    let column = element % params.columns;
    var value = base[entry / params.columns * params.columns + column];
    if (column == entry % params.columns) {
        value += params.step;
    }
    copies[element] = value;
}
