//! Google's application default credentials: a file, or the metadata server.
//!
//! Sources: cloud.google.com/docs/authentication/application-default-credentials; google.aip.dev/auth/4117 on external accounts.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use omniroute_core::time::UnixMillis;
use omniroute_providers::{GrantError, Minted, Token, google_exchange};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{Place, Web, WebError, web::exchange};

const WHO: &str = "Google";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const METADATA: &str = "169.254.169.254";
const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// An identity of another issuer that Google trusts.
#[derive(Deserialize)]
struct External {
    audience: String,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: Option<String>,
    credential_source: Subject,
}

/// Where the other issuer's token is. Programs and URLs are not asked.
#[derive(Deserialize)]
struct Subject {
    file: Option<String>,
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    r#type: String,
    subject_token_field_name: Option<String>,
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: String,
}

pub(crate) async fn mint(place: &Place, web: &dyn Web, now: UnixMillis) -> Result<Minted, GrantError> {
    const USUAL: &str = ".config/gcloud/application_default_credentials.json";
    let file = match place.variable("GOOGLE_APPLICATION_CREDENTIALS") {
        Some(path) => Some(place.file(PathBuf::from(path)).await?),
        None => place.optional_file(place.home(USUAL)).await?,
    };
    let Some(text) = file.map(Zeroizing::new) else { return of_metadata(place, now).await };
    let kind: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    if kind.is_some_and(|file| file["type"] == "external_account") {
        return of_external(place, web, &text, now).await;
    }
    let own =
        google_exchange(&text).map_err(|error| GrantError::Machine(format!("Google's credentials file: {error}")))?;
    exchange(web, &own, now).await
}

async fn of_metadata(place: &Place, now: UnixMillis) -> Result<Minted, GrantError> {
    let none =
        || GrantError::Machine("this machine has no Google credentials: neither a file nor a metadata server".into());
    let host = place.variable("GCE_METADATA_HOST").unwrap_or_else(|| METADATA.to_owned());
    let request = Request::get(format!("http://{host}{TOKEN}")).header("metadata-flavor", "Google").body(Bytes::new());
    let request = request.map_err(|error| GrantError::Machine(format!("GCE_METADATA_HOST: {error}")))?;
    let answer = place.metadata.send(request).await.map_err(|_| none())?;
    if !answer.status().is_success() {
        return Err(none());
    }
    given(answer.body(), now)
}

async fn of_external(place: &Place, web: &dyn Web, text: &str, now: UnixMillis) -> Result<Minted, GrantError> {
    let fail = |why: &str| GrantError::Machine(format!("Google's credentials file: {why}"));
    let external: External =
        serde_json::from_str(text).map_err(|_| fail("is no external account whose token stands in a file"))?;
    let path = external.credential_source.file.as_deref().ok_or_else(|| fail("its token stands in no file"))?;
    let subject = Zeroizing::new(place.file(path).await?);
    let subject = match &external.credential_source.format {
        Some(format) if format.r#type == "json" => {
            let name = format.subject_token_field_name.as_deref().unwrap_or("access_token");
            let object: serde_json::Value = serde_json::from_str(&subject).unwrap_or_default();
            object[name].as_str().map(str::to_owned).ok_or_else(|| fail("its token's file has no such field"))?
        }
        _ => subject.trim().to_owned(),
    };
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("scope", SCOPE),
            ("audience", &external.audience),
            ("subject_token_type", &external.subject_token_type),
            ("subject_token", &subject),
        ])
        .finish();
    let request = Request::post(&external.token_url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Bytes::from(form));
    let exchanged = ask(web, request).await?;
    let Some(url) = external.service_account_impersonation_url else { return given(&exchanged, now) };
    let own: Given = serde_json::from_slice(&exchanged).map_err(|_| no_token())?;
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {}", own.access_token))
        .body(Bytes::from(serde_json::json!({ "scope": [SCOPE], "lifetime": "3600s" }).to_string()));
    let answer: Impersonated = serde_json::from_slice(&ask(web, request).await?).map_err(|_| no_token())?;
    let expires_at = UnixMillis::parse(&answer.expire_time).ok_or_else(no_token)?;
    Ok(Minted { token: Token::bearer(&answer.access_token)?, expires_at })
}

async fn ask(web: &dyn Web, request: http::Result<Request<Bytes>>) -> Result<Bytes, GrantError> {
    let request = request.map_err(|error| GrantError::Machine(format!("Google's credentials file: {error}")))?;
    let unavailable = |WebError(words)| GrantError::Unavailable { who: WHO, words };
    let answer = web.send(request).await.map_err(unavailable)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer.into_body());
    }
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let said = body["error_description"].as_str().or_else(|| body["error"]["message"].as_str());
    let words = said.map_or_else(|| format!("HTTP {}", status.as_u16()), str::to_owned);
    Err(match status.is_client_error() && status.as_u16() != 429 {
        true => GrantError::Refused { who: WHO, words },
        false => GrantError::Unavailable { who: WHO, words },
    })
}

fn given(body: &[u8], now: UnixMillis) -> Result<Minted, GrantError> {
    let given: Given = serde_json::from_slice(body).map_err(|_| no_token())?;
    let expires_at = now.saturating_add(Duration::from_secs(given.expires_in));
    Ok(Minted { token: Token::bearer(&given.access_token)?, expires_at })
}

fn no_token() -> GrantError {
    GrantError::Unavailable { who: WHO, words: "the answer has no token".into() }
}
