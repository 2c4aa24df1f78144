use std::time::Duration;

use omniroute_core::error::{ErrorClass, GatewayError};
use serde_json::json;

use super::*;

#[test]
fn googles_errors_are_understood() {
    let quota = r#"{"error":{"code":429,"message":"You exceeded your current quota. Please retry in 9.5s.","status":"RESOURCE_EXHAUSTED","details":[
        {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"m","quotaId":"GenerateRequestsPer#ProjectPerModel-FreeTier","quotaValue":"5"}]},
        {"@type":"type.googleapis.com/google.rpc.Help","links":[{"description":"d"}]},
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"8.25s"}]}}"#;
    let (by_minute, by_day) = (quota.replace('#', "Minute"), quota.replace('#', "Day"));
    let listed = format!("[{by_minute}]");
    for (status, body, class, code, wait) in [
        (429, by_minute.as_str(), ErrorClass::RateLimited, Some("RESOURCE_EXHAUSTED"), Some(8_250)),
        (429, by_day.as_str(), ErrorClass::Payment, Some("RESOURCE_EXHAUSTED"), Some(8_250)),
        (200, listed.as_str(), ErrorClass::RateLimited, Some("RESOURCE_EXHAUSTED"), Some(8_250)),
        (
            400,
            r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#,
            ErrorClass::Unauthenticated,
            Some("API_KEY_INVALID"),
            None,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
            ErrorClass::ContextTooLong,
            Some("INVALID_ARGUMENT"),
            None,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#,
            ErrorClass::Forbidden,
            Some("FAILED_PRECONDITION"),
            None,
        ),
        (
            400,
            r#"{"error":{"message":"Unknown name","status":"INVALID_ARGUMENT"}}"#,
            ErrorClass::BadRequest,
            Some("INVALID_ARGUMENT"),
            None,
        ),
        (
            429,
            r#"{"error":{"message":"Please retry in 250ms.","status":"RESOURCE_EXHAUSTED"}}"#,
            ErrorClass::RateLimited,
            Some("RESOURCE_EXHAUSTED"),
            Some(250),
        ),
        (
            503,
            r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#,
            ErrorClass::Overloaded,
            Some("UNAVAILABLE"),
            None,
        ),
        (
            504,
            r#"{"error":{"code":504,"status":"DEADLINE_EXCEEDED"}}"#,
            ErrorClass::UpstreamTimeout,
            Some("DEADLINE_EXCEEDED"),
            None,
        ),
        (
            404,
            r#"{"error":{"message":"no model","status":"NOT_FOUND"}}"#,
            ErrorClass::NotFound,
            Some("NOT_FOUND"),
            None,
        ),
        (403, r#"{"error":"forbidden"}"#, ErrorClass::Forbidden, None, None),
        (500, "<html>", ErrorClass::Upstream, None, None),
        (502, "", ErrorClass::Upstream, None, None),
        (
            429,
            r#"{"error":{"code":"odd","message":"m","details":[7,{"violations":3,"reason":[]}]}}"#,
            ErrorClass::RateLimited,
            None,
            None,
        ),
        (
            429,
            r#"{"error":{"message":"Please retry in 1e400s","details":{"retryDelay":"-1s"}}}"#,
            ErrorClass::RateLimited,
            None,
            None,
        ),
    ] {
        let error = decode_error(status, body.as_bytes());
        assert_eq!((error.class, error.code.as_deref()), (class, code), "{body}");
        assert_eq!(error.retry_after, wait.map(Duration::from_millis), "{body}");
        assert!(!error.message.is_empty());
    }
}

#[test]
fn errors_are_written_in_googles_words() {
    for (class, status, word) in [
        (ErrorClass::BadRequest, 400, "INVALID_ARGUMENT"),
        (ErrorClass::ContextTooLong, 400, "INVALID_ARGUMENT"),
        (ErrorClass::Unauthenticated, 401, "UNAUTHENTICATED"),
        (ErrorClass::Payment, 429, "RESOURCE_EXHAUSTED"),
        (ErrorClass::Forbidden, 403, "PERMISSION_DENIED"),
        (ErrorClass::NotFound, 404, "NOT_FOUND"),
        (ErrorClass::TooLarge, 413, "INVALID_ARGUMENT"),
        (ErrorClass::RateLimited, 429, "RESOURCE_EXHAUSTED"),
        (ErrorClass::Overloaded, 503, "UNAVAILABLE"),
        (ErrorClass::UpstreamTimeout, 504, "DEADLINE_EXCEEDED"),
        (ErrorClass::Upstream, 502, "INTERNAL"),
        (ErrorClass::Internal, 500, "INTERNAL"),
    ] {
        let (code, body) = encode_error(&GatewayError::new(class, "c", "m"), "r");
        let value: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((code, &value["error"]["code"], &value["error"]["status"]), (status, &json!(status), &json!(word)));
        assert_eq!(value["error"].get("details"), None);
    }
    let error = GatewayError::new(ErrorClass::RateLimited, "too_many", "wait")
        .with_retry_after(Duration::from_millis(1_500))
        .with_param("contents.0")
        .with_hint("h");
    let (_, body) = encode_error(&error, "r1");
    assert_eq!(
        serde_json::from_slice::<Value>(&body).expect("JSON"),
        json!({"error":{"code":429,"message":"wait","status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.5s"},
            {"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"contents.0","description":"wait"}]}],
            "request_id":"r1","omniroute":{"code":"too_many","hint":"h"}}})
    );
    let understood = decode_error(429, &body);
    assert_eq!(
        (understood.class, understood.retry_after),
        (ErrorClass::RateLimited, Some(Duration::from_millis(1_500)))
    );
}
