//! Passthrough: a Messages body goes up as it came, but for the model's name. Beta headers, unknown fields and
//! the bytes that prompt caches are keyed by all survive.

use bytes::Bytes;

use crate::{openai, scan::RequestScan, splice::Segments};

/// Splices the upstream's name of the model into a body of `/v1/messages` or `/v1/messages/count_tokens`.
pub fn upstream_body(body: Bytes, scan: &RequestScan<'_>, model: &str) -> Segments {
    openai::renamed_body(body, scan, model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::scan;

    #[test]
    fn every_other_byte_stays() {
        let body = r#"{ "system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}],"model" : "p/m","z":1.0,"stream":true}"#;
        let scanned = scan(body.as_bytes()).expect("scanned");
        let out = upstream_body(Bytes::from(body), &scanned, "claude").concat();
        assert_eq!(String::from_utf8(out).expect("text"), body.replace("p/m", "claude"));
    }
}
