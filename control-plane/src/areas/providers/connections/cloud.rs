//! What `providerSpecificData` says to clouds: projects, versions, roles, identities.

use omniroute_providers::CloudSpec;
use serde_json::Value;

use crate::{http::Fields, store::records::Object};

/// The machine's own identity instead of a secret.
const AMBIENT: &str = "ambient";
const IDENTITIES: [&str; 1] = [AMBIENT];

/// Under which names each is kept, the first being ours, the others those of the vendors' programs.
const PROJECT: [&str; 4] = ["projectId", "project", "accountId", "project_id"];
const SPACE: [&str; 2] = ["spaceId", "space_id"];
const API_VERSION: [&str; 2] = ["apiVersion", "api_version"];
const ROLE: [&str; 2] = ["roleArn", "role_arn"];
const EXTERNAL_ID: [&str; 2] = ["externalId", "external_id"];
const PROFILE: [&str; 2] = ["awsProfile", "profile"];
const AUTH_URL: [&str; 1] = ["authUrl"];

const TEXTS: [&[&str]; 7] = [&PROJECT, &SPACE, &API_VERSION, &ROLE, &EXTERNAL_ID, &PROFILE, &AUTH_URL];

/// Longest of them: URLs.
const LONGEST: usize = 2000;

/// What the data says.
pub(in super::super) fn cloud_spec(data: &Object) -> CloudSpec<'_> {
    let text = |names: &[&str]| {
        let values = names.iter().filter_map(|name| data.get(*name)?.as_str()).map(str::trim);
        values.into_iter().find(|value| !value.is_empty()).unwrap_or_default()
    };
    CloudSpec {
        project: text(&PROJECT),
        space: text(&SPACE),
        api_version: text(&API_VERSION),
        role_arn: text(&ROLE),
        external_id: text(&EXTERNAL_ID),
        profile: text(&PROFILE),
        token_url: text(&AUTH_URL),
        is_ambient: is_ambient(data),
    }
}

pub(super) fn is_ambient(data: &Object) -> bool {
    data.get("identity").and_then(Value::as_str) == Some(AMBIENT)
}

/// Where the credential is exchanged, as far as the operator says so.
pub(super) fn auth_url(data: &Object) -> &str {
    cloud_spec(data).token_url
}

/// Takes them out of what was sent, so that one of a wrong type is refused.
pub(super) fn take(fields: &mut Fields, into: &mut Object) {
    for name in TEXTS.into_iter().flatten() {
        if let Some(value) = fields.nullable_text(name, 0..=LONGEST).set().filter(|value| !value.trim().is_empty()) {
            into.insert((*name).to_owned(), Value::from(value.trim()));
        }
    }
    if let Some(identity) = fields.choice("identity", &IDENTITIES) {
        into.insert("identity".into(), Value::from(identity));
    }
}
