//! ReLU6: x, limited to 0 and 6.

use super::hardtanh::Hardtanh;
use crate::{
    error::Result,
    network::layer::{Built, Spec, pointwise::each},
};

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    let (low, high) = (0.0, 6.0);
    each(spec, Hardtanh { low, high })
}
