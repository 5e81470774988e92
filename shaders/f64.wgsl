// Arithmetic in f64: the type `real`, its bit layout, and the constants and series that
// functions.wgsl needs. f32.wgsl defines the same names for f32.

alias real = f64;
alias bits = u64;

const MANTISSA_BITS = 52u;
const BIAS = 1023;
const INFINITY = 0x7ff0000000000000lu;
const ONE = 0x3ff0000000000000lu;
const SQRT_HALF = 0x3fe6a09e667f3bcdlu;
const LARGEST = 1.0e308;

const LN2_HIGH = 6.93147180369123816490e-01;    // fdlibm's: n * LN2_HIGH is exact for |n| < 2^20
const LN2_LOW = 1.90821492927058770002e-10;

const EXP_MOST = 709.78271289338397;            // exp is infinite above
const EXP_LEAST = -745.2;                       // exp is 0 below
const EXPM1_LEAST = -38.0;                      // expm1 rounds to -1 below
const POWER_MOST = 53.0;                        // 2^n - 1 rounds to 2^n above

// The largest |x| for which five terms of the series of log1p are enough: the sixth is at most
// 2^-55 / 6 of the first.
const SERIES_MOST = 0.00048828125;

// Octaves of relative errors, up to 4, that the histogram resolves: more than f64 resolves.
const OCTAVES = 58u;

// Returns (exp(r) - 1 - r) / r^2 for |r| <= ln(2)/2: fourteen Taylor terms, within 2^-58 of
// exp(r) - 1.
fn expm1_tail(r: real) -> real {
    return 0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0
        + r * (1.0 / 5040.0 + r * (1.0 / 40320.0 + r * (1.0 / 362880.0 + r * (1.0 / 3628800.0
        + r * (1.0 / 39916800.0 + r * (1.0 / 479001600.0 + r * (1.0 / 6227020800.0
        + r * (1.0 / 87178291200.0))))))))))));
}

// Returns 2 atanh(s) / s - 2 with t = s^2 <= 0.03.
fn log_tail(t: real) -> real {
    return t * (2.0 / 3.0 + t * (2.0 / 5.0 + t * (2.0 / 7.0 + t * (2.0 / 9.0
        + t * (2.0 / 11.0 + t * (2.0 / 13.0 + t * (2.0 / 15.0 + t * (2.0 / 17.0
        + t * (2.0 / 19.0 + t * (2.0 / 21.0 + t * (2.0 / 23.0)))))))))));
}
