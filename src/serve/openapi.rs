//! What can be asked and what is answered, as OpenAPI.

use axum::Json;
use clap::{Args, Command};
use utoipa::{
    OpenApi,
    openapi::{
        OpenApi as Document, RefOr, Required,
        path::{ParameterBuilder, ParameterIn},
        schema::{ObjectBuilder, Type},
    },
};

use super::{
    api::{self, Devices, List},
    job::{Job, Progress, State},
    refusal::Refusal,
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

/// The document.
pub(super) async fn document() -> Json<Document> {
    Json(with_settings(Paths::openapi()))
}

/// The settings of a check are the flags of the command line: what reads them describes them, too.
fn with_settings(mut document: Document) -> Document {
    let command = Settings::augment_args(Command::new("check"));
    let parameters = command.get_arguments().filter_map(|arg| {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let text = ObjectBuilder::new().schema_type(Type::String);
        let parameter = ParameterBuilder::new()
            .name(arg.get_long()?)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(help))
            .schema(Some(text));
        Some(RefOr::T(parameter.build()))
    });
    let checks = document.paths.paths.get_mut("/v1/checks");
    if let Some(post) = checks.and_then(|path| path.post.as_mut()) {
        post.parameters.get_or_insert_default().extend(parameters);
    }
    document
}
