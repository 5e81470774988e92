// The sums that a lane of compare.wgsl keeps: those of its column, and totals of all its entries.

// Sums down a column, divided by a power of `unit`, the largest |numeric| so far: plain squares
// would leave the range of f32. The power is the second, or for tolerance_tolerance the fourth.
struct Sums {
    unit: real,
    numeric_numeric: real,
    error_numeric: real,
    error_error: real,
    tolerance_tolerance: real,
    tolerance_numeric: real,
    noise_numeric: real,
    numeric_abs: real,      // divided by `unit` itself
}

// Adds an entry to the sums of its column.
fn add(sums: ptr<function, Sums>, a: real, g: real, judgement: Judgement) {
    if (abs(g) > (*sums).unit) {
        let shrink = (*sums).unit / abs(g);
        let square = shrink * shrink;
        (*sums).numeric_numeric *= square;
        (*sums).error_numeric *= square;
        (*sums).error_error *= square;
        (*sums).tolerance_tolerance *= square * square;
        (*sums).tolerance_numeric *= square;
        (*sums).noise_numeric *= square;
        (*sums).numeric_abs *= shrink;
        (*sums).unit = abs(g);
    }
    if ((*sums).unit > 0.0) {
        let x = g / (*sums).unit;
        let error = (a - g) / (*sums).unit;
        let tolerance = judgement.tolerance / (*sums).unit * abs(x);
        (*sums).numeric_numeric += x * x;
        (*sums).error_numeric += error * x;
        (*sums).error_error += error * error;
        (*sums).tolerance_tolerance += tolerance * tolerance;
        (*sums).tolerance_numeric += tolerance;
        (*sums).noise_numeric += judgement.noise / (*sums).unit * abs(x);
        (*sums).numeric_abs += abs(x);
    }
}

// Totals over all entries: three sums, seven maxima and one minimum, as in a record.
struct Totals {
    rel_err: real,
    undecided: real,
    suspects: real,
    max_rel_err: real,
    severity: real,
    zeroed: real,           // 1 if the comparison would have failed a gradient of zeros,
    flipped: real,          //   one of the other sign,
    scaled: real,           //   one that is 1.5 times as large,
    shuffled: real,         //   or one shifted by a column
    shuffle_differs: real,  // 1 if the shifted gradient differs at all
    least_detectable: real, // the smallest relative error that would have failed
}

// Adds an entry to the totals. `next` is the analytic value of the next column.
fn count(
    totals: ptr<function, Totals>,
    a: real,
    next: real,
    g: real,
    rel_err: real,
    judgement: Judgement,
) {
    let allowed = judgement.tolerance + judgement.noise;
    let error = abs(a - g);
    (*totals).rel_err += rel_err;
    (*totals).undecided += select(real(0.0), real(1.0), !judgement.is_certain);
    (*totals).suspects += select(real(0.0), real(1.0), judgement.is_suspect);
    (*totals).max_rel_err = max((*totals).max_rel_err, rel_err);
    if (error > 0.0) {
        (*totals).severity = max((*totals).severity, error / allowed);
    }
    (*totals).zeroed = select((*totals).zeroed, real(1.0), abs(g) > allowed);
    (*totals).flipped = select((*totals).flipped, real(1.0), abs(a + g) > allowed);
    (*totals).scaled = select((*totals).scaled, real(1.0), abs(1.5 * a - g) > allowed);
    (*totals).shuffled = select((*totals).shuffled, real(1.0), abs(next - g) > allowed);
    (*totals).shuffle_differs =
        select((*totals).shuffle_differs, real(1.0), next != a);
    // As Judgement::detectable of src/rounding/verdict.rs. rtol is 0 unless it is given.
    let largest = max(abs(a), abs(g));
    let per_error = abs(g) - error - allowance.rtol * largest;
    if (per_error > 0.0) {
        let least = (allowed + error + allowance.unit_roundoff * largest) / per_error;
        (*totals).least_detectable = min((*totals).least_detectable, least);
    }
}
