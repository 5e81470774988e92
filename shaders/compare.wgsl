// One workgroup compares 64 columns by 256 rows of the gradient under test with the numeric one,
// and writes one record of the results.
//
// 1. A lane takes a column and judges its entries one by one: see allowance.wgsl.
// 2. It sums the error of the gradient under test, not the gradient, because the error is exact or
//    nearly so. The sums are in units of the largest |numeric| so far: see sums.wgsl.
// 3. Relative errors are counted in a histogram, in shared memory first.
// 4. The lanes combine their row sums for 16 rows at a time, and their totals at the end.

struct Params {
    rows: u32,
    columns: u32,   // of the operands, including their padding
    zero: u32,      // 0: see keep()
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> allowance: Allowance;
@group(0) @binding(2) var<storage, read> analytic: array<real>;     // [rows, columns]
// The numeric gradient and its conditioning, [rows, columns], both times the normalizer.
@group(0) @binding(3) var<storage, read> derivative: array<real>;
@group(0) @binding(4) var<storage, read> conditioning: array<real>;
@group(0) @binding(5) var<storage, read> bounds: array<real>;       // [rows, 2]: see residual.wgsl
// [blocks of rows, stripes of columns, RECORD]
@group(0) @binding(6) var<storage, read_write> records: array<real>;
@group(0) @binding(7) var<storage, read_write> histogram: array<atomic<u32>>;

// Rows whose sums are combined at a time.
const ROWS = 16u;

var<workgroup> shared_bins: array<atomic<u32>, BINS>;
var<workgroup> shared_values: array<real, ROWS * GROUP>;

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let lane = place.lane;
    let columns = arrayLength(&allowance.noise);
    let stripes = (columns + GROUP - 1u) / GROUP;
    let group = group_index(place);
    let column = group % stripes * GROUP + lane;
    let begin = group / stripes * BLOCK_ROWS;
    let record = group * RECORD;
    // False for the surplus workgroups of a two-dimensional dispatch.
    let is_there = begin < params.rows;
    for (var i = lane; i < BINS; i += GROUP) {
        atomicStore(&shared_bins[i], 0u);
    }
    workgroupBarrier();

    var sums = Sums();
    var totals = Totals();
    totals.least_detectable = LARGEST;
    for (var start = 0u; start < BLOCK_ROWS; start += ROWS) {
        for (var r = 0u; r < ROWS; r += 1u) {
            let row = begin + start + r;
            var of_row = real(0.0);
            if (column < columns && row < params.rows) {
                let here = row * params.columns;
                let a = analytic[here + column];
                let d = derivative[here + column];
                let g = d * allowance.per_normalizer + d * allowance.per_normalizer_low;
                let c = conditioning[here + column] * allowance.per_normalizer;
                let judgement = judge(column, a, g, c, bounds[2u * row], bounds[2u * row + 1u]);
                let largest = max(abs(a), abs(g));
                let rel_err = abs(a - g) / select(real(1.0), largest, largest > 0.0);
                atomicAdd(&shared_bins[bin(rel_err)], 1u);
                let next = analytic[here + (column + 1u) % columns];
                count(&totals, a, next, g, rel_err, judgement);
                add(&sums, a, g, judgement);
                of_row = judgement.tolerance * ROW_UNIT * (abs(g) * ROW_UNIT);
            }
            shared_values[r * GROUP + lane] = of_row;
        }
        workgroupBarrier();
        if (lane < ROWS && is_there) {
            var sum = real(0.0);
            for (var i = 0u; i < GROUP; i += 1u) {
                sum += shared_values[lane * GROUP + i];
            }
            records[record + OF_ROWS + start + lane] = sum;
        }
        workgroupBarrier();
    }

    var values = total_values(totals);
    for (var i = 0u; i < TOTALS; i += 1u) {
        shared_values[i * GROUP + lane] = values[i];
    }
    workgroupBarrier();
    if (!is_there) {
        return;
    }
    if (lane < TOTALS) {
        var total = shared_values[lane * GROUP];
        for (var i = 1u; i < GROUP; i += 1u) {
            let value = shared_values[lane * GROUP + i];
            if (lane < SUMMED) {
                total += value;
            } else if (lane < TOTALS - 1u) {
                total = max(total, value);
            } else {
                total = min(total, value);
            }
        }
        records[record + OF_ALL + lane] = total;
    }
    var of_column = column_values(sums);
    for (var i = 0u; i < COLUMN_SUMS; i += 1u) {
        records[record + i * GROUP + lane] = of_column[i];
    }
    for (var i = lane; i < BINS; i += GROUP) {
        let bin_count = atomicLoad(&shared_bins[i]);
        if (bin_count > 0u) {
            atomicAdd(&histogram[i], bin_count);
        }
    }
}
