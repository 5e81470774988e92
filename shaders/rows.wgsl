// What the kernels share that reduce over the classes of a row: threads_per_row threads (1 or 64) take a row, each every
// threads_per_row-th class, and meet in shared memory.

override threads_per_row: u32 = 1u;

var<workgroup> shared_values: array<real, GROUP>;

// The sum over the threads of the lane's row, in a fixed order. Every thread of the workgroup must call it.
fn row_sum(lane: u32, value: real) -> real {
    shared_values[lane] = value;
    workgroupBarrier();
    for (var half = threads_per_row / 2u; half > 0u; half /= 2u) {
        if (lane % threads_per_row < half) {
            shared_values[lane] += shared_values[lane + half];
        }
        workgroupBarrier();
    }
    let sum = shared_values[lane - lane % threads_per_row];
    workgroupBarrier();
    return sum;
}

// The largest over the threads of the lane's row. Every thread of the workgroup must call it.
fn row_max(lane: u32, value: real) -> real {
    shared_values[lane] = value;
    workgroupBarrier();
    for (var half = threads_per_row / 2u; half > 0u; half /= 2u) {
        if (lane % threads_per_row < half) {
            shared_values[lane] = max(shared_values[lane], shared_values[lane + half]);
        }
        workgroupBarrier();
    }
    let largest = shared_values[lane - lane % threads_per_row];
    workgroupBarrier();
    return largest;
}
