// One invocation writes one element of a copy of a sample's row in which one column is moved by the first of the dispatch's steps: copy v belongs to
// entry first + v, that is to sample entry / m and column entry % m.

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
        value += params.steps[params.step_begin];
    }
    copies[element] = value;
}
