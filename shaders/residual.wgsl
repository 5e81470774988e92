// One workgroup computes, for 64 / threads_per_row rows of logits, the residual p - onehot(label),
// the gradient R p - r, the weights of the conditioning, and the bounds of the row.
//
// 1. The softmax is p = exp(z - max z) / sum. At the label, p - 1 is minus the sum of the other p,
//    so that a saturated row keeps its relative accuracy.
// 2. With E the logit error, rounding moves p[c] by at most
//    p[c] ((1 - p[c]) E[c] + sum_{b != c} p[b] E[b]). The sum is `elsewhere`.
// 3. RoundingModel in src/rounding.rs derives the weights of the conditioning.

struct Params {
    sums: real,             // RoundingModel: the weight of S
    alike: real,            // RoundingModel: the weight of R p
    at_max: real,           // RoundingModel: the weight of R at the largest logit
    lost_at_max: real,      // RoundingModel: the weight of R·sum there
    unit_roundoff: real,    // of the gradient under test
    accumulation: real,     // RoundingModel: the share of a magnitude in the logit error
    rows: u32,
    classes: u32,           // k
    has_linear: u32,        // 1 if the targets have a linear part
    zero: u32,              // 0: see keep()
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<real>;       // [rows, k]
@group(0) @binding(2) var<storage, read> magnitude: array<real>;    // [rows, k], A
@group(0) @binding(3) var<storage, read> labels: array<u32>;        // [rows]
@group(0) @binding(4) var<storage, read> totals: array<real>;       // [rows], R
@group(0) @binding(5) var<storage, read> linear: array<real>;   // [rows, k], R onehot(label) - r
@group(0) @binding(6) var<storage, read_write> residual: array<real>;       // [rows, k]
@group(0) @binding(7) var<storage, read_write> gradient: array<real>;       // [rows, k]
@group(0) @binding(8) var<storage, read_write> conditioning: array<real>;   // [rows, k]
// [rows, 2]: the largest magnitude of the row, and the largest logit error.
@group(0) @binding(9) var<storage, read_write> bounds: array<real>;

// Returns the logit error: the magnitude, or |z| plus a share of the magnitude.
fn logit_error(entry: u32) -> real {
    if (params.accumulation == 1.0) {
        return magnitude[entry];
    }
    return abs(logits[entry]) + params.accumulation * magnitude[entry];
}

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let lane = place.lane;
    let row = group_index(place) * (GROUP / threads_per_row) + lane / threads_per_row;
    // A row past the end computes the last one again and writes nothing: every thread must reach
    // the barriers.
    let source = min(row, params.rows - 1u);
    let start = source * params.classes;
    let label = labels[source];
    let total = totals[source];

    var largest = logits[start];
    var largest_magnitude = real(0.0);
    var largest_error = real(0.0);
    for (var c = lane % threads_per_row; c < params.classes; c += threads_per_row) {
        largest = max(largest, logits[start + c]);
        largest_magnitude = max(largest_magnitude, magnitude[start + c]);
        largest_error = max(largest_error, logit_error(start + c));
    }
    largest = row_max(lane, largest);
    largest_magnitude = row_max(lane, largest_magnitude);
    largest_error = row_max(lane, largest_error);

    var others = real(0.0);
    var others_error = real(0.0);
    for (var c = lane % threads_per_row; c < params.classes; c += threads_per_row) {
        if (c != label) {
            let e = exp_accurate(logits[start + c] - largest);
            others += e;
            others_error += e * logit_error(start + c);
        }
    }
    others = row_sum(lane, others);
    others_error = row_sum(lane, others_error);
    var sum = others;
    var all_error = others_error;
    if (label != NO_LABEL) {
        let e = exp_accurate(logits[start + label] - largest);
        sum += e;
        all_error += e * logit_error(start + label);
    }

    if (row >= params.rows) {
        return;
    }
    if (lane % threads_per_row == 0u) {
        bounds[2u * row] = largest_magnitude;
        bounds[2u * row + 1u] = largest_error;
    }
    let log_sum = log_accurate(sum);
    let of_lse = 0.5 * abs(largest + log_sum);
    let ties = 2.0 * params.unit_roundoff * largest_error;
    for (var c = lane % threads_per_row; c < params.classes; c += threads_per_row) {
        let entry = start + c;
        let e = exp_accurate(logits[entry] - largest);
        let p = e / sum;
        var not_p = 1.0 - p;
        var elsewhere = max(all_error - e * logit_error(entry), 0.0) / sum;
        var difference = p;
        if (c == label) {
            not_p = others / sum;
            elsewhere = others_error / sum;
            difference = -not_p;
        }
        var derivative = total * difference;
        if (params.has_linear == 1u) {
            derivative += linear[entry];
        }
        residual[entry] = difference;
        gradient[entry] = derivative;
        let minus_log = log_sum + (largest - logits[entry]);
        let of_p = max(not_p * logit_error(entry) + elsewhere + minus_log, of_lse);
        let of_max = (params.at_max + params.lost_at_max * sum) * abs(total);
        conditioning[entry] = params.sums * (abs(total) * p + abs(derivative))
            + abs(total) * p * (params.alike + of_p)
            + select(real(0.0), of_max, largest - logits[entry] <= ties);
    }
}
