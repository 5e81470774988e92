// Reductions over the classes of a row, shared by the kernels that take one row at a time.
// threads_per_row threads, 1 or 64, share a row. Each takes every threads_per_row-th class, and
// they combine their results in shared memory, in a fixed order.

override threads_per_row: u32 = 1u;

var<workgroup> shared_values: array<real, GROUP>;

// Returns the sum over the threads of the lane's row. Every thread of the workgroup must call it.
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

// Returns the maximum over the threads of the lane's row. Every thread of the workgroup must call
// it.
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
