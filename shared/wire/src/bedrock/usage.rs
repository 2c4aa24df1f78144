//! Usage in Bedrock's accounting: the input excludes what the cache served and what was written to it.

use crate::{object::wire_object, text::Str, usage::Usage};

wire_object! {
    pub(super) struct UsageField<'a> {
        input: u64 = lenient "inputTokens",
        output: u64 = lenient "outputTokens",
        cache_read: u64 = lenient "cacheReadInputTokens",
        cache_write: u64 = lenient "cacheWriteInputTokens",
        details: Vec<CacheDetail<'a>> = lenient "cacheDetails",
    }
}

wire_object! {
    pub(super) struct CacheDetail<'a> {
        ttl: Str<'a> = lenient "ttl",
        tokens: u64 = lenient "inputTokens",
    }
}

// === impl UsageField ===

impl UsageField<'_> {
    pub(super) fn disjoint(&self) -> Usage {
        let hour: u64 = self
            .details
            .iter()
            .flatten()
            .filter(|detail| detail.ttl.as_deref() == Some("1h"))
            .filter_map(|detail| detail.tokens)
            .fold(0, u64::saturating_add);
        // The total is what is billed: details that exceed it are cut to it.
        let hour = hour.min(self.cache_write.unwrap_or(hour));
        Usage {
            input: self.input,
            output: self.output,
            cache_read: self.cache_read,
            cache_write_5m: self.cache_write.map(|all| all - hour),
            cache_write_1h: (hour > 0).then_some(hour),
            ..Usage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(json: &str) -> Usage {
        serde_json::from_str::<UsageField<'_>>(json).expect("usage").disjoint()
    }

    #[test]
    fn cache_writes_are_split_by_how_long_they_live() {
        let all = usage(
            r#"{"inputTokens":3,"outputTokens":5,"totalTokens":108,"cacheReadInputTokens":40,"cacheWriteInputTokens":60,
                "cacheDetails":[{"ttl":"1h","inputTokens":50},{"ttl":"5m","inputTokens":10}]}"#,
        );
        assert_eq!((all.input, all.cache_read, all.output), (Some(3), Some(40), Some(5)));
        assert_eq!((all.cache_write_5m, all.cache_write_1h), (Some(10), Some(50)));
        let plain = usage(r#"{"inputTokens":3,"outputTokens":5,"cacheWriteInputTokens":7}"#);
        assert_eq!((plain.cache_write_5m, plain.cache_write_1h, plain.cache_read), (Some(7), None, None));
        let odd = usage(r#"{"cacheWriteInputTokens":5,"cacheDetails":[{"ttl":"1h","inputTokens":9}]}"#);
        assert_eq!((odd.cache_write_5m, odd.cache_write_1h), (Some(0), Some(5)));
    }
}
