use std::sync::Arc;

use super::*;
use crate::server::testing::{Resources, index_with};

const URL: &str = "http://127.0.0.1:9/v1";

fn index() -> Arc<Index> {
    index_with(|resources| {
        resources.node("mock", URL);
        resources.node("other", URL);
        resources.node("empty", URL);
        resources.connection("m2", "mock", |connection| connection.priority = 2);
        resources.connection("m1", "mock", |connection| connection.priority = 1);
        resources.connection("off", "mock", |connection| connection.is_active = false);
        resources.connection("o1", "other", |_| {});
        resources.model("mock", "gpt-4o-mini", "chat");
        resources.model("mock", "shared", "chat");
        resources.model("other", "shared", "chat");
        resources.model("other", "Qwen/Qwen3-8B", "chat");
    })
}

/// Ids of the connections and the upstream's name of the model, or the code of the error.
fn resolved(index: &Arc<Index>, caller: &Caller, model: &str) -> Result<(Vec<String>, String), &'static str> {
    let plan = resolve(index, caller, model).map_err(|error| error.code)?;
    assert_eq!(plan.requested(), model);
    Ok((plan.targets().map(|target| target.entry.id.to_string()).collect(), plan.model().to_owned()))
}

fn key(change: impl FnOnce(&mut omniroute_proto::v1::ApiKey)) -> Caller {
    let index = index_with(|resources: &mut Resources| resources.key("k2", "sk-2", change));
    Caller::Key(Arc::clone(index.key_by_id("k2").expect("the key")))
}

fn ok(ids: &[&str], model: &str) -> Result<(Vec<String>, String), &'static str> {
    Ok((ids.iter().map(|id| (*id).to_owned()).collect(), model.to_owned()))
}

#[test]
fn a_prefix_names_the_provider_and_the_rest_is_the_providers_own() {
    let index = index();
    assert_eq!(resolved(&index, &Caller::Local, "mock/gpt-4o-mini"), ok(&["m1", "m2"], "gpt-4o-mini"));
    assert_eq!(resolved(&index, &Caller::Local, "mock/not/listed"), ok(&["m1", "m2"], "not/listed"));
}

#[test]
fn a_bare_id_means_every_provider_that_lists_it() {
    let index = index();
    assert_eq!(resolved(&index, &Caller::Local, "shared"), ok(&["m1", "m2", "o1"], "shared"));
    assert_eq!(resolved(&index, &Caller::Local, "Qwen/Qwen3-8B"), ok(&["o1"], "Qwen/Qwen3-8B"));
}

#[test]
fn what_nobody_has_is_not_found_and_the_nearest_are_named() {
    let index = index();
    let error = resolve(&index, &Caller::Local, "gtp-4o-mini").err().expect("unknown");
    assert_eq!((error.code, error.param.as_deref()), ("model_not_found", Some("model")));
    assert_eq!(error.hint.as_deref(), Some("nearest: mock/gpt-4o-mini"));
    assert_eq!(resolved(&index, &Caller::Local, "nope/none"), Err("model_not_found"));
    assert_eq!(resolved(&index, &Caller::Local, "mock/"), Err("model_not_found"));
    assert_eq!(resolved(&index, &Caller::Local, "empty/x"), Err("provider_not_connected"));
    let long = "x".repeat(MAX_NAME);
    assert!(resolve(&index, &Caller::Local, &long).err().expect("unknown").message.len() < 200);
}

#[test]
fn a_name_that_can_be_no_models_is_refused_whatever_is_in_front() {
    let index = index();
    let longest = format!("mock/{}", "x".repeat(MAX_NAME - 5));
    assert!(resolved(&index, &Caller::Local, &longest).is_ok());
    assert!(resolved(&index, &Caller::Local, "mock/モデル 1").is_ok());
    let longer = format!("{longest}x");
    for name in [longer.as_str(), "mock/g\n", "mock/g\0", "mock/\u{85}", "nobody/\u{7f}"] {
        let error = resolve(&index, &Caller::Local, name).err().expect("refused");
        assert_eq!((error.code, error.param.as_deref()), ("invalid_model", Some("model")), "{name:?}");
        assert!(error.message.len() < 100, "it is not repeated");
    }
}

#[test]
fn a_key_reaches_only_its_models() {
    let index = index();
    let limited = key(|key| key.allowed_models = vec!["mock/gpt-4o-mini".into(), "other/*".into()]);
    assert!(resolved(&index, &limited, "mock/gpt-4o-mini").is_ok());
    assert_eq!(resolved(&index, &limited, "mock/shared"), Err("model_forbidden"));
    assert_eq!(resolved(&index, &limited, "shared"), ok(&["o1"], "shared"), "only as the other provider's");
    assert_eq!(resolved(&index, &limited, "gpt-4o-mini"), ok(&["m1", "m2"], "gpt-4o-mini"));
    let hint = resolve(&index, &limited, "shard").err().expect("unknown").hint.expect("a hint");
    assert_eq!(&*hint, "nearest: other/shared", "what the key may not use is not told");
}

#[test]
fn a_key_reaches_only_its_connections() {
    let index = index();
    let limited = key(|key| key.allowed_connections = vec!["m2".into()]);
    assert_eq!(resolved(&index, &limited, "mock/x"), ok(&["m2"], "x"));
    assert_eq!(resolved(&index, &limited, "shared"), ok(&["m2"], "shared"));
    assert_eq!(resolved(&index, &limited, "other/x"), Err("connection_forbidden"));
}

