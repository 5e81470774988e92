// The arithmetic of the kernels is f64: what shaders/f32.wgsl has for f32. A reduced argument r is at most ln(2)/2, t at most 0.03.

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

// exp is infinite above, 0 below; expm1 is -1 below; and 2^n - 1 is 2^n above.
const EXP_MOST = 709.78271289338397;
const EXP_LEAST = -745.2;
const EXPM1_LEAST = -38.0;
const POWER_MOST = 53.0;

// Where five terms of the series of log1p are enough: the sixth is at most 2^-55 / 6 of the first.
const SERIES_MOST = 0.00048828125;

// Octaves of relative errors that are told apart, up to 4.
const OCTAVES = 58u;

// (exp(r) - 1 - r) / r^2: fourteen terms, error 2^-58 of exp(r) - 1.
fn expm1_tail(r: real) -> real {
    return 0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0
        + r * (1.0 / 40320.0 + r * (1.0 / 362880.0 + r * (1.0 / 3628800.0 + r * (1.0 / 39916800.0
        + r * (1.0 / 479001600.0 + r * (1.0 / 6227020800.0 + r * (1.0 / 87178291200.0))))))))))));
}

// 2 atanh(s) / s - 2, with t = s^2.
fn log_tail(t: real) -> real {
    return t * (2.0 / 3.0 + t * (2.0 / 5.0 + t * (2.0 / 7.0 + t * (2.0 / 9.0 + t * (2.0 / 11.0 + t * (2.0 / 13.0
        + t * (2.0 / 15.0 + t * (2.0 / 17.0 + t * (2.0 / 19.0 + t * (2.0 / 21.0 + t * (2.0 / 23.0)))))))))));
}
