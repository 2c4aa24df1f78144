//! Credentials of Amazon's services and the signature (SigV4) that stands for them on a request.
//!
//! A connection's secret is either an API key, which is sent as a bearer, or a pair of keys, which never leaves this
//! machine: it signs each request over method, host, path, query, time and body. Pairs are written as AWS's tools and
//! other gateways write them: `accessKeyId:secretAccessKey[:sessionToken[:region]]`, a JSON object, or lines of
//! `AWS_ACCESS_KEY_ID=…`.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http::{HeaderName, HeaderValue, Request, header};
use omniroute_core::time::UnixMillis;
use sha2::{Digest as _, Sha256};

use crate::secret_fields::SecretFields;

/// The service of model calls, in a signature's scope.
const SERVICE: &str = "bedrock";
/// Where requests go when nobody names a region.
pub(crate) const DEFAULT_REGION: &str = "us-east-1";
const LONGEST_REGION: usize = 32;

/// What a connection's secret turned out to be.
#[derive(Debug)]
pub(crate) enum AwsSecret {
    /// A bearer token.
    ApiKey,
    /// Keys to sign with, and the region that came along with them.
    Keys(Credentials, Option<String>),
}

/// The secret has the form of a pair of keys and lacks one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an access key needs its secret: `accessKeyId:secretAccessKey`, with `:sessionToken` for temporary ones")]
pub struct IncompleteKeys;

/// Signs requests to one region of a service.
#[derive(Clone, Debug)]
pub struct Signer {
    credentials: Credentials,
    service: &'static str,
    region: String,
}

/// A request could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("the request cannot be signed: {0}")]
pub struct SignError(String);

/// Tells the forms of a secret apart. What looks like none of the forms of a pair is an API key.
pub(crate) fn read_secret(secret: &str) -> Result<AwsSecret, IncompleteKeys> {
    let secret = secret.trim();
    let fields = if secret.starts_with('{') || secret.contains("AWS_ACCESS_KEY_ID") {
        of_fields(&SecretFields::read(secret).ok_or(IncompleteKeys)?)
    } else if secret.split_once(':').is_some_and(|(id, _)| is_key_id(id)) || is_temporary_or_long_term(secret) {
        let mut parts = secret.splitn(4, ':').map(|part| Some(part.trim().to_owned()));
        [0; 4].map(|_| parts.next().flatten())
    } else {
        return Ok(AwsSecret::ApiKey);
    };
    let [id, key, token, region] = fields.map(|field| field.filter(|text| !text.is_empty()));
    match (id, key) {
        (Some(id), Some(key)) => Ok(AwsSecret::Keys(Credentials::new(id, key, token, None, "connection"), region)),
        _ => Err(IncompleteKeys),
    }
}

/// Access key id, secret key, session token and region, under any of the names that are in use.
fn of_fields(fields: &SecretFields) -> [Option<String>; 4] {
    [
        ["accessKeyId", "awsAccessKeyId", "aws_access_key_id", "AWS_ACCESS_KEY_ID"].as_slice(),
        &["secretAccessKey", "awsSecretAccessKey", "aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"],
        &["sessionToken", "awsSessionToken", "aws_session_token", "AWS_SESSION_TOKEN"],
        &["region", "awsRegion", "AWS_REGION", "AWS_DEFAULT_REGION"],
    ]
    .map(|names| fields.get(names))
}

