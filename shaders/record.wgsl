// The layout of the records that compare.wgsl writes, as in src/gpu/kernel/compare/record.rs.

// Rows that one workgroup compares.
const BLOCK_ROWS = 256u;

// A record holds the unit and seven sums of each column, one sum of each row, and the totals of
// all entries.
const COLUMN_SUMS = 8u;
const OF_ROWS = COLUMN_SUMS * GROUP;
const OF_ALL = OF_ROWS + BLOCK_ROWS;
const TOTALS = 11u;
const RECORD = OF_ALL + TOTALS;

// The totals [0, SUMMED) are sums, the last one is a minimum, the others are maxima.
const SUMMED = 3u;

// The row sums of tolerance times |numeric| are scaled by the square of this, or they would
// underflow in f32.
const ROW_UNIT = 1099511627776.0;   // 2^40

// The histogram of relative errors splits an octave into 2^BIN_BITS bins, by the leading bits of
// the significand. The first bin counts every error below the lowest octave.
const BIN_BITS = 6u;
const BINS = 1u + OCTAVES * (1u << BIN_BITS);

// Returns the bin of a relative error.
fn bin(rel_err: real) -> u32 {
    let first = ((BIAS + 2 - i32(OCTAVES)) << BIN_BITS) - 1;
    let all = i32(bitcast<bits>(rel_err) >> (MANTISSA_BITS - BIN_BITS));
    return u32(clamp(all - first, 0, i32(BINS) - 1));
}

fn column_values(sums: Sums) -> array<real, COLUMN_SUMS> {
    return array(
        sums.unit,
        sums.numeric_numeric,
        sums.error_numeric,
        sums.error_error,
        sums.tolerance_tolerance,
        sums.tolerance_numeric,
        sums.noise_numeric,
        sums.numeric_abs,
    );
}

fn total_values(totals: Totals) -> array<real, TOTALS> {
    return array(
        totals.rel_err,
        totals.undecided,
        totals.suspects,
        totals.max_rel_err,
        totals.severity,
        totals.zeroed,
        totals.flipped,
        totals.scaled,
        totals.shuffled,
        totals.shuffle_differs,
        totals.least_detectable,
    );
}
