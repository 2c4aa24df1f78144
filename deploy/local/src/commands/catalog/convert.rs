//! The public price table of LiteLLM (`model_prices_and_context_window.json`), in our own schema. Facts are taken, nothing else.

use std::collections::BTreeMap;

use omniroute_core::money::TokenPrice;
use omniroute_providers::models::{CAPABILITIES, Class, KnownModel, Price, Rates, Service, Variant};
use serde_json::{Map, Value};

use super::sources;

type Facts = Map<String, Value>;

/// The table's field of a class; of several the first that is there.
const FIELDS: [(&str, Class); 23] = [
    ("input_cost_per_token", Class::Input),
    ("output_cost_per_token", Class::Output),
    ("cache_read_input_token_cost", Class::CacheRead),
    ("input_cost_per_token_cache_hit", Class::CacheRead),
    ("cache_creation_input_token_cost", Class::CacheWrite),
    ("cache_creation_input_token_cost_above_1hr", Class::CacheWrite1h),
    ("output_cost_per_reasoning_token", Class::Reasoning),
    ("input_cost_per_audio_token", Class::AudioIn),
    ("output_cost_per_audio_token", Class::AudioOut),
    ("input_cost_per_image_token", Class::ImageIn),
    ("output_cost_per_image_token", Class::ImageOut),
    ("input_cost_per_second", Class::InputSecond),
    ("input_cost_per_audio_per_second", Class::InputSecond),
    ("output_cost_per_second", Class::OutputSecond),
    ("output_cost_per_video_per_second", Class::OutputSecond),
    ("input_cost_per_image", Class::InputImage),
    ("output_cost_per_image", Class::OutputImage),
    ("input_cost_per_character", Class::InputCharacter),
    ("output_cost_per_character", Class::OutputCharacter),
    ("input_cost_per_query", Class::Query),
    ("ocr_cost_per_page", Class::Page),
    ("code_interpreter_cost_per_session", Class::CodeSession),
    ("google_maps_grounding_cost_per_query", Class::MapsSearch),
];

/// How the table calls the services.
const SERVICES: [(&str, Service); 3] =
    [("_batches", Service::Batch), ("_flex", Service::Flex), ("_priority", Service::Priority)];

/// The table's field of a capability.
const CAN: [(&str, &str); 12] = [
    ("supports_function_calling", "tools"),
    ("supports_parallel_function_calling", "parallel_tools"),
    ("supports_vision", "vision"),
    ("supports_audio_input", "audio_input"),
    ("supports_video_input", "video_input"),
    ("supports_pdf_input", "pdf_input"),
    ("supports_audio_output", "audio_output"),
    ("supports_reasoning", "reasoning"),
    ("supports_response_schema", "structured_output"),
    ("supports_prompt_caching", "prompt_caching"),
    ("supports_web_search", "web_search"),
    ("supports_computer_use", "computer_use"),
];

/// The models of the table that are of our providers, in the order of the file. Of two rows for one model the first counts.
pub(super) fn models(table: &Map<String, Value>) -> Vec<KnownModel> {
    let mut models = BTreeMap::new();
    // In an order that does not depend on the table's: plain names before those of further ways to the same model.
    let mut rows: Vec<(&String, &Value)> = table.iter().collect();
    rows.sort_by_key(|(key, _)| (key.matches('/').count(), *key));
    for (key, row) in rows {
        let Some(known) = row.as_object().and_then(|row| model(table, key, row)) else { continue };
        models.entry((known.provider.clone(), known.model.clone())).or_insert(known);
    }
    models.into_values().collect()
}

