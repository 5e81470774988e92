// The arithmetic of the kernels is f32: what shaders/f64.wgsl has for f64. A reduced argument r is at most ln(2)/2, t at most 0.03.

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

// exp is infinite above, 0 below; expm1 is -1 below; and 2^n - 1 is 2^n above.
const EXP_MOST = 88.7228;
const EXP_LEAST = -103.9;
const EXPM1_LEAST = -17.5;
const POWER_MOST = 24.0;

// Where five terms of the series of log1p are enough: the sixth is at most 2^-30 / 6 of the first.
const SERIES_MOST = 0.015625;

// Octaves of relative errors that are told apart, up to 4.
const OCTAVES = 28u;

// (exp(r) - 1 - r) / r^2: eight terms, error 2^-29 of exp(r) - 1.
fn expm1_tail(r: real) -> real {
    return 0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0
        + r * (1.0 / 40320.0))))));
}

// 2 atanh(s) / s - 2, with t = s^2.
fn log_tail(t: real) -> real {
    return t * (2.0 / 3.0 + t * (2.0 / 5.0 + t * (2.0 / 7.0 + t * (2.0 / 9.0 + t * (2.0 / 11.0)))));
}
