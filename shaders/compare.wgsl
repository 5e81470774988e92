// One workgroup compares 64 columns by 256 rows of the gradient under test with the numeric one, and leaves a record of what it found. An
// entry that is not clearly within what it may be off by is a suspect, for the host to compare again. A lane has a column, whose sums it
// keeps in units of the largest |numeric| so far and its powers: squares would leave the range of f32. What it sums of the gradient under
// test is its error, which is exact, or nearly.

@group(0) @binding(2) var<storage, read> analytic: array<real>;             // [rows, m]
@group(0) @binding(3) var<storage, read> derivative: array<real>;           // [rows, m], not divided by the normaliser yet
@group(0) @binding(4) var<storage, read> conditioning: array<real>;         // [rows, m], likewise
@group(0) @binding(5) var<storage, read> bounds: array<real>;               // [rows, 2]
@group(0) @binding(6) var<storage, read_write> records: array<real>;        // [blocks of rows, stripes of columns, RECORD]
@group(0) @binding(7) var<storage, read_write> histogram: array<atomic<u32>>;

const BLOCK_ROWS = 256u;
// Rows whose sums are added at a time.
const ROWS = 16u;

// A record: of each column the unit and seven sums, of each row one, and of all entries eleven.
const COLUMN_SUMS = 8u;
const OF_ROWS = COLUMN_SUMS * GROUP;
const OF_ALL = OF_ROWS + BLOCK_ROWS;
const TOTALS = 11u;
const RECORD = OF_ALL + TOTALS;

// Of a row the sum of tolerance times |numeric|, each times this.
const ROW_UNIT = 1099511627776.0;   // 2^40

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
    // A dispatch of two dimensions may have workgroups too many.
    let is_there = begin < params.rows;
    for (var i = lane; i < BINS; i += GROUP) {
        atomicStore(&shared_bins[i], 0u);
    }
    workgroupBarrier();

    var sums = Sums();
    var totals = Totals();
    totals.least = LARGEST;
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
                let held = hold(column, a, g, c, bounds[2u * row], bounds[2u * row + 1u]);
                let largest = max(abs(a), abs(g));
                let rel_err = abs(a - g) / select(real(1.0), largest, largest > 0.0);
                atomicAdd(&shared_bins[bin(rel_err)], 1u);
                count(&totals, a, analytic[here + (column + 1u) % columns], g, rel_err, held);
                add(&sums, a, g, held);
                of_row = held.tolerance * ROW_UNIT * (abs(g) * ROW_UNIT);
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

    var values = array(
        totals.rel_err, totals.undecided, totals.suspects, totals.max_rel_err, totals.severity, totals.zeroed,
        totals.flipped, totals.scaled, totals.shuffled, totals.moved, totals.least,
    );
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
            if (lane < 3u) {
                total += value;
            } else if (lane < TOTALS - 1u) {
                total = max(total, value);
            } else {
                total = min(total, value);
            }
        }
        records[record + OF_ALL + lane] = total;
    }
    var of_column = array(
        sums.unit, sums.numeric_numeric, sums.error_numeric, sums.error_error, sums.tolerance_tolerance,
        sums.tolerance_numeric, sums.noise_numeric, sums.numeric_abs,
    );
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
