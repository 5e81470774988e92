// One workgroup computes the losses of 64 / threads_per_row perturbed copies of samples:
//   R logsumexp(z) - sum_c r[c] z[c] = sum_c r[c] (logsumexp(z) - z[c])
// Copy v belongs to entry first + v of the gradient, which has m entries per sample.

struct Params {
    rows: u32,          // copies
    columns: u32,       // m
    classes: u32,       // k
    first: u32,         // the entry of the first copy
    has_linear: u32,    // 1 if the targets have a linear part
    zero: u32,          // 0: see keep()
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<real>;       // [rows, k]
@group(0) @binding(2) var<storage, read> labels: array<u32>;        // [samples]
@group(0) @binding(3) var<storage, read> totals: array<real>;       // [samples], R
@group(0) @binding(4) var<storage, read> linear: array<real>;   // [samples, k], R onehot(label) - r
@group(0) @binding(5) var<storage, read_write> losses: array<real>; // [samples, m]

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let lane = place.lane;
    let row = group_index(place) * (GROUP / threads_per_row) + lane / threads_per_row;
    // A row past the end computes the last one again and writes nothing: every thread must reach
    // the barriers.
    let source = min(row, params.rows - 1u);
    let start = source * params.classes;
    let entry = params.first + source;
    let sample = entry / params.columns;
    let label = labels[sample];

    var largest = logits[start];
    for (var c = lane % threads_per_row; c < params.classes; c += threads_per_row) {
        largest = max(largest, logits[start + c]);
    }
    largest = row_max(lane, largest);

    var sum = real(0.0);
    for (var c = lane % threads_per_row; c < params.classes; c += threads_per_row) {
        sum += exp_accurate(logits[start + c] - largest);
    }
    sum = row_sum(lane, sum);

    let log_sum = log_accurate(sum);

    // r[c] = R 1[c = label] - linear[c].
    var loss = real(0.0);
    if (params.has_linear == 1u) {
        for (var c = lane % threads_per_row; c < params.classes; c += threads_per_row) {
            loss -= linear[sample * params.classes + c] * (log_sum + (largest - logits[start + c]));
        }
        loss = row_sum(lane, loss);
    }
    if (label != NO_LABEL) {
        loss += totals[sample] * (log_sum + (largest - logits[start + label]));
    }
    if (row < params.rows && lane % threads_per_row == 0u) {
        losses[entry] = loss;
    }
}