#[test]
fn an_alias_stands_for_a_model_and_comes_first() {
    let index = index_with(|resources| {
        resources.node("mock", URL);
        resources.connection("m1", "mock", |_| {});
        resources.model("mock", "gpt-4o-mini", "chat");
        resources.model("mock", "fast", "chat");
        resources.alias("fast", "mock/gpt-4o-mini");
        resources.alias("mini", "gpt-4o-mini");
        resources.alias("gone", "nobody/x");
        resources.alias("once", "fast");
    });
    assert_eq!(resolved(&index, &Caller::Local, "fast"), ok(&["m1"], "gpt-4o-mini"));
    assert_eq!(resolved(&index, &Caller::Local, "mini"), ok(&["m1"], "gpt-4o-mini"));
    assert_eq!(resolved(&index, &Caller::Local, "mock/fast"), ok(&["m1"], "fast"), "its own name has the prefix");
    assert_eq!(resolved(&index, &Caller::Local, "once"), ok(&["m1"], "fast"), "an alias of an alias is the model");
    assert_eq!(resolved(&index, &Caller::Local, "gone"), Err("model_not_found"));
}

#[test]
fn a_key_may_be_limited_to_an_alias_or_to_what_it_stands_for() {
    let index = index_with(|resources| {
        resources.node("mock", URL);
        resources.connection("m1", "mock", |_| {});
        resources.alias("fast", "mock/gpt-4o-mini");
        resources.alias("slow", "mock/o3");
    });
    let by_alias = key(|key| key.allowed_models = vec!["fast".into()]);
    assert_eq!(resolved(&index, &by_alias, "fast"), ok(&["m1"], "gpt-4o-mini"));
    assert_eq!(resolved(&index, &by_alias, "mock/gpt-4o-mini"), Err("model_forbidden"));
    let by_model = key(|key| key.allowed_models = vec!["mock/gpt-4o-mini".into()]);
    assert_eq!(resolved(&index, &by_model, "fast"), ok(&["m1"], "gpt-4o-mini"));
    assert_eq!(resolved(&index, &by_model, "slow"), Err("model_forbidden"));
}

#[test]
fn a_hidden_model_is_found_under_its_provider_only() {
    let index = index_with(|resources| {
        resources.node("mock", URL);
        resources.connection("m1", "mock", |_| {});
        resources.model("mock", "shown", "chat");
        resources.hidden_model("mock", "hidden");
    });
    assert_eq!(resolved(&index, &Caller::Local, "mock/hidden"), ok(&["m1"], "hidden"));
    assert_eq!(resolved(&index, &Caller::Local, "hidden"), Err("model_not_found"));
    let listed: Vec<String> = index.models().iter().map(|(_, model)| model.model.clone()).collect();
    assert_eq!(listed, ["shown"]);
}

#[test]
fn what_the_operator_adds_stands_beside_what_the_catalog_knows() {
    let index = index_with(|resources| {
        resources.connection("c1", "anthropic", |_| {});
        resources.model("anthropic", "claude-of-tomorrow", "chat");
        resources.hidden_model("anthropic", "claude-opus-4-6");
    });
    let listed: Vec<String> = index.models().iter().map(|(_, model)| model.model.clone()).collect();
    assert!(listed.contains(&"claude-of-tomorrow".to_owned()) && listed.len() > 5, "{listed:?}");
    assert!(!listed.contains(&"claude-opus-4-6".to_owned()) && listed.is_sorted(), "{listed:?}");
    assert_eq!(resolved(&index, &Caller::Local, "claude-opus-4-6"), Err("model_not_found"));
    assert!(resolved(&index, &Caller::Local, "claude-opus-4-7").is_ok());
}

#[test]
fn a_connection_that_refuses_models_without_a_price_is_not_asked_for_them() {
    let index = index_with(|resources| {
        resources.node("mock", URL);
        resources.connection("strict", "mock", |connection| connection.unpriced = "refuse".into());
        resources.price("mock", "priced");
        resources.connection("openai-1", "openai", |connection| connection.unpriced = "refuse".into());
        resources.node("mixed", URL);
        resources.connection("a", "mixed", |connection| connection.unpriced = "refuse".into());
        resources.connection("b", "mixed", |_| {});
        resources.node("own", URL);
        resources.connection("paid", "own", |connection| connection.unpriced = "refuse".into());
        resources.price("paid", "*");
    });
    assert_eq!(resolved(&index, &Caller::Local, "mock/priced"), ok(&["strict"], "priced"));
    assert_eq!(resolved(&index, &Caller::Local, "mock/other"), Err("model_unpriced"));
    assert_eq!(resolved(&index, &Caller::Local, "openai/gpt-4o-mini"), ok(&["openai-1"], "gpt-4o-mini"));
    assert_eq!(resolved(&index, &Caller::Local, "openai/unheard-of"), Err("model_unpriced"));
    assert_eq!(resolved(&index, &Caller::Local, "mixed/x"), ok(&["b"], "x"), "the other one takes it");
    assert_eq!(resolved(&index, &Caller::Local, "own/x"), ok(&["paid"], "x"), "the connection has a price for it");
    let limited = key(|key| key.allowed_connections = vec!["b".into()]);
    assert_eq!(resolved(&index, &limited, "mock/other"), Err("connection_forbidden"));
}
