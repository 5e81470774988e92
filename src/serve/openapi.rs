//! What can be asked and what is answered, as OpenAPI.

use std::any::TypeId;

use axum::Json;
use clap::Arg;
use utoipa::{
    OpenApi,
    openapi::{
        Content, OpenApi as Document, Ref, RefOr, Required, Response,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
        request_body::{RequestBody, RequestBodyBuilder},
        schema::{ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    api::{self, Devices, List},
    auth,
    job::{Job, Progress, State},
    refusal::{self, Refusal},
    upload,
};
use crate::settings::Settings;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "gradprobe",
        description = "Checks gradients entry by entry against a finite difference that cannot cancel"
    ),
    paths(
        api::create,
        api::list,
        api::show,
        api::watch,
        api::cancel,
        api::report_page,
        api::devices,
        api::healthy,
        api::ready,
        api::metrics,
    ),
    components(schemas(Job, State, Progress, List, Devices, Refusal))
)]
struct Paths;

/// What a token is called in the document.
const TOKEN: &str = "token";

/// The document.
pub(super) async fn document() -> Json<Document> {
    let mut document = Paths::openapi();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("Where the service has one: its --token-file"));
    components.add_security_scheme(TOKEN, SecurityScheme::Http(bearer.build()));
    for (path, item) in &mut document.paths.paths {
        let operations = [&mut item.get, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.tags = None;
            refuse(operation, auth::is_open(path));
        }
        if let Some(post) = &mut item.post {
            post.parameters.get_or_insert_default().extend(
                Settings::arguments()
                    .iter()
                    .filter_map(parameter)
                    .map(RefOr::T),
            );
            post.request_body = Some(RefOr::T(body()));
        }
    }
    Json(document)
}

/// Whatever is asked may be refused, and all that is refused looks alike.
fn refuse(operation: &mut Operation, is_open: bool) {
    let responses = &mut operation.responses.responses;
    let mut add = |status: &str, description| {
        let response = RefOr::T(Response::new(description));
        responses.insert(status.to_owned(), response);
    };
    add(
        "421",
        "Asked by a page from elsewhere, or by a name that is not this machine's own",
    );
    add("default", "A fault of the service");
    if !is_open {
        add("401", "No token, or a wrong one");
        // With a token, or where the service has none, without.
        let requirements = operation.security.get_or_insert_default();
        requirements.push(SecurityRequirement::new(TOKEN, [""; 0]));
        requirements.push(SecurityRequirement::default());
    }
    for (status, response) in responses {
        let is_refusal = status.parse().map_or(true, |status: u16| status >= 400);
        if let (true, RefOr::T(response)) = (is_refusal, response) {
            let refusal = Content::new(Some(Ref::from_schema_name("Refusal")));
            let refusal = RefOr::T(refusal);
            response.content.insert(refusal::TYPE.to_owned(), refusal);
        }
    }
}

/// A setting of a check is a flag of the command line: what reads it describes it, too.
fn parameter(arg: &Arg) -> Option<Parameter> {
    let parser = arg.get_value_parser();
    let types = [
        (TypeId::of::<f64>(), Type::Number),
        (TypeId::of::<i64>(), Type::Integer),
        (TypeId::of::<u64>(), Type::Integer),
        (TypeId::of::<usize>(), Type::Integer),
    ];
    let number = types.into_iter().find(|(id, _)| parser.type_id() == *id);
    let kind = number.map_or(Type::String, |(_, kind)| kind);
    let names = arg.get_possible_values();
    let names: Vec<&str> = names.iter().map(|value| value.get_name()).collect();
    let names = Some(names).filter(|names| !names.is_empty());
    let value = ObjectBuilder::new().schema_type(kind).enum_values(names);
    let parameter = ParameterBuilder::new()
        .name(arg.get_long()?)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(arg.get_help().map(ToString::to_string));
    Some(match arg.get_value_delimiter() {
        Some(_) => parameter
            .style(Some(ParameterStyle::Form))
            .explode(Some(false))
            .schema(Some(ArrayBuilder::new().items(value)))
            .build(),
        None => parameter.schema(Some(value)).build(),
    })
}

/// Bytes, under each name that they may have.
fn body() -> RequestBody {
    let bytes = || {
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        let bytes = ObjectBuilder::new().schema_type(Type::String);
        Content::new(Some(bytes.format(Some(format))))
    };
    let body = RequestBodyBuilder::new()
        .required(Some(Required::True))
        .description(Some("A .safetensors or .npz file"));
    let body = upload::TYPES
        .iter()
        .fold(body, |body, kind| body.content(*kind, bytes()));
    body.build()
}
