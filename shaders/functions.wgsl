// exp, expm1, log and log1p, accurate to a few ULP. WGSL's own exp is off by up to 61 ULP, and its
// log by up to a million near 1. It has no expm1 and no log1p. In f64, the functions that drivers
// accept return garbage. The reductions are fdlibm's (Sun Microsystems, 1993), the polynomials are
// plain Taylor series:
//   1. exp and expm1 split x into n ln 2 + r with |r| <= ln(2)/2, and scale the series in r by 2^n.
//   2. log splits x into 2^n (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)], and adds n ln 2 to
//      log(1 + f) = 2 atanh(f / (2 + f)).
//   3. log1p takes the log of the rounded 1 + x, and corrects for the rounding error.

// Returns v, but hides it from the compiler, so that (1 + x) - 1 is not folded to x. It needs a
// uniform: a bitcast alone, an override or a constant does not stop every compiler.
fn keep(v: real) -> real {
    return bitcast<real>(bitcast<bits>(v) ^ bits(params.zero));
}

const LOG2_E = 1.4426950408889634;

// Returns v 2^n, for n up to twice the exponent of a normal value. Each of the two factors is
// normal.
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

// Returns log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)].
fn log1p_reduced(f: real) -> real {
    let s = f / (2.0 + f);
    let half_square = 0.5 * f * f;
    return f - (half_square - s * (half_square + log_tail(s * s)));
}

// Returns log(x) + correction, for a normal positive x and a correction much smaller than log(x).
fn log_corrected(x: real, correction: real) -> real {
    let all = bitcast<bits>(x);
    // The biased exponent that leaves the significand in [sqrt(1/2), sqrt(2)).
    let n = (all + (ONE - SQRT_HALF)) >> MANTISSA_BITS;
    let f = bitcast<real>(all + ONE - (n << MANTISSA_BITS)) - 1.0;
    let e = real(i32(n) - BIAS);
    return e * LN2_HIGH + (log1p_reduced(f) + (correction + e * LN2_LOW));
}

// Returns log(x) for a normal positive x.
fn log_accurate(x: real) -> real {
    return log_corrected(x, 0.0);
}

fn log1p_accurate(x: real) -> real {
    if (x > -0.29289321 && x < 0.41421356) {
        return log1p_reduced(x);
    }
    if (!(x < LARGEST)) {
        return infinity();
    }
    let u = keep(1.0 + x);
    // The part of the smaller of 1 and x that the sum lost to rounding.
    let lost = select(x - keep(u - 1.0), 1.0 - keep(u - x), x > 1.0);
    return log_corrected(u, lost / u);
}

// Returns log1p(step v) / step. The result does not underflow where step v does.
fn log1p_per_step(v: real, step: real) -> real {
    let x = step * v;
    if (abs(x) < SERIES_MOST) {
        return v - v * x * (0.5 - x * (1.0 / 3.0 - x * (0.25 - x * 0.2)));
    }
    return log1p_accurate(x) / step;
}
