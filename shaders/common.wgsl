// What every kernel shares: its parameters, its place in the dispatch, and elementary functions that are accurate to a few
// ULP, which WGSL's own are not (exp is off by up to 61 ULP, log near 1 by a million, and there is no expm1 or log1p).
// The reductions are those of fdlibm (Sun Microsystems, 1993); the polynomials are plain Taylor series, long enough
// for their range.

struct Params {
    rows: u32,          // rows of the left operand in this dispatch
    columns: u32,       // m: columns of the right operand, of the perturbed matrix, of the result
    classes: u32,       // k
    first: u32,         // the first entry (row * m + column) of this dispatch
    tile_begin: u32,    // the part of the sum that this dispatch adds:
    tile_end: u32,      //   [tile_begin, tile_end)
    zero: u32,          // 0, but the compiler cannot know
    step: f32,          // offset * eps
    normalizer: f32,    // what the result is divided by
    has_linear: u32,    // 1 where targets are more than a class alone
    law_sums: f32,      // the weights of the conditioning
    law_accumulation: f32,
    magnitudes: u32,    // 1 where the right operand counts by its magnitude
    class_begin: u32,   // the classes that the weight, or what is made of it, is bound for:
    class_end: u32,     //   [class_begin, class_end)
}

@group(0) @binding(0) var<uniform> params: Params;

const GROUP = 64u;

// In labels: no class stands out in the target.
const NO_LABEL = 0xffffffffu;

// An invocation's place in the dispatch, which is two-dimensional, as a dimension holds 65,535 workgroups only.
struct Place {
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
}

fn group_index(place: Place) -> u32 {
    return place.group.y * place.groups.x + place.group.x;
}

// The entry that an invocation has to itself; there may be more invocations than entries.
fn entry_index(place: Place) -> u32 {
    return group_index(place) * GROUP + place.lane;
}

// v, but opaque to the compiler: (1 + x) - 1 stays what it is. A bitcast alone, an override or a constant do not hold.
fn keep(v: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(v) ^ params.zero);
}

const LOG2_E = 1.44269504;
const LN2_HIGH = 0.693359375;       // 355/512: n * LN2_HIGH is exact for |n| < 2^14
const LN2_LOW = -2.12194440e-4;
const SQRT_HALF = 0.70710678;
const SQRT_TWO = 1.41421356;

// 2^n for n in [-252, 254], by two factors that are each normal.
fn scaled(v: f32, n: i32) -> f32 {
    let half = n / 2;
    let a = bitcast<f32>(u32(half + 127) << 23u);
    let b = bitcast<f32>(u32(n - half + 127) << 23u);
    return v * a * b;
}

fn infinity() -> f32 {
    return bitcast<f32>(0x7f800000u ^ params.zero);
}

// (exp(r) - 1 - r) / r^2 for |r| <= ln(2)/2: eight terms, error 2^-29 of exp(r) - 1.
fn expm1_tail(r: f32) -> f32 {
    return 0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0
        + r * (1.0 / 40320.0))))));
}

fn exp_accurate(x: f32) -> f32 {
    if (x > 88.7228) {
        return infinity();
    }
    if (x < -103.9) {
        return 0.0;
    }
    let n = round(x * LOG2_E);
    let r = keep(x - n * LN2_HIGH) - n * LN2_LOW;
    return scaled(1.0 + (r + r * r * expm1_tail(r)), i32(n));
}

fn expm1_accurate(x: f32) -> f32 {
    if (x > 88.7228) {
        return infinity();
    }
    if (x < -17.5) {
        return -1.0;
    }
    let n = round(x * LOG2_E);
    let high = keep(x - n * LN2_HIGH);
    let low = n * LN2_LOW;
    let r = keep(high - low);
    let error = keep(high - r) - low;
    let p = r + (r * r * expm1_tail(r) + error);
    if (n == 0.0) {
        return p;
    }
    if (n > 24.0) {
        // 1 is far below the last bit.
        return scaled(1.0 + p, i32(n));
    }
    let power = scaled(1.0, i32(n));
    return power * p + keep(power - 1.0);
}

// log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)]: with s = f / (2 + f) it is 2 atanh(s).
fn log1p_reduced(f: f32) -> f32 {
    let s = f / (2.0 + f);
    let t = s * s;
    let tail = t * (2.0 / 3.0 + t * (2.0 / 5.0 + t * (2.0 / 7.0 + t * (2.0 / 9.0 + t * (2.0 / 11.0)))));
    let half_square = 0.5 * f * f;
    return f - (half_square - s * (half_square + tail));
}

// log of a normal positive x.
fn log_accurate(x: f32) -> f32 {
    return log_corrected(x, 0.0);
}

// log(x) + correction, the correction being small against it.
fn log_corrected(x: f32, correction: f32) -> f32 {
    let bits = bitcast<u32>(x);
    // The exponent that leaves the significand in [sqrt(1/2), sqrt(2)).
    let n = i32(bits + (0x3f800000u - 0x3f3504f3u)) >> 23u;
    let exponent = n - 127;
    let f = bitcast<f32>(bits - (u32(exponent) << 23u)) - 1.0;
    let e = f32(exponent);
    return e * LN2_HIGH + (log1p_reduced(f) + (correction + e * LN2_LOW));
}

fn log1p_accurate(x: f32) -> f32 {
    if (x > SQRT_HALF - 1.0 && x < SQRT_TWO - 1.0) {
        return log1p_reduced(x);
    }
    if (!(x < 3.0e38)) {
        return infinity();
    }
    let u = keep(1.0 + x);
    // What 1 + x lost to rounding, whichever of the two is larger.
    let lost = select(x - keep(u - 1.0), 1.0 - keep(u - x), x > 1.0);
    return log_corrected(u, lost / u);
}

// log1p(step v) / step, without the underflow of step * v in the result.
fn log1p_per_step(v: f32) -> f32 {
    let x = params.step * v;
    if (abs(x) < 0.015625) {
        // Five terms of the series: the sixth is at most 2^-30 / 6 of the first.
        return v - v * x * (0.5 - x * (1.0 / 3.0 - x * (0.25 - x * 0.2)));
    }
    return log1p_accurate(x) / params.step;
}
