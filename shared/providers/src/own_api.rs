//! The adapter for providers whose API is their own: of them the address, the credential and the call that tests it are
//! known, and errors are read as far as they resemble others'.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};

use crate::{Adapter, Auth, Failure, ModelPage, OpenAiCompatible, Operation, OperationFormat, ParseModelsError};

#[derive(Clone, Copy, Debug)]
pub struct OwnApi;

impl Adapter for OwnApi {
    fn id(&self) -> &'static str {
        "own"
    }

    fn format(&self, _: Operation) -> Option<OperationFormat> {
        None
    }

    fn path(&self, _: Operation, _: &str, _: bool) -> Cow<'static, str> {
        Cow::Borrowed("")
    }

    fn path_varies(&self, _: Operation) -> bool {
        false
    }

    fn auth(&self) -> Auth {
        Auth::Bearer
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        OpenAiCompatible::Chat.classify(status, headers, body)
    }

    fn parse_models(&self, body: &[u8]) -> Result<ModelPage, ParseModelsError> {
        OpenAiCompatible::Chat.parse_models(body)
    }

    fn probe(&self) -> Operation {
        Operation::Models
    }
}
