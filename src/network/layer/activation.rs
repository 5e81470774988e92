//! Activations: functions of one number, one in each file.

pub(super) mod celu;
pub(super) mod elu;
pub(super) mod gelu;
pub(super) mod hardswish;
pub(super) mod hardtanh;
pub(super) mod leaky_relu;
pub(super) mod log_sigmoid;
pub(super) mod mish;
pub(super) mod relu;
pub(super) mod relu6;
pub(super) mod selu;
pub(super) mod sigmoid;
pub(super) mod silu;
pub(super) mod softplus;
pub(super) mod softsign;
pub(super) mod tanh;
