// One workgroup takes 64 / threads_per_row rows and writes p - y, softmax minus one-hot target, and the weights of S + T:
// p + y + p (1-p) A. At the target p - 1 is minus the sum of the other p, so that a saturated row keeps its accuracy.

@group(0) @binding(1) var<storage, read> logits: array<f32>;                // [rows, k]
@group(0) @binding(2) var<storage, read> magnitude: array<f32>;             // [rows, k], A
@group(0) @binding(3) var<storage, read> labels: array<u32>;                // [rows]
@group(0) @binding(4) var<storage, read_write> residual: array<f32>;        // [rows, k]
@group(0) @binding(5) var<storage, read_write> conditioning: array<f32>;    // [rows, k]

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups) * (GROUP / threads_per_row) + lane / threads_per_row;
    // A row past the end works on the last one and writes nothing: every thread must reach the barriers.
    let source = min(row, params.rows - 1u);
    let start = source * params.classes;
    let label = labels[source];

    var largest = logits[start];
    for (var c = lane % threads_per_row; c < params.classes; c += threads_per_row) {
        largest = max(largest, logits[start + c]);
    }
    largest = row_max(lane, largest);

    var others = 0.0;
    for (var c = lane % threads_per_row; c < params.classes; c += threads_per_row) {
        if (c != label) {
            others += exp_accurate(logits[start + c] - largest);
        }
    }
    others = row_sum(lane, others);
    let at_target = exp_accurate(logits[start + label] - largest);
    let sum = others + at_target;

    if (row >= params.rows) {
        return;
    }
    for (var c = lane % threads_per_row; c < params.classes; c += threads_per_row) {
        var y = 0.0;
        var p = exp_accurate(logits[start + c] - largest) / sum;
        var not_p = 1.0 - p;
        residual[start + c] = p;
        if (c == label) {
            y = 1.0;
            p = at_target / sum;
            not_p = others / sum;
            residual[start + c] = -not_p;
        }
        conditioning[start + c] = p + y + p * not_p * magnitude[start + c];
    }
}
