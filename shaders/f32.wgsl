// Arithmetic in f32: the type `real`, its bit layout, and the constants and series that
// functions.wgsl needs. f64.wgsl defines the same names for f64.

alias real = f32;
alias bits = u32;

const MANTISSA_BITS = 23u;
const BIAS = 127;
const INFINITY = 0x7f800000u;
const ONE = 0x3f800000u;
const SQRT_HALF = 0x3f3504f3u;
const LARGEST = 3.0e38;

const LN2_HIGH = 0.693359375;       // 355/512: n * LN2_HIGH is exact for |n| < 2^14
const LN2_LOW = -2.12194440e-4;

const EXP_MOST = 88.7228;           // exp is infinite above
const EXP_LEAST = -103.9;           // exp is 0 below
const EXPM1_LEAST = -17.5;          // expm1 rounds to -1 below
const POWER_MOST = 24.0;            // 2^n - 1 rounds to 2^n above

// The largest |x| for which five terms of the series of log1p are enough: the sixth is at most
// 2^-30 / 6 of the first.
const SERIES_MOST = 0.015625;

// Octaves of relative errors, up to 4, that the histogram resolves: more than f32 resolves.
const OCTAVES = 28u;

// Returns (exp(r) - 1 - r) / r^2 for |r| <= ln(2)/2: eight Taylor terms, within 2^-29 of
// exp(r) - 1.
fn expm1_tail(r: real) -> real {
    return 0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0
        + r * (1.0 / 5040.0 + r * (1.0 / 40320.0))))));
}

// Returns 2 atanh(s) / s - 2 with t = s^2 <= 0.03.
fn log_tail(t: real) -> real {
    return t * (2.0 / 3.0 + t * (2.0 / 5.0 + t * (2.0 / 7.0 + t * (2.0 / 9.0
        + t * (2.0 / 11.0)))));
}
