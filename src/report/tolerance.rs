//! A tolerance in JSON. The drift, the shared rounding and the likeness of rows are not part of it:
//! a report read from JSON has none.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::number;
use crate::rounding::{Given, Tolerance};

#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(with = "number::option")]
    rtol: Option<f64>,
    #[serde(with = "number::option")]
    atol: Option<f64>,
    #[serde(with = "number")]
    factor: f64,
    #[serde(with = "number")]
    floor: f64,
}

pub(super) fn serialize<S: Serializer>(
    tolerance: &Tolerance,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let written = Written {
        rtol: tolerance.given.map(|given| given.rtol),
        atol: tolerance.given.map(|given| given.atol),
        factor: tolerance.rounding,
        floor: tolerance.floor,
    };
    written.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Tolerance, D::Error> {
    let written = Written::deserialize(deserializer)?;
    let given = written.rtol.zip(written.atol);
    Ok(Tolerance {
        rounding: written.factor,
        floor: written.floor,
        lost: 0.0,
        drift: 0.0,
        shared: 0.0,
        alike: 1.0,
        given: given.map(|(rtol, atol)| Given { rtol, atol }),
    })
}
