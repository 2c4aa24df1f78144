//! The machine's own identity, in the order in which each cloud's programs look for it.

use std::path::Path;

use omniroute_core::time::ManualClock;
use omniroute_providers::GrantError;
use serde_json::json;

use super::*;
use crate::{Keeper, Machine, Place};

const ROLE: &str = "<R><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                    <SessionToken>t</SessionToken><Expiration>2026-01-01T13:00:00Z</Expiration></Credentials></R>";

/// A machine with these variables, a network, and a metadata service.
async fn asked(
    provider: &str,
    cloud: CloudSpec<'_>,
    variables: &[(&str, String)],
    network: &Network,
    metadata: &Network,
) -> Result<Token, GrantError> {
    let variables: HashMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let place = Place::new(move |name| variables.get(name).cloned(), Arc::new(metadata.clone()));
    let clock = Arc::new(ManualClock::at(NOON));
    let keeper = Keeper::new(Arc::new(network.clone()), clock, Some(Machine::new(place)));
    let upstream = compiled(provider, "", CloudSpec { is_ambient: true, ..cloud });
    keeper.token(upstream.grant().expect("a grant")).await
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("text").to_owned()
}

// === AWS ===

#[tokio::test]
async fn aws_takes_the_environment_then_the_profile_then_the_web_identity() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = write(
        folder.path(),
        "config",
        "[profile deploy]\nrole_arn = arn:aws:iam::1:role/deploy\nsource_profile = base\nexternal_id = e\n\
         [profile loop]\nrole_arn = r\nsource_profile = loop2\n[profile loop2]\nrole_arn = r\nsource_profile = loop\n\
         [profile program]\ncredential_process = /bin/keys\n",
    );
    let credentials =
        write(folder.path(), "credentials", "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = b\n");
    let token = write(folder.path(), "token", "eyJ.pod.token\n");
    let files = [("AWS_CONFIG_FILE", config), ("AWS_SHARED_CREDENTIALS_FILE", credentials)];
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAENV".to_owned()), ("AWS_SECRET_ACCESS_KEY", "e".to_owned())];
    let pod = [("AWS_WEB_IDENTITY_TOKEN_FILE", token), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod".to_owned())];
    let sts = Network::new(|_| Ok((200, ROLE.into())));
    let none = Network::empty();
    let profile = |profile| CloudSpec { profile, ..CloudSpec::default() };

    let all = [&files[..], &keys, &pod].concat();
    let found = asked("bedrock", profile(""), &all, &sts, &none).await.expect("keys");
    assert_eq!((key_id(&found).as_str(), sts.count()), ("AKIAENV", 0));
    let found = asked("bedrock", profile("base"), &all, &sts, &none).await.expect("keys");
    assert_eq!((key_id(&found).as_str(), sts.count()), ("AKIABASE", 0));

    let found = asked("bedrock", profile("deploy"), &all, &sts, &none).await.expect("keys");
    assert_eq!(key_id(&found), "ASIAROLE");
    let request = sts.last();
    assert_eq!(request.uri(), "https://sts.us-east-1.amazonaws.com/");
    assert!(request.headers()["authorization"].to_str().expect("text").contains("AKIABASE/"));
    let sent = form(&request);
    assert_eq!((sent["Action"].as_str(), sent["ExternalId"].as_str()), ("AssumeRole", "e"));

    let without = [&files[..], &pod].concat();
    let found = asked("bedrock", profile(""), &without, &sts, &none).await.expect("keys");
    assert_eq!(key_id(&found), "ASIAROLE");
    let sent = form(&sts.last());
    assert_eq!(sent["Action"], "AssumeRoleWithWebIdentity");
    assert_eq!(
        (sent["WebIdentityToken"].as_str(), sent["RoleArn"].as_str()),
        ("eyJ.pod.token", "arn:aws:iam::1:role/pod")
    );
    assert!(!sts.last().headers().contains_key("authorization"));

    for (name, words) in
        [("loop", "its own source"), ("program", "does not take up"), ("nobody", "no profile `nobody`")]
    {
        let error = asked("bedrock", profile(name), &all, &sts, &none).await.expect_err(name);
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
}

#[tokio::test]
async fn aws_takes_the_container_then_the_instance_and_a_role_on_top() {
    let given = r#"{"AccessKeyId":"ASIAPOD","SecretAccessKey":"s","Token":"t","Expiration":"2026-01-01T18:00:00Z"}"#;
    let metadata = Network::new(move |request| {
        let path = request.uri().path();
        let has = |name: &str, value: &str| request.headers().get(name).is_some_and(|own| own == value);
        Ok(match (request.method().as_str(), path) {
            ("GET", "/v1/credentials") if has("authorization", "pod-token") => (200, given.to_owned()),
            ("PUT", "/latest/api/token") if has("x-aws-ec2-metadata-token-ttl-seconds", "21600") => {
                (200, "imds".into())
            }
            ("GET", "/latest/meta-data/iam/security-credentials/") if has("x-aws-ec2-metadata-token", "imds") => {
                (200, "node-role".into())
            }
            ("GET", "/latest/meta-data/iam/security-credentials/node-role")
                if has("x-aws-ec2-metadata-token", "imds") =>
            {
                (200, given.replace("ASIAPOD", "ASIANODE"))
            }
            _ => (401, String::new()),
        })
    });
    let sts = Network::new(|_| Ok((200, ROLE.into())));
    let pod = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials".to_owned()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token".to_owned()),
    ];
    let plain = CloudSpec::default();
    assert_eq!(key_id(&asked("bedrock", plain, &pod, &sts, &metadata).await.expect("keys")), "ASIAPOD");
    assert_eq!(key_id(&asked("bedrock", plain, &[], &sts, &metadata).await.expect("keys")), "ASIANODE");
    assert_eq!(sts.count(), 0);
    let role = CloudSpec { role_arn: "arn:aws:iam::2:role/models", ..plain };
    assert_eq!(key_id(&asked("bedrock", role, &[], &sts, &metadata).await.expect("keys")), "ASIAROLE");
    assert!(sts.last().headers()["authorization"].to_str().expect("text").contains("ASIANODE/"));

    let elsewhere = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://collector.example/".to_owned())];
    let before = metadata.count();
    let error = asked("bedrock", plain, &elsewhere, &sts, &metadata).await.expect_err("refused");
    assert!(error.to_string().contains("no credentials of containers"), "{error}");
    assert_eq!(metadata.count(), before);
    let error = asked("bedrock", plain, &[], &sts, &Network::empty()).await.expect_err("none");
    assert!(matches!(&error, GrantError::Machine(words) if words.contains("no AWS credentials")), "{error}");
}

