//! SELU: ELU with the two constants of Klambauer et al. 2017.

use super::elu::Elu;
use crate::{
    error::Result,
    network::layer::{Built, Spec, pointwise::each},
};

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    each(
        spec,
        Elu {
            alpha: 1.673_263_242_354_377_2,
            scale: 1.050_700_987_355_480_5,
            width: 1.0,
            of_width: 0.0,
        },
    )
}
