//! The gateway's own errors in each client's dialect.

use omniroute_core::error::GatewayError;

use crate::{ir::StreamError, openai};

/// Body of an error answer in OpenAI's shape.
pub fn openai_error(error: &GatewayError, request_id: &str) -> Vec<u8> {
    openai::encode_error(error, request_id).1
}

/// One `data:` event with an error in OpenAI's shape. No `[DONE]` may follow it.
pub fn openai_stream_error(error: &GatewayError) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let error = StreamError {
        class: error.class,
        code: error.code,
        message: error.message.clone(),
        retry_after: error.retry_after,
        request_id: None,
    };
    openai::encode_stream_error(&error, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use omniroute_core::error::ErrorClass;

    use super::*;

    #[test]
    fn an_error_has_openai_words_and_our_code() {
        let error = GatewayError::new(ErrorClass::NotFound, "model_not_found", "no such model").with_hint("try m");
        let body: serde_json::Value = serde_json::from_slice(&openai_error(&error, "r1")).expect("JSON");
        assert_eq!(
            body,
            serde_json::json!({"error": {
                "message": "no such model", "type": "invalid_request_error", "param": null, "code": "model_not_found",
                "request_id": "r1", "omniroute": {"code": "model_not_found", "hint": "try m"},
            }})
        );
        let event = openai_stream_error(&error);
        assert!(event.starts_with(b"data: {\"error\":") && event.ends_with(b"}\n\n"));
    }
}
