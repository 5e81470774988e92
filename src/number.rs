//! Numbers in JSON. JSON has no NaN and no infinities: they are the strings `"NaN"`, `"inf"` and
//! `"-inf"`.
//!
//! The modules are for `#[serde(with = "...")]`: this one for a number, the others for several.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

pub(crate) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.is_finite() {
        serializer.serialize_f64(*number)
    } else {
        serializer.collect_str(number)
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => text.parse().map_err(D::Error::custom),
    }
}

/// A number inside an option, an array or an object.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
struct Number(#[serde(with = "crate::number")] f64);

/// A number or `null`.
pub(crate) mod option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::number::Number;

    pub(crate) fn serialize<S: Serializer>(
        number: &Option<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        number.map(Number).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        let number = Option::<Number>::deserialize(deserializer)?;
        Ok(number.map(|Number(number)| number))
    }
}

/// Two numbers.
pub(crate) mod pair {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::number::Number;

    pub(crate) fn serialize<S: Serializer>(
        numbers: &[f64; 2],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        numbers.map(Number).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[f64; 2], D::Error> {
        let numbers = <[Number; 2]>::deserialize(deserializer)?;
        Ok(numbers.map(|Number(number)| number))
    }
}

/// Names and their numbers as one JSON object, in their order.
pub(crate) mod named {
    use std::fmt;

    use serde::{
        Deserializer, Serializer,
        de::{MapAccess, Visitor},
        ser::SerializeMap,
    };

    use crate::number::Number;

    pub(crate) fn serialize<S: Serializer>(
        numbers: &[(String, f64)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(numbers.len()))?;
        for (name, number) in numbers {
            map.serialize_entry(name, &Number(*number))?;
        }
        map.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, f64)>, D::Error> {
        deserializer.deserialize_map(Numbers)
    }

    struct Numbers;

    impl<'de> Visitor<'de> for Numbers {
        type Value = Vec<(String, f64)>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object of numbers")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut numbers = Vec::new();
            while let Some((name, Number(number))) = map.next_entry()? {
                numbers.push((name, number));
            }
            Ok(numbers)
        }
    }
}
