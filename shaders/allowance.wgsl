// What an entry of the gradient may be off by, and where its error belongs in the histogram.

struct Allowance {
    per_normalizer: real,
    per_normalizer_low: real,   // what rounding left of it, or all of the numeric gradient would be off to one side
    unit_roundoff: real,        // of the gradient under test
    is_given: real,             // 1 where rtol and atol take the place of rounding, drift and floor
    rounding: real,             // times the conditioning
    drift: real,                // times |numeric|
    floor: real,
    rtol: real,
    atol: real,
    noise_by_magnitude: real,   // times the conditioning and the row's magnitude
    noise_drift: real,          // times |numeric|
    noise_floor: real,
    slack: real,                // times |numeric|: what the host's arithmetic may make of it
    noise: array<real>,         // [columns], times the conditioning
}

@group(0) @binding(1) var<storage, read> allowance: Allowance;

struct Held {
    tolerance: real,
    noise: real,
    is_suspect: bool,
    is_undecided: bool,
}

fn is_finite(v: real) -> bool {
    return (bitcast<bits>(v) & INFINITY) != INFINITY;
}

// The gradient under test, the numeric one and the conditioning; the row's largest magnitude behind a logit, and the largest that counts.
fn hold(column: u32, a: real, g: real, c: real, magnitude: real, moved: real) -> Held {
    let largest = max(abs(a), abs(g));
    let error = abs(a - g);
    // Logits that are off by as much move the softmax by as much more.
    let spread = exp_accurate(2.0 * allowance.unit_roundoff * moved);
    let rounding = allowance.rounding * spread * c + (allowance.drift * abs(g) + allowance.floor);
    var tolerance = rounding;
    if (allowance.is_given == 1.0) {
        tolerance = allowance.rtol * largest + allowance.atol;
    }
    let noise = c * (allowance.noise[column] + allowance.noise_by_magnitude * magnitude)
        + (allowance.noise_drift * abs(g) + allowance.noise_floor);
    let allowed = tolerance + noise;
    // Clearly within, whatever the host would round differently.
    let is_within = error + allowance.slack * abs(g) <= allowed * 0.984375;
    let is_certified = allowance.is_given == 0.0 || largest >= allowance.atol || error <= rounding + noise;
    return Held(
        tolerance,
        noise,
        !(is_within && is_finite(a) && is_finite(g) && is_finite(allowed)),
        !(noise <= tolerance && is_certified),
    );
}

// Bins an octave, as many as these bits of the significand tell apart; the first bin is for all that is smaller.
const BIN_BITS = 6u;
const BINS = 1u + OCTAVES * (1u << BIN_BITS);

fn bin(rel_err: real) -> u32 {
    let first = ((BIAS + 2 - i32(OCTAVES)) << BIN_BITS) - 1;
    let all = i32(bitcast<bits>(rel_err) >> (MANTISSA_BITS - BIN_BITS));
    return u32(clamp(all - first, 0, i32(BINS) - 1));
}
