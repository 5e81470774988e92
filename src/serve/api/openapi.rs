//! The OpenAPI document: templates/openapi.json, completed by the version and by the settings of a
//! check, which are flags of the command line.

use std::{any::TypeId, ops::Range, sync::LazyLock};

use axum::Json;
use clap::Arg;
use serde_json::{Value, json};

use crate::settings::{Auto, Settings};

/// The pattern of a positive number, which a client may send as a string.
const NUMBER: &str = "[0-9]+([.][0-9]+)?([eE][-+]?[0-9]{1,3})?";

static DOCUMENT: LazyLock<Value> = LazyLock::new(build);

/// Answers with the document.
pub(super) async fn document() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

/// Returns the document.
pub(super) fn build() -> Value {
    let text = include_str!("../../../templates/openapi.json");
    let mut document: Value = serde_json::from_str(text).expect("a test parses the file");
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    let parameters = document["paths"]["/v1/checks"]["post"]["parameters"].as_array_mut();
    parameters
        .expect("a test finds the parameters")
        .extend(Settings::arguments().iter().filter_map(parameter));
    document
}

/// Describes a flag of the command line as a parameter. Returns `None` for a flag without a long
/// name.
fn parameter(arg: &Arg) -> Option<Value> {
    let parser = arg.get_value_parser().type_id();
    let is = |ids: &[TypeId]| ids.iter().any(|id| parser == *id);
    let kind = if is(&[TypeId::of::<f64>()]) {
        "number"
    } else if is(&[
        TypeId::of::<i64>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
    ]) {
        "integer"
    } else {
        "string"
    };
    let mut value = json!({ "type": kind });
    if is(&[TypeId::of::<u64>(), TypeId::of::<usize>()]) {
        value["minimum"] = 0.into();
    }
    if is(&[TypeId::of::<Auto<f64>>()]) {
        value["pattern"] = format!("^(auto|{NUMBER})$").into();
    }
    if is(&[TypeId::of::<Range<usize>>()]) {
        value["pattern"] = "^[0-9]{1,18}[.][.][0-9]{1,18}$".into();
    }
    let names = arg.get_possible_values();
    if !names.is_empty() {
        value["enum"] = names.iter().map(|value| value.get_name()).collect();
    }
    let mut parameter = json!({ "name": arg.get_long()?, "in": "query", "required": false });
    if let Some(help) = arg.get_help() {
        parameter["description"] = help.to_string().into();
    }
    // Several values are one parameter, separated by commas.
    if arg.get_value_delimiter().is_some() {
        parameter["style"] = "form".into();
        parameter["explode"] = false.into();
        value = json!({ "type": "array", "items": value, "minItems": 1 });
    }
    parameter["schema"] = value;
    Some(parameter)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::serve::{
        auth,
        job::State,
        query::{DEFAULT_LIMIT, MAX_LIMIT, MAX_WAIT},
        upload,
    };

    #[test]
    fn the_limits_states_and_content_types_are_those_of_the_service() {
        let checks = &build()["paths"]["/v1/checks"];
        let wait = &checks["post"]["parameters"][0];
        assert_eq!(wait["name"], "wait");
        assert_eq!(wait["schema"]["maximum"].as_f64(), Some(MAX_WAIT));
        let limit = &checks["get"]["parameters"][2];
        assert_eq!(limit["name"], "limit");
        assert_eq!(limit["schema"]["maximum"], MAX_LIMIT);
        assert_eq!(limit["schema"]["default"], DEFAULT_LIMIT);
        let types = checks["post"]["requestBody"]["content"].as_object();
        let types: BTreeSet<_> = types.unwrap().keys().map(String::as_str).collect();
        assert_eq!(types, BTreeSet::from(upload::TYPES));
        let states = &build()["components"]["schemas"]["State"]["enum"];
        assert_eq!(*states, json!(State::ALL));
    }

    #[test]
    fn a_token_is_required_where_the_service_requires_it() {
        for (path, item) in build()["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let is_open = operation["security"].is_null();
                assert_eq!(is_open, auth::is_open(path), "{method} {path}");
            }
        }
    }
}
