//! Parsers for the values of settings. Their errors complete clap's "invalid value".

use std::{ops::Range, str::FromStr};

use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::Auto;
use crate::{scheme::Precision, tensor::Dtype};

pub(super) fn rows(text: &str) -> Result<Range<usize>, String> {
    let (first, end) = text.split_once("..").unwrap_or_default();
    match (first.parse(), end.parse()) {
        (Ok(first), Ok(end)) => Ok(first..end),
        _ => Err("expected two numbers, such as 1000..2000".to_owned()),
    }
}

pub(super) fn eps(text: &str) -> Result<Auto<f64>, &'static str> {
    if text == "auto" {
        return Ok(Auto::Auto);
    }
    let number = text.parse().map(Auto::Given);
    number.map_err(|_| "expected auto or a number, such as 1e-3")
}

pub(crate) fn number(text: &str) -> Result<f64, &'static str> {
    text.parse().map_err(|_| "expected a number, such as 1e-3")
}

pub(super) fn whole<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "expected a whole number")
}

pub(super) fn float_type() -> impl TypedValueParser<Value = Dtype> {
    PossibleValuesParser::new(["bf16", "f16", "f32", "f64"]).map(|name| {
        let dtype = name.parse();
        dtype.expect("these are names of floating-point types")
    })
}

pub(super) fn precision() -> impl TypedValueParser<Value = Auto<Precision>> {
    PossibleValuesParser::new(["auto", "f32", "f64"]).map(|name| {
        let named = Precision::from_str(&name, false);
        named.map_or(Auto::Auto, Auto::Given)
    })
}
