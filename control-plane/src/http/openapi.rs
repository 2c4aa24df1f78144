//! The head of the API document, and its last touches.

use omniroute_core::VERSION;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ComponentsBuilder, RefOr, Tag as OpenApiTag,
        path::{Operation, PathItem},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

/// Name of the session cookie.
pub const SESSION_COOKIE: &str = "auth_token";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "OmniRoute management API",
        description = "Configures and watches an OmniRoute gateway. Every route but those marked otherwise wants a \
                       session (cookie `auth_token`, from `/api/auth/login`) or `Authorization: Bearer` with an API \
                       key: scope `manage` or `admin` for everything, `<area>:read` and `<area>:write` for one \
                       of the areas `access`, `providers`, `egress`, `settings`, `usage`, `operations`. Every error has one shape, and every answer carries \
                       `x-request-id`.",
        license(name = "MIT", identifier = "MIT")
    ),
    security(("session" = []), ("bearer" = [])),
    modifiers(&Schemes)
)]
struct Head;

struct Schemes;

/// A group of routes, and a sentence about it.
pub type Tag = (&'static str, &'static str);

/// The document before any route, with the groups that its routes are in.
pub fn document(tags: &[Tag]) -> OpenApiRouter {
    let mut document = Head::openapi();
    VERSION.clone_into(&mut document.info.version);
    let tag = |(name, description): &Tag| {
        let mut tag = OpenApiTag::new(*name);
        tag.description = Some((*description).to_owned());
        tag
    };
    document.tags = Some(tags.iter().map(tag).collect());
    OpenApiRouter::with_openapi(document)
}

/// What every route answers that wants to know who asks, by status.
const OF_EVERY_GUARDED_ROUTE: [(&str, &str); 2] = [
    ("403", "The API key lacks the scope, or another website started the request"),
    ("503", "The database does not answer or cannot be written, or a master key is missing; see `Retry-After`"),
];

/// The document as it is served.
pub(super) fn render(mut document: utoipa::openapi::OpenApi) -> String {
    // One handler can serve two methods; its operations still need ids of their own.
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            operation.operation_id = Some(operation_id(method, path));
            add_refusals(operation);
        }
    }
    document.to_json().unwrap_or_default()
}

/// Adds what the guard in front of a route answers, in the shape of the 401 that the route names. What the route itself says of
/// such a status stays.
fn add_refusals(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    let Some(RefOr::T(unauthenticated)) = responses.get("401").cloned() else { return };
    for (status, description) in OF_EVERY_GUARDED_ROUTE {
        responses.entry(status.to_owned()).or_insert_with(|| {
            let mut refusal = unauthenticated.clone();
            description.clone_into(&mut refusal.description);
            RefOr::T(refusal)
        });
    }
}

fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| format!("{id}_{word}"))
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", item.get.as_mut()),
        ("put", item.put.as_mut()),
        ("post", item.post.as_mut()),
        ("patch", item.patch.as_mut()),
        ("delete", item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(name, operation)| operation.map(|operation| (name, operation)))
}

// === impl Schemes ===

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let session = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(SESSION_COOKIE)));
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        let components = document.components.get_or_insert_with(|| ComponentsBuilder::new().build());
        components.add_security_scheme("session", session);
        components.add_security_scheme("bearer", bearer);
    }
}
