mod request;
mod response;
mod seeds;
mod stream;

use crate::{
    codec::{DecodeContext, EncodeTarget, NameTable, Sealer, WireError},
    ir::{Losses, Profile, Request, Signature},
    openai,
};

struct NoSealer;

impl Sealer for NoSealer {
    fn seal(&self, signature: &Signature<'_>, _: &str) -> String {
        format!("sealed:{}", signature.payload)
    }

    fn open(&self, _: &str) -> Option<Signature<'static>> {
        None
    }
}

const CONTEXT: DecodeContext<'_> = DecodeContext { sealer: &NoSealer, answer: "" };

fn encode(
    request: &Request<'_>,
    profile: &Profile,
    stream: bool,
) -> Result<(serde_json::Value, Vec<String>), WireError> {
    let names = NameTable::build(request, super::MAX_NAME_LEN, super::is_name_char);
    let target = EncodeTarget { model: "command-a-03-2025", profile, names: &names, stream };
    let mut losses = Losses::default();
    let encoded = super::encode_request(request, &target, &mut losses)?;
    let body = serde_json::from_slice(&encoded.body).expect("valid JSON");
    Ok((body, losses.names().map(str::to_owned).collect()))
}

/// A Chat body on its way to Cohere.
fn chat(body: &str, profile: &Profile) -> Result<(serde_json::Value, Vec<String>), WireError> {
    let request = openai::decode_request(body.as_bytes(), &CONTEXT).expect("a Chat request");
    encode(&request, profile, request.stream)
}

fn sent(body: &str) -> serde_json::Value {
    chat(body, &Profile::default()).expect("encoded").0
}

fn dropped(body: &str) -> Vec<String> {
    chat(body, &Profile::default()).expect("encoded").1
}

fn refused(body: &str) -> WireError {
    chat(body, &Profile::default()).expect_err(body)
}
