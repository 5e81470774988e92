//! The OpenAPI document against the running service.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::{
    fixtures::{ON_CPU, SLOW, large, small},
    service::Service,
};

#[test]
fn every_documented_setting_and_content_type_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &ON_CPU);
    let document = service.get("/openapi.json").json();
    let small = small(folder.path());
    let post = &document["paths"]["/v1/checks"]["post"];
    let mut names = Vec::new();
    for parameter in post["parameters"].as_array().unwrap() {
        let (name, schema) = (&parameter["name"].as_str().unwrap(), &parameter["schema"]);
        let value = match schema["type"].as_str().unwrap() {
            "array" => &schema["items"],
            _ => schema,
        };
        let values = match (&value["enum"], value["type"].as_str().unwrap()) {
            (Value::Array(values), "string") => {
                let values = values.iter().map(|value| value.as_str().unwrap());
                values.collect()
            }
            (_, "string") if *name == "wrt" => vec!["input"],
            (_, "string" | "integer") => vec!["1"],
            (_, "number") => vec!["0.5"],
            (_, other) => panic!("{other}"),
        };
        names.push(*name);
        // The file holds no network, a seed needs --sample, and "1" is no range of rows. The file's
        // weight is [k, d], and its gradient is no f64.
        let is_accepted = |value: &&&str| {
            let is_other =
                [("weight-layout", "dk"), ("computed-in", "f64")].contains(&(name, value));
            !["model", "seed", "rows"].contains(name) && !is_other
        };
        for value in values.iter().filter(is_accepted) {
            // The file holds one gradient.
            let more = if *name == "wrt" {
                "&self-test=true"
            } else {
                ""
            };
            let answer = service.post(&format!("{name}={value}{more}"), &small);
            assert!(answer.status < 300, "{name}={value}: {answer:?}");
        }
    }
    // A client that reads the schema sends no empty step and no range without ends.
    for name in ["eps", "rows"] {
        let parameters = post["parameters"].as_array().unwrap();
        let parameter = parameters.iter().find(|it| it["name"] == name);
        let pattern = parameter.unwrap()["schema"]["pattern"].as_str().unwrap();
        assert!(
            pattern.starts_with('^') && pattern.ends_with('$'),
            "{pattern}"
        );
        assert_eq!(service.post(&format!("{name}="), &small).status, 400);
    }
    let list = &document["paths"]["/v1/checks"]["get"]["parameters"];
    let cursor = list
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "cursor");
    assert_eq!(cursor.unwrap()["schema"]["minimum"], 1);
    for name in ["wait", "wrt", "label-smoothing", "scheme", "rows", "seed"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for kind in post["requestBody"]["content"].as_object().unwrap().keys() {
        let answer = service.post_with("", &small, kind);
        assert_eq!(answer.status, 202, "{kind}");
    }
}

/// Returns the part of the document that a reference names, or the value itself.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).expect(reference),
        None => value,
    }
}

#[test]
fn every_answer_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &ON_CPU);
    let document = service.get("/openapi.json").json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let response = resolve(&document, response);
                assert!(
                    !response["description"].as_str().unwrap().is_empty(),
                    "{method} {path}: {status}"
                );
                let is_problem = response["content"]
                    .get("application/problem+json")
                    .is_some();
                assert_eq!(is_problem, !status.starts_with('2'), "{method} {path}");
            }
            assert_eq!(
                operation["security"].is_array(),
                operation["responses"].get("401").is_some()
            );
        }
    }
    let is_open = |path: &str| document["paths"][path]["get"]["security"].is_null();
    assert!(is_open("/healthz") && !is_open("/metrics"));
    assert_eq!(
        document["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
}

/// Asserts that a value has the type of a schema, and no field that the schema lacks.
fn assert_fits(document: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = resolve(document, schema);
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_kind = match &schema["type"] {
        Value::Array(kinds) => kinds.contains(&kind.into()),
        one => *one == kind,
    };
    assert!(is_kind, "{place} is {value}");
    if let Some(names) = schema["enum"].as_array() {
        assert!(names.contains(value), "{place} is {value}");
    }
    for item in value.as_array().into_iter().flatten() {
        assert_fits(document, &schema["items"], item, place);
    }
    if let (Some(fields), Value::Object(properties)) = (value.as_object(), &schema["properties"]) {
        for (name, field) in fields {
            let place = format!("{place}.{name}");
            let property = properties.get(name);
            let property = property.unwrap_or_else(|| panic!("{place} is not described"));
            assert_fits(document, property, field, &place);
        }
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

/// Asserts that a schema describes exactly the fields of these answers, and requires exactly the
/// fields that all of them have.
fn assert_describes(document: &Value, name: &str, answers: &[Value]) {
    let schema = &document["components"]["schemas"][name];
    for answer in answers {
        assert_fits(document, schema, answer, name);
    }
    let some: BTreeSet<_> = answers.iter().flat_map(keys).collect();
    assert_eq!(keys(&schema["properties"]), some, "{name}");
    let every = some
        .into_iter()
        .filter(|key| answers.iter().all(|it| it.get(key).is_some()));
    let required = schema["required"].as_array().unwrap();
    let required: BTreeSet<_> = required.iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(required, every.collect(), "{name}");
}

#[test]
fn the_schemas_are_those_of_the_answers() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let service = Service::start(&data, &ON_CPU);
    let document = service.get("/openapi.json").json();
    let large = large(folder.path());

    // One job runs, with its progress. A queued one fails, since its body disappears.
    let running = service.post(SLOW, &large).id();
    service.wait_until_started(&running);
    let failing = service.post(SLOW, &large).id();
    fs::remove_file(data.join(format!("spool/{failing}.safetensors"))).unwrap();
    let progress = loop {
        let job = service.job(&running);
        assert_eq!(job["state"], "running", "{job}");
        if job.get("progress").is_some() {
            break job;
        }
    };
    let page = service.get("/v1/checks?limit=1").json();
    let cancelled = service.delete(&format!("/v1/checks/{running}")).json();
    let failed = service.wait_for(&failing);
    assert_eq!(failed["state"], "failed");
    let done = service
        .post("wait=60&name=mine", &small(folder.path()))
        .json();
    assert_eq!(done["state"], "done");

    assert_describes(&document, "Progress", &[progress["progress"].clone()]);
    assert_describes(&document, "Job", &[progress, cancelled, failed, done]);
    let all = service.get("/v1/checks").json();
    assert_describes(&document, "List", &[page, all]);
    assert_describes(&document, "Devices", &[service.get("/v1/devices").json()]);
    let refused = service.get("/v1/checks/absent").json();
    assert_describes(&document, "Refusal", &[refused]);
}