fn model(table: &Map<String, Value>, key: &str, row: &Facts) -> Option<KnownModel> {
    // Another name for a row.
    let facts = match row.get("alias_of").and_then(Value::as_str) {
        Some(other) => table.get(other)?.as_object()?,
        None => row,
    };
    let source = facts.get("litellm_provider")?.as_str()?;
    let provider = sources::provider(source)?;
    let model = sources::model(key, source, provider)?;
    let kind = kind(facts.get("mode")?.as_str()?)?;
    let number = |field| facts.get(field).and_then(Value::as_u64).filter(|number| *number > 0);
    Some(KnownModel {
        provider: provider.to_owned(),
        model: model.to_owned(),
        kind: kind.to_owned(),
        context_window: number("max_input_tokens"),
        max_output_tokens: number("max_output_tokens").filter(|_| kind == "chat"),
        dimensions: number("output_vector_size"),
        can: capabilities(facts),
        retired: facts.get("deprecation_date").and_then(Value::as_str).filter(|day| is_day(day)).map(str::to_owned),
        price: price(facts),
    })
}

fn kind(mode: &str) -> Option<&'static str> {
    Some(match mode {
        "chat" | "responses" | "completion" => "chat",
        "embedding" => "embedding",
        "image_generation" | "image_edit" => "image",
        "audio_transcription" => "transcription",
        "audio_speech" => "speech",
        "rerank" => "rerank",
        "moderation" => "moderation",
        "video_generation" => "video",
        "realtime" => "realtime",
        "search" => "search",
        "ocr" => "ocr",
        _ => return None,
    })
}

fn capabilities(facts: &Facts) -> Vec<String> {
    let has = |word: &str| {
        let field = CAN.iter().find(|(_, ours)| *ours == word).map_or("", |(theirs, _)| theirs);
        facts.get(field).and_then(Value::as_bool).unwrap_or(false)
    };
    CAPABILITIES.into_iter().filter(|word| has(word)).map(str::to_owned).collect()
}

fn is_day(text: &str) -> bool {
    text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() })
}

fn price(facts: &Facts) -> Option<Price> {
    let mut rates = Rates::default();
    // By service and size; the map makes their order.
    let mut variants: BTreeMap<(Option<Service>, u64), Rates> = BTreeMap::new();
    for (class_field, class) in FIELDS {
        for (field, value) in facts {
            let Some(suffix) = field.strip_prefix(class_field) else { continue };
            let (Some(which), Some(rate)) = (variant(suffix), value.as_f64().and_then(rate)) else { continue };
            let into = if which == (None, 0) { &mut rates } else { variants.entry(which).or_default() };
            if into.get(class).is_none() {
                into.set(class, Some(rate));
            }
        }
    }
    for (above, tier) in tiers(facts) {
        let into = if above == 0 { &mut rates } else { variants.entry((None, above)).or_default() };
        for (field, class) in FIELDS {
            if into.get(class).is_none() {
                into.set(class, tier.get(field).and_then(Value::as_f64).and_then(rate));
            }
        }
    }
    // Searches in three sizes, of which a request says at most one: the one in the middle.
    let searches = facts.get("search_context_cost_per_query").and_then(Value::as_object);
    let search = searches.and_then(|sizes| sizes.get("search_context_size_medium")).and_then(Value::as_f64);
    rates.set(Class::WebSearch, search.and_then(rate));
    let files = facts.get("file_search_cost_per_1k_calls").and_then(Value::as_f64);
    rates.set(Class::FileSearch, files.and_then(|thousand| rate(thousand / 1000.0)));
    // As the class from which it would fall back anyway.
    for class in [Class::Reasoning, Class::AudioIn, Class::AudioOut, Class::ImageIn, Class::ImageOut] {
        if class.parent().and_then(|parent| rates.get(parent)) == rates.get(class) {
            rates.set(class, None);
        }
    }
    let variants = variants.into_iter().map(|((service, above), rates)| Variant { service, above, rates });
    let price = Price { rates, variants: variants.filter(|variant| !variant.rates.is_empty()).collect() };
    // What only its searches have a price for has none.
    let is_priced = price.rates.iter().any(|(class, _)| !matches!(class, Class::WebSearch | Class::MapsSearch));
    is_priced.then_some(price)
}

/// What a suffix says: `_above_200k_tokens_batches`. `None` for one that is about something else.
fn variant(suffix: &str) -> Option<(Option<Service>, u64)> {
    let (suffix, service) = SERVICES
        .iter()
        .find_map(|(word, service)| Some((suffix.strip_suffix(word)?, Some(*service))))
        .unwrap_or((suffix, None));
    if suffix.is_empty() {
        return Some((service, 0));
    }
    let thousands = suffix.strip_prefix("_above_")?.strip_suffix("k_tokens")?;
    Some((service, thousands.parse::<u64>().ok()?.checked_mul(1000)?))
}