// === Google ===

#[tokio::test]
async fn google_takes_the_file_then_the_metadata_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let vertex = CloudSpec { project: "p", ..CloudSpec::default() };
    let google = Network::new(|request| {
        let token = match request.uri().path() {
            "/token" => form(request)["grant_type"].rsplit(':').next().unwrap_or_default().to_owned(),
            path => path.trim_start_matches('/').to_owned(),
        };
        if token.contains("generateAccessToken") {
            assert_eq!(request.headers()["authorization"], "Bearer token-exchange");
            return Ok((200, r#"{"accessToken":"impersonated","expireTime":"2026-01-01T13:00:00Z"}"#.into()));
        }
        Ok((200, format!(r#"{{"access_token":"{token}","expires_in":3599}}"#)))
    });
    let account = json!({ "type": "service_account", "client_email": "e", "private_key": ACCOUNT_KEY });
    let user = json!({ "type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r",
        "token_uri": "https://oauth2.example/token" });
    let subject = write(folder.path(), "subject", r#"{"id_token":"eyJ.subject"}"#);
    let mut external = json!({ "type": "external_account", "audience": "//iam/p", "token_url": "https://sts.example/token",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "credential_source": { "file": subject, "format": { "type": "json", "subject_token_field_name": "id_token" } } });
    let plain_external = external.to_string();
    external["service_account_impersonation_url"] = json!("https://iam.example/v1/sa:generateAccessToken");
    let none = Network::empty();
    for (text, token, uri) in [
        (account.to_string(), "jwt-bearer", "https://oauth2.googleapis.com/token"),
        (user.to_string(), "refresh_token", "https://oauth2.example/token"),
        (plain_external, "token-exchange", "https://sts.example/token"),
        (external.to_string(), "impersonated", "https://iam.example/v1/sa:generateAccessToken"),
    ] {
        let file = [("GOOGLE_APPLICATION_CREDENTIALS", write(folder.path(), "adc.json", &text))];
        let found = asked("vertex", vertex, &file, &google, &none).await.expect("a token");
        assert_eq!((bearer(&found).as_str(), google.last().uri().to_string().as_str()), (token, uri));
    }
    let exchanged = google.uris().iter().position(|uri| uri.starts_with("https://sts.")).expect("exchanged");
    let sent = form(&google.asked.lock()[exchanged]);
    assert_eq!((sent["subject_token"].as_str(), sent["audience"].as_str()), ("eyJ.subject", "//iam/p"));

    let metadata = Network::new(|request| {
        assert_eq!(request.headers()["metadata-flavor"], "Google");
        Ok((200, r#"{"access_token":"of-the-node","expires_in":3000}"#.into()))
    });
    assert_eq!(bearer(&asked("vertex", vertex, &[], &google, &metadata).await.expect("a token")), "of-the-node");
    let program = json!({ "type": "external_account", "audience": "a", "token_url": "https://x", "subject_token_type": "t",
        "credential_source": { "executable": { "command": "/bin/x" } } });
    let file = [("GOOGLE_APPLICATION_CREDENTIALS", write(folder.path(), "program.json", &program.to_string()))];
    let error = asked("vertex", vertex, &file, &google, &none).await.expect_err("refused");
    assert!(error.to_string().contains("stands in no file"), "{error}");
    let missing = [("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent/adc.json".to_owned())];
    assert!(asked("vertex", vertex, &missing, &google, &metadata).await.is_err());
}

// === Azure ===

#[tokio::test]
async fn azure_takes_the_application_then_the_workload_then_the_managed_identity() {
    let folder = tempfile::tempdir().expect("a folder");
    let entra = Network::new(|_| Ok((200, r#"{"access_token":"entra","expires_in":3599}"#.into())));
    let metadata = Network::new(|request| {
        let query: HashMap<_, _> =
            url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
        assert_eq!(query["resource"], "https://cognitiveservices.azure.com");
        assert_eq!(request.headers()["metadata"], "true");
        Ok((200, r#"{"access_token":"managed","expires_in":"3599","expires_on":"1767272399"}"#.into()))
    });
    let plain = CloudSpec::default();
    let app = [("AZURE_TENANT_ID", "t".to_owned()), ("AZURE_CLIENT_ID", "i".to_owned())];
    let with = |name, value: String| [&app[..], &[(name, value)]].concat();
    let secret = with("AZURE_CLIENT_SECRET", "s".into());
    assert_eq!(bearer(&asked("azure-openai", plain, &secret, &entra, &metadata).await.expect("a token")), "entra");
    assert_eq!(entra.last().uri(), "https://login.microsoftonline.com/t/oauth2/v2.0/token");
    assert_eq!(form(&entra.last())["client_secret"], "s");

    let workload = with("AZURE_FEDERATED_TOKEN_FILE", write(folder.path(), "token", "eyJ.workload\n"));
    assert_eq!(bearer(&asked("azure-openai", plain, &workload, &entra, &metadata).await.expect("a token")), "entra");
    let sent = form(&entra.last());
    assert_eq!(sent["client_assertion"], "eyJ.workload");
    assert_eq!(sent["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert!(!sent.contains_key("client_secret"));

    assert_eq!(bearer(&asked("azure-openai", plain, &[], &entra, &metadata).await.expect("a token")), "managed");
    assert!(metadata.last().uri().to_string().starts_with("http://169.254.169.254/metadata/identity/oauth2/token?"));
    assert_eq!(entra.count(), 2);
}

#[tokio::test]
async fn without_the_operators_word_there_is_no_identity() {
    let keeper = Keeper::new(Arc::new(Network::empty()), Arc::new(ManualClock::at(NOON)), None);
    let upstream = compiled("bedrock", "", CloudSpec { is_ambient: true, ..CloudSpec::default() });
    let error = keeper.token(upstream.grant().expect("a grant")).await.expect_err("refused");
    assert!(error.to_string().contains("AMBIENT_CREDENTIALS"), "{error}");
}
