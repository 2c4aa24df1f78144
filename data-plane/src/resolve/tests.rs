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
