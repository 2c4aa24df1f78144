//! Entra's identities of machines: an application in the environment, a workload's federated token, a managed identity.
//!
//! Sources: learn.microsoft.com/azure/developer/python/sdk/authentication/credential-chains, …/entra/identity/managed-identities-azure-resources/how-to-use-vm-token.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use omniroute_core::time::UnixMillis;
use omniroute_providers::{ClientCredentials, ClientProof, Exchange, GrantError, Minted, Token};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{Place, Web, web::exchange};

const AUTHORITY: &str = "https://login.microsoftonline.com";
const INSTANCE: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

pub(crate) async fn mint(place: &Place, web: &dyn Web, scope: &str, now: UnixMillis) -> Result<Minted, GrantError> {
    let get = |name| place.variable(name);
    if let (Some(tenant), Some(client_id)) = (get("AZURE_TENANT_ID"), get("AZURE_CLIENT_ID")) {
        let proof = match (get("AZURE_FEDERATED_TOKEN_FILE"), get("AZURE_CLIENT_SECRET")) {
            (_, Some(secret)) => Some(ClientProof::InForm(Zeroizing::new(secret))),
            // Read each time: the cluster replaces it.
            (Some(file), None) => {
                Some(ClientProof::Assertion(Zeroizing::new(place.file(file).await?.trim().to_owned())))
            }
            (None, None) => None,
        };
        if let Some(proof) = proof {
            let authority = get("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
            let client = ClientCredentials {
                who: "Entra ID",
                url: format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/')),
                client_id,
                proof,
                scope: scope.to_owned(),
            };
            return exchange(web, &Exchange::ClientCredentials(client), now).await;
        }
    }
    of_managed_identity(place, scope, now).await
}

async fn of_managed_identity(place: &Place, scope: &str, now: UnixMillis) -> Result<Minted, GrantError> {
    let none = || {
        GrantError::Machine(
            "this machine has no identity of Entra ID: neither environment, workload nor managed identity".into(),
        )
    };
    let get = |name| place.variable(name);
    let app_service = get("IDENTITY_ENDPOINT").zip(get("IDENTITY_HEADER"));
    let query = {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("api-version", if app_service.is_some() { "2019-08-01" } else { "2018-02-01" });
        query.append_pair("resource", scope.trim_end_matches("/.default"));
        if let Some(client) = get("AZURE_CLIENT_ID") {
            query.append_pair("client_id", &client);
        }
        query.finish()
    };
    let request = match &app_service {
        Some((url, secret)) => Request::get(format!("{url}?{query}")).header("x-identity-header", secret),
        None => Request::get(format!("{INSTANCE}?{query}")).header("metadata", "true"),
    };
    let request =
        request.body(Bytes::new()).map_err(|error| GrantError::Machine(format!("IDENTITY_ENDPOINT: {error}")))?;
    let answer = place.metadata.send(request).await.map_err(|_| none())?;
    if !answer.status().is_success() {
        return Err(none());
    }
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let number = |name: &str| body[name].as_u64().or_else(|| body[name].as_str()?.parse().ok());
    let expires_at = match (number("expires_on"), number("expires_in")) {
        (Some(at), _) => UnixMillis(at.saturating_mul(1000)),
        (None, seconds) => now.saturating_add(Duration::from_secs(seconds.unwrap_or(3600))),
    };
    let token = body["access_token"].as_str().ok_or_else(none)?;
    Ok(Minted { token: Token::bearer(token)?, expires_at })
}
