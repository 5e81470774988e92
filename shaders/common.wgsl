// What every kernel shares: its parameters, its place in the dispatch, and elementary functions that are accurate to a few
// ULP, which WGSL's own are not (exp is off by up to 61 ULP, log near 1 by a million, there is no expm1 or log1p, and those of f64
// return garbage). The reductions are those of fdlibm (Sun Microsystems, 1993); the polynomials are plain Taylor series, long enough
// for their range. The type of the arithmetic, `real`, comes from f32.wgsl or f64.wgsl.

struct Params {
    steps: vec4<real>,      // offset * eps, of a scheme's quotients
    weights: vec4<real>,    // what each of them counts in the derivative
    normalizer: real,       // what the result is divided by
    law_sums: real,         // the weights of the conditioning
    law_accumulation: real,
    step_begin: u32,        // the steps that this dispatch takes:
    step_end: u32,          //   [step_begin, step_end)
    rows: u32,              // rows of the left operand in this dispatch
    columns: u32,           // m: columns of the right operand, of the perturbed matrix, of the result
    classes: u32,           // k
    first: u32,             // the first entry (row * m + column) of this dispatch
    tile_begin: u32,        // the part of the sum that this dispatch adds:
    tile_end: u32,          //   [tile_begin, tile_end)
    class_begin: u32,       // the classes that the weight, or what is made of it, is bound for:
    class_end: u32,         //   [class_begin, class_end)
    has_linear: u32,        // 1 where targets are more than a class alone
    magnitudes: u32,        // 1 where the right operand counts by its magnitude
    zero: u32,              // 0, but the compiler cannot know
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
fn keep(v: real) -> real {
    return bitcast<real>(bitcast<bits>(v) ^ bits(params.zero));
}

const LOG2_E = 1.4426950408889634;

// 2^n for n from twice the least exponent of a normal value to twice the largest, by two factors that are each normal.
fn scaled(v: real, n: i32) -> real {
    let half = n / 2;
    let a = bitcast<real>(bits(half + BIAS) << MANTISSA_BITS);
    let b = bitcast<real>(bits(n - half + BIAS) << MANTISSA_BITS);
    return v * a * b;
}

fn infinity() -> real {
    return bitcast<real>(INFINITY ^ bits(params.zero));
}

fn exp_accurate(x: real) -> real {
    if (x > EXP_MOST) {
        return infinity();
    }
    if (x < EXP_LEAST) {
        return 0.0;
    }
    let n = round(x * LOG2_E);
    let r = keep(x - n * LN2_HIGH) - n * LN2_LOW;
    return scaled(1.0 + (r + r * r * expm1_tail(r)), i32(n));
}

fn expm1_accurate(x: real) -> real {
    if (x > EXP_MOST) {
        return infinity();
    }
    if (x < EXPM1_LEAST) {
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
    if (n > POWER_MOST) {
        return scaled(1.0 + p, i32(n));
    }
    let power = scaled(1.0, i32(n));
    return power * p + keep(power - 1.0);
}

// log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)]: with s = f / (2 + f) it is 2 atanh(s).
fn log1p_reduced(f: real) -> real {
    let s = f / (2.0 + f);
    let half_square = 0.5 * f * f;
    return f - (half_square - s * (half_square + log_tail(s * s)));
}

// log of a normal positive x.
fn log_accurate(x: real) -> real {
    return log_corrected(x, 0.0);
}

// log(x) + correction, the correction being small against it.
fn log_corrected(x: real, correction: real) -> real {
    let all = bitcast<bits>(x);
    // The biased exponent that leaves the significand in [sqrt(1/2), sqrt(2)).
    let n = (all + (ONE - SQRT_HALF)) >> MANTISSA_BITS;
    let f = bitcast<real>(all + ONE - (n << MANTISSA_BITS)) - 1.0;
    let e = real(i32(n) - BIAS);
    return e * LN2_HIGH + (log1p_reduced(f) + (correction + e * LN2_LOW));
}

fn log1p_accurate(x: real) -> real {
    if (x > -0.29289321 && x < 0.41421356) {
        return log1p_reduced(x);
    }
    if (!(x < LARGEST)) {
        return infinity();
    }
    let u = keep(1.0 + x);
    // What 1 + x lost to rounding, whichever of the two is larger.
    let lost = select(x - keep(u - 1.0), 1.0 - keep(u - x), x > 1.0);
    return log_corrected(u, lost / u);
}

// log1p(step v) / step, without the underflow of step * v in the result.
fn log1p_per_step(v: real, step: real) -> real {
    let x = step * v;
    if (abs(x) < SERIES_MOST) {
        return v - v * x * (0.5 - x * (1.0 / 3.0 - x * (0.25 - x * 0.2)));
    }
    return log1p_accurate(x) / step;
}
