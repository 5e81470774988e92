//! CELU: x for x > 0, else `alpha` (exp(x / `alpha`) - 1).

use super::elu::Elu;
use crate::{
    error::Result,
    network::layer::{Built, Spec, pointwise::each},
};

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    let alpha = spec.settings.number("alpha", 1.0)?;
    if alpha == 0.0 {
        return Err(spec.failed("its alpha must not be 0"));
    }
    // PyTorch's backward pass takes alpha in f32, whatever the type.
    let of_width = (f64::from(alpha as f32) / alpha - 1.0).abs() / spec.dtype.unit_roundoff();
    each(
        spec,
        Elu {
            alpha,
            scale: 1.0,
            width: alpha,
            of_width,
        },
    )
}
