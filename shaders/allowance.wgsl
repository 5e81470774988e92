// The judgement of one entry, for compare.wgsl, which binds `allowance`. It mirrors
// RowBounds::judge of src/rounding/verdict.rs; src/rounding.rs defines the terms.

// The bounds on an entry's error. src/gpu/kernel/compare/allowance.rs writes them in this order.
struct Allowance {
    per_normalizer: real,       // 1 / Z, rounded
    per_normalizer_low: real,   // the rest of 1 / Z; without it every entry would be off
    unit_roundoff: real,        // of the gradient under test
    is_given: real,             // 1 if rtol and atol replace rounding, drift and floor
    rounding: real,             // times the conditioning
    drift: real,                // times |numeric|
    floor: real,
    lost: real,                 // conditioning lost to underflow, times 1 + the row's magnitude
    rtol: real,
    atol: real,
    noise_by_magnitude: real,   // times the conditioning and the row's magnitude
    noise_drift: real,          // times |numeric|
    noise_floor: real,
    slack: real,                // times |numeric|: the host's value may differ by this much
    noise: array<real>,         // [columns], times the conditioning
}

struct Judgement {
    tolerance: real,
    noise: real,
    is_suspect: bool,   // the host must compare the entry again
    is_certain: bool,   // the bounds are tight enough to show that an entry is right
}

fn is_finite(v: real) -> bool {
    return (bitcast<bits>(v) & INFINITY) != INFINITY;
}

// Judges an entry by its analytic value a, its numeric value g, its conditioning c, and the bounds
// of its row: the largest magnitude and the largest logit error.
fn judge(column: u32, a: real, g: real, c: real, magnitude: real, logit_error: real) -> Judgement {
    let largest = max(abs(a), abs(g));
    let error = abs(a - g);
    let nonlinearity = exp_accurate(2.0 * allowance.unit_roundoff * logit_error);
    let rounding = allowance.rounding * nonlinearity * (c + allowance.lost * (1.0 + magnitude))
        + (allowance.drift * abs(g) + allowance.floor);
    var tolerance = rounding;
    if (allowance.is_given == 1.0) {
        tolerance = allowance.rtol * largest + allowance.atol;
    }
    let noise = c * (allowance.noise[column] + allowance.noise_by_magnitude * magnitude)
        + (allowance.noise_drift * abs(g) + allowance.noise_floor);
    let allowed = tolerance + noise;
    // An entry close to its bound is a suspect, because the host may round it differently.
    let is_within = error + allowance.slack * abs(g) <= allowed * 0.984375;
    let is_evident = allowance.is_given == 0.0 || largest >= allowance.atol
        || error <= rounding + noise;
    return Judgement(
        tolerance,
        noise,
        !(is_within && is_finite(a) && is_finite(g) && is_finite(allowed)),
        noise <= tolerance && is_evident,
    );
}
