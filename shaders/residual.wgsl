// One workgroup takes 64 / threads_per_row rows and writes p - onehot(label), the derivative R p - r, the weights of the
// conditioning, and how far the row's logits may have moved. At the label p - 1 is minus the sum of the other p, so that a saturated row keeps its accuracy.

@group(0) @binding(1) var<storage, read> logits: array<real>;               // [rows, k]
@group(0) @binding(2) var<storage, read> magnitude: array<real>;            // [rows, k], A
@group(0) @binding(3) var<storage, read> labels: array<u32>;                // [rows]
@group(0) @binding(4) var<storage, read> totals: array<real>;               // [rows], R
@group(0) @binding(5) var<storage, read> linear: array<real>;               // [rows, k], R onehot(label) - r
@group(0) @binding(6) var<storage, read_write> residual: array<real>;       // [rows, k]
@group(0) @binding(7) var<storage, read_write> gradient: array<real>;       // [rows, k]
@group(0) @binding(8) var<storage, read_write> conditioning: array<real>;   // [rows, k]
@group(0) @binding(9) var<storage, read_write> bounds: array<real>;         // [rows, 2], the largest magnitude, and the largest of it that counts

// How far a logit may have moved: all that was summed, or the result and a share of that.
fn moved(entry: u32) -> real {
    if (params.law_accumulation == 1.0) {
        return magnitude[entry];
    }
    return abs(logits[entry]) + params.law_accumulation * magnitude[entry];
}

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let lane = place.lane;
    let row = group_index(place) * (GROUP / threads_per_row) + lane / threads_per_row;
    // A row past the end works on the last one and writes nothing: every thread must reach the barriers.
    let source = min(row, params.rows - 1u);
    let start = source * params.classes;
    let label = labels[source];
    let total = totals[source];

    var largest = logits[start];
    var largest_magnitude = real(0.0);
    var largest_moved = real(0.0);
    for (var c = lane % threads_per_row; c < params.classes; c += threads_per_row) {
        largest = max(largest, logits[start + c]);
        largest_magnitude = max(largest_magnitude, magnitude[start + c]);
        largest_moved = max(largest_moved, moved(start + c));
    }
    largest = row_max(lane, largest);
    largest_magnitude = row_max(lane, largest_magnitude);
    largest_moved = row_max(lane, largest_moved);

    var others = real(0.0);
    var others_moved = real(0.0);
    for (var c = lane % threads_per_row; c < params.classes; c += threads_per_row) {
        if (c != label) {
            let e = exp_accurate(logits[start + c] - largest);
            others += e;
            others_moved += e * moved(start + c);
        }
    }
    others = row_sum(lane, others);
    others_moved = row_sum(lane, others_moved);
    var sum = others;
    var all_moved = others_moved;
    if (label != NO_LABEL) {
        let e = exp_accurate(logits[start + label] - largest);
        sum += e;
        all_moved += e * moved(start + label);
    }

    if (row >= params.rows) {
        return;
    }
    if (lane % threads_per_row == 0u) {
        bounds[2u * row] = largest_magnitude;
        bounds[2u * row + 1u] = largest_moved;
    }
    let log_sum = log_accurate(sum);
    for (var c = lane % threads_per_row; c < params.classes; c += threads_per_row) {
        let entry = start + c;
        let e = exp_accurate(logits[entry] - largest);
        let p = e / sum;
        var not_p = 1.0 - p;
        var elsewhere = max(all_moved - e * moved(entry), 0.0) / sum;
        var difference = p;
        if (c == label) {
            not_p = others / sum;
            elsewhere = others_moved / sum;
            difference = -not_p;
        }
        var derivative = total * difference;
        if (params.has_linear == 1u) {
            derivative += linear[entry];
        }
        residual[entry] = difference;
        gradient[entry] = derivative;
        conditioning[entry] = params.law_sums * (total * p + abs(derivative))
            + total * p * (not_p * moved(entry) + elsewhere + log_sum + (largest - logits[entry]));
    }
}