/// Ids are 16 to 128 capital letters and digits.
fn is_key_id(text: &str) -> bool {
    (16..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// The id alone, whose secret was forgotten: as a bearer it would be refused with words that do not help.
fn is_temporary_or_long_term(text: &str) -> bool {
    is_key_id(text) && (text.starts_with("AKIA") || text.starts_with("ASIA"))
}

/// A region becomes part of a host name, so it may have nothing that a label of one has not.
pub(crate) fn is_region(region: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    region.len() <= LONGEST_REGION
        && region.bytes().all(plain)
        && region.starts_with(|first: char| first.is_ascii_lowercase())
        && !region.ends_with('-')
}

/// The region in the name of one of Amazon's own hosts: `bedrock-runtime.eu-west-1.amazonaws.com`.
pub(crate) fn region_of_host(host: &str) -> Option<&str> {
    let labels = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    let looks_like_one =
        |label: &&str| is_region(label) && label.contains('-') && label.ends_with(|c: char| c.is_ascii_digit());
    labels.rsplit('.').find(looks_like_one)
}

/// Amazon's name space of a region.
pub(crate) fn domain_of(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

// === impl Signer ===

impl Signer {
    /// Of model calls.
    pub fn new(credentials: Credentials, region: String) -> Self {
        Self::of_service(SERVICE, credentials, region)
    }

    pub(crate) fn of_service(service: &'static str, credentials: Credentials, region: String) -> Self {
        Self { credentials, service, region }
    }

    /// Adds the signature's headers. `body` is everything that will be sent, piece by piece; nothing of the request that is
    /// signed may change after this: method, host, path, query, content type.
    ///
    /// # Errors
    /// When the request is none that can be signed.
    pub fn sign<'b, B>(
        &self,
        request: &mut Request<B>,
        body: impl Iterator<Item = &'b [u8]>,
        now: UnixMillis,
    ) -> Result<(), SignError> {
        let digest = body.fold(Sha256::new(), |digest, piece| digest.chain_update(piece)).finalize();
        let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(UNIX_EPOCH + Duration::from_millis(now.0))
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| SignError(error.to_string()))?
            .into();
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let signed = content_type.into_iter().map(|value| (header::CONTENT_TYPE.as_str(), value));
        let uri = request.uri().to_string();
        let signable = SignableRequest::new(request.method().as_str(), &uri, signed, SignableBody::Precomputed(hash))
            .map_err(|error| SignError(error.to_string()))?;
        let (instructions, _) = sign(signable, &params).map_err(|error| SignError(error.to_string()))?.into_parts();
        let headers = request.headers_mut();
        for (name, value) in instructions.headers() {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| SignError(error.to_string()))?;
            let mut value = HeaderValue::from_str(value).map_err(|error| SignError(error.to_string()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "AKIDEXAMPLE000000000";
    const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn keys(secret: &str) -> (String, String, Option<String>, Option<String>) {
        match read_secret(secret) {
            Ok(AwsSecret::Keys(keys, region)) => (
                keys.access_key_id().to_owned(),
                keys.secret_access_key().to_owned(),
                keys.session_token().map(str::to_owned),
                region,
            ),
            other => panic!("{secret}: {other:?}"),
        }
    }

    #[test]
    fn a_pair_is_read_in_every_form() {
        let plain = (ID.to_owned(), KEY.to_owned(), None, None);
        let full = (ID.to_owned(), KEY.to_owned(), Some("tok/en==".to_owned()), Some("eu-west-1".to_owned()));
        assert_eq!(keys(&format!("{ID}:{KEY}")), plain);
        assert_eq!(keys(&format!("{ID}:{KEY}:tok/en==:eu-west-1")), full);
        assert_eq!(keys(&format!("{ID}:{KEY}::eu-west-1")).3, full.3);
        assert_eq!(keys(&format!(r#"{{"accessKeyId":"{ID}","secretAccessKey":"{KEY}"}}"#)), plain);
        assert_eq!(
            keys(&format!(
                r#"{{"AWS_ACCESS_KEY_ID":"{ID}","AWS_SECRET_ACCESS_KEY":"{KEY}","AWS_SESSION_TOKEN":"tok/en==","AWS_REGION":"eu-west-1"}}"#
            )),
            full
        );
        assert_eq!(
            keys(&format!("export AWS_ACCESS_KEY_ID=\"{ID}\"\n AWS_SECRET_ACCESS_KEY = {KEY}\n# none\n")),
            plain
        );
    }

    #[test]
    fn half_a_pair_is_refused_and_everything_else_is_an_api_key() {
        for secret in [
            "{",
            "{}",
            r#"{"accessKeyId":"x"}"#,
            "AKIAIOSFODNN7EXAMPLE",
            "AKIAIOSFODNN7EXAMPLE:",
            "AWS_ACCESS_KEY_ID=x",
        ] {
            assert_eq!(read_secret(secret).expect_err(secret), IncompleteKeys);
        }
        for secret in
            ["ABSKQmVkcm9ja0FQSUtleS1leGFtcGxl", "bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t", "sk-a:b", "x"]
        {
            assert!(matches!(read_secret(secret), Ok(AwsSecret::ApiKey)), "{secret}");
        }
    }

    #[test]
    fn only_what_can_stand_in_a_host_name_is_a_region() {
        for region in ["us-east-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1"] {
            assert!(is_region(region), "{region}");
        }
        for region in ["", "US-EAST-1", "us.east", "a/b", "-x", "x-", "evil.example#", "1x", &"a".repeat(33)] {
            assert!(!is_region(region), "{region}");
        }
        assert_eq!(region_of_host("bedrock-runtime.eu-west-1.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(region_of_host("vpce-0a-1.bedrock-runtime.us-east-1.vpce.amazonaws.com"), Some("us-east-1"));
        assert_eq!(region_of_host("bedrock.example"), None);
    }

    /// The example of AWS's documentation on signing, "GET ListUsers", with this service's name in its scope, checked
    /// against a calculation by hand with HMAC-SHA256.
    #[test]
    fn the_signature_covers_path_time_and_body() {
        let signer = Signer::new(Credentials::new(ID, KEY, Some("token".into()), None, "test"), "us-east-1".into());
        let signed = |body: &[u8], seconds: u64| {
            let mut request =
                Request::post("https://bedrock-runtime.us-east-1.amazonaws.com/model/a.b-v1%3A0/converse")
                    .header("content-type", "application/json")
                    .body(())
                    .expect("a request");
            signer.sign(&mut request, std::iter::once(body), UnixMillis(seconds * 1000)).expect("signed");
            request
        };
        let request = signed(b"{}", 1_440_938_160);
        assert_eq!(request.headers()["x-amz-date"], "20150830T123600Z");
        assert_eq!(request.headers()["x-amz-security-token"], "token");
        let authorization = request.headers()["authorization"].to_str().expect("text").to_owned();
        let expected = by_hand(b"{}");
        assert_eq!(
            authorization,
            format!(
                "AWS4-HMAC-SHA256 Credential={ID}/20150830/us-east-1/bedrock/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature={expected}"
            )
        );
        assert!(request.headers()["authorization"].is_sensitive());
        assert!(!authorization.contains(KEY));
        assert_ne!(signed(b"{ }", 1_440_938_160).headers()["authorization"], authorization.as_str());
        assert_ne!(signed(b"{}", 1_440_938_161).headers()["authorization"], authorization.as_str());
    }

    /// The algorithm of AWS's documentation, step by step.
    fn by_hand(body: &[u8]) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let hash = |bytes: &[u8]| hex(&Sha256::digest(bytes));
        let mac = |key: &[u8], text: &str| hmac_sha256(key, text.as_bytes());
        // The path as it is sent is encoded once more.
        let canonical = format!(
            "POST\n/model/a.b-v1%253A0/converse\n\ncontent-type:application/json\n\
             host:bedrock-runtime.us-east-1.amazonaws.com\nx-amz-date:20150830T123600Z\nx-amz-security-token:token\n\n\
             content-type;host;x-amz-date;x-amz-security-token\n{}",
            hash(body)
        );
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/bedrock/aws4_request\n{}",
            hash(canonical.as_bytes())
        );
        let key = mac(format!("AWS4{KEY}").as_bytes(), "20150830");
        let key = mac(&mac(&mac(&key, "us-east-1"), "bedrock"), "aws4_request");
        hex(&mac(&key, &to_sign))
    }

    /// HMAC (RFC 2104) for keys of at most a block.
    fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
        const BLOCK: usize = 64;
        let padded = |with: u8| {
            let mut block = [with; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            block
        };
        let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
        Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
    }
}