/// Rates by length of the prompt, where the table has a list of them.
fn tiers(facts: &Facts) -> Vec<(u64, &Facts)> {
    let listed = facts.get("tiered_pricing").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(tier).collect()
}

fn tier(tier: &Value) -> Option<(u64, &Facts)> {
    let tier = tier.as_object()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of tokens")]
    let above = tier.get("range")?.as_array()?.first()?.as_f64()?.max(0.0) as u64;
    Some((above, tier))
}

/// Micro-dollars per million, out of dollars for one.
fn rate(dollars: f64) -> Option<TokenPrice> {
    TokenPrice::from_dollars_per_million(dollars * 1e6)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(table: Value) -> Vec<KnownModel> {
        models(table.as_object().expect("an object"))
    }

    #[test]
    fn a_row_becomes_a_line() {
        let table = json!({
            "sample_spec": {"litellm_provider": "one of", "mode": "one of"},
            "gemini/pro": {
                "litellm_provider": "gemini", "mode": "chat", "max_input_tokens": 1_048_576, "max_output_tokens": 65_536,
                "input_cost_per_token": 1.25e-6, "output_cost_per_token": 1e-5, "output_cost_per_reasoning_token": 1e-5,
                "cache_read_input_token_cost": 1.25e-7, "input_cost_per_token_above_200k_tokens": 2.5e-6,
                "input_cost_per_token_batches": 6.25e-7, "input_cost_per_token_above_200k_tokens_batches": 1.25e-6,
                "input_cost_per_token_ultrafast": 1, "input_cost_per_token_above_15s_interval": 1,
                "search_context_cost_per_query": {"search_context_size_medium": 0.035},
                "supports_vision": true, "supports_function_calling": true, "supports_reasoning": false,
                "deprecation_date": "2026-10-20",
            },
            "gemini/pro-latest": {"alias_of": "gemini/pro"},
            "unknown/x": {"litellm_provider": "unknown", "mode": "chat", "input_cost_per_token": 1},
        });
        let lines: Vec<String> =
            converted(table).iter().map(|known| serde_json::to_string(known).expect("JSON")).collect();
        let rest = r#""type":"chat","context_window":1048576,"max_output_tokens":65536,"can":["tools","vision"],"retired":"2026-10-20","price":{"rates":{"input":1250000,"output":10000000,"cache_read":125000,"web_search":35000000000},"variants":[{"above":200000,"rates":{"input":2500000}},{"service":"batch","rates":{"input":625000}},{"service":"batch","above":200000,"rates":{"input":1250000}}]}}"#;
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], format!(r#"{{"provider":"gemini","model":"pro",{rest}"#));
        assert_eq!(lines[1], format!(r#"{{"provider":"gemini","model":"pro-latest",{rest}"#));
    }

    #[test]
    fn tiers_that_are_listed_are_read() {
        let row = json!({"qwen": {"litellm_provider": "dashscope", "mode": "chat", "tiered_pricing": [
            {"range": [0, 32000.0], "input_cost_per_token": 1.2e-6, "output_cost_per_token": 6e-6},
            {"range": [32000.0, 128_000.0], "input_cost_per_token": 2.4e-6},
        ]}});
        let price = converted(row).remove(0).price.expect("a price");
        let rate = |class, prompt| price.rate(class, None, prompt).map(|rate| rate.0);
        assert_eq!((rate(Class::Input, 32_000), rate(Class::Input, 32_001)), (Some(1_200_000), Some(2_400_000)));
        assert_eq!(rate(Class::Output, 32_001), Some(6_000_000));
    }

    #[test]
    fn a_model_without_a_price_is_known_and_has_none() {
        let known = converted(json!({"xai/grok": {"litellm_provider": "xai", "mode": "chat"}})).remove(0);
        assert_eq!((known.price, known.context_window), (None, None));
    }
}
