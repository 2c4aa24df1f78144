//! Models that the operator adds, hides and renames.

use http::Method;
use serde_json::{Value, json};

use crate::tests::{gateway::Gateway, provider::Provider, resources};

const PATH: &str = "/api/provider-models";

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|model| model["id"].as_str()).collect()
}

#[tokio::test]
async fn a_model_of_the_operators_own_is_not_touched_by_what_is_found() {
    let gateway = Gateway::new().await;
    let provider = Provider::start().await;
    let connection = resources::connection(&gateway, &provider.url()).await;
    let discover = format!("/api/providers/{connection}/models");
    gateway.get(&discover).await.ok(200);

    let added = json!({
        "provider": "mock0", "modelId": "my-model", "modelName": "My Model", "max_input_tokens": 8000,
        "max_output_tokens": 1000, "supportedEndpoints": ["embeddings"],
    });
    let model = gateway.post(PATH, added).await.ok(200)["model"].clone();
    assert_eq!(
        (&model["id"], &model["name"], &model["source"]),
        (&json!("my-model"), &json!("My Model"), &json!("manual"))
    );
    assert_eq!((&model["type"], &model["inputTokenLimit"]), (&json!("embedding"), &json!(8000)));
    // One that the provider lists becomes the operator's own.
    let change = json!({ "provider": "mock0", "modelId": "gpt-4o-mini", "contextWindowOverride": 32_000 });
    gateway.put(PATH, change).await.ok(200);
    gateway.get(&discover).await.ok(200);
    let own = gateway.get(&format!("{PATH}?provider=mock0")).await.ok(200);
    assert_eq!(names(&own["models"]), ["gpt-4o-mini", "my-model"]);
    assert_eq!(own["models"][0]["inputTokenLimit"], 32_000);

    let catalog = gateway.get("/api/models/catalog").await.ok(200);
    let of_node = catalog["catalog"].as_object().expect("a catalog").values().next().expect("a node");
    assert_eq!(names(&of_node["models"]), ["mock0/gpt-4o-mini", "mock0/my-model", "mock0/text-embedding-3-small"]);
    assert_eq!((&of_node["active"], &of_node["models"][1]["custom"]), (&json!(true), &json!(true)));
    assert_eq!(
        (&of_node["models"][1]["context_length"], &of_node["models"][2]["custom"]),
        (&json!(8000), &json!(false))
    );
    let chat = gateway.get("/api/models/catalog?provider=mock0&type=chat").await.ok(200);
    let of_node = chat["catalog"].as_object().expect("a catalog").values().next().expect("a node");
    assert_eq!(names(&of_node["models"]), ["mock0/gpt-4o-mini"]);

    assert_eq!(gateway.delete(&format!("{PATH}?provider=mock0&model=my-model")).await.ok(200)["removed"], true);
    assert_eq!(gateway.delete(&format!("{PATH}?provider=mock0&model=my-model")).await.ok(200)["removed"], false);
    assert_eq!(gateway.delete(&format!("{PATH}?provider=mock0&all=true")).await.ok(200)["cleared"], true);
    assert_eq!(gateway.get(&format!("{PATH}?provider=mock0")).await.ok(200)["models"], json!([]));
}

#[tokio::test]
async fn a_hidden_model_stays_hidden_until_it_is_shown() {
    let gateway = Gateway::new().await;
    let provider = Provider::start().await;
    let connection = resources::connection(&gateway, &provider.url()).await;
    let discover = format!("/api/providers/{connection}/models");
    gateway.get(&discover).await.ok(200);
    let hide = json!({ "isHidden": true, "modelIds": ["gpt-4o-mini", "never-listed"] });
    let hidden = gateway.patch(&format!("{PATH}?provider=mock0"), hide).await.ok(200);
    assert_eq!((&hidden["ok"], &hidden["updated"]), (&json!(true), &json!(2)));
    gateway.get(&discover).await.ok(200);
    let shown = async || {
        let all = gateway.get(PATH).await.ok(200)["hiddenModelsByProvider"].clone();
        all.as_object().expect("providers").values().next().cloned().unwrap_or(json!([]))
    };
    assert_eq!(shown().await, json!(["gpt-4o-mini", "never-listed"]));
    let show = json!({ "isHidden": false });
    gateway.patch(&format!("{PATH}?provider=mock0&modelId=gpt-4o-mini"), show).await.ok(200);
    assert_eq!(shown().await, json!(["never-listed"]));
}

#[tokio::test]
async fn what_is_no_model_is_refused() {
    let gateway = Gateway::new().await;
    for (body, field) in [
        (json!({ "provider": "nobody", "modelId": "m" }), "provider"),
        (json!({ "provider": "openai" }), "modelId"),
        (json!({ "provider": "openai", "modelId": "m", "modelname": "M" }), "modelname"),
        (json!({ "provider": "openai", "modelId": "m", "max_input_tokens": 0 }), "max_input_tokens"),
        (json!({ "provider": "openai", "modelId": "m", "supportedEndpoints": ["telepathy"] }), "supportedEndpoints"),
    ] {
        assert_eq!(gateway.post(PATH, body.clone()).await.fields(), [field], "{body}");
    }
    let unknown = json!({ "provider": "openai", "modelId": "never-heard-of" });
    assert_eq!(gateway.put(PATH, unknown).await.code(404), "RESOURCE_001");
    let path = format!("{PATH}?provider=openai");
    assert_eq!(gateway.patch(&path, json!({ "isHidden": true })).await.fields(), ["modelIds"]);
    assert_eq!(gateway.patch(&path, json!({ "modelIds": ["m"] })).await.fields(), ["isHidden"]);
    assert_eq!(gateway.delete(&path).await.fields(), ["model"]);
    assert_eq!(gateway.delete(PATH).await.fields(), ["provider"]);
}

#[tokio::test]
async fn a_model_may_have_other_names() {
    let gateway = Gateway::new().await;
    let path = "/api/models/alias";
    let alias = json!({ "model": "mock/gpt-4o-mini", "alias": "fastmini" });
    for method in [Method::PUT, Method::POST] {
        let set = gateway.call(method, path).json(alias.clone()).send().await.ok(200);
        assert_eq!(set, json!({ "success": true, "model": "mock/gpt-4o-mini", "alias": "fastmini" }));
    }
    let all = gateway.get(path).await.ok(200);
    assert_eq!(all["aliases"], json!({ "fastmini": "mock/gpt-4o-mini" }));
    assert!(all["catalogVersion"].is_string());
    for (body, field) in [
        (json!({ "model": "m" }), "alias"),
        (json!({ "model": "m", "alias": "m" }), "alias"),
        (json!({ "model": "m", "alias": "a\nb" }), "alias"),
        (json!({ "model": " ", "alias": "a" }), "model"),
    ] {
        assert_eq!(gateway.put(path, body.clone()).await.fields(), [field], "{body}");
    }
    gateway.delete(&format!("{path}?alias=fastmini")).await.ok(200);
    assert_eq!(gateway.delete(&format!("{path}?alias=fastmini")).await.code(404), "RESOURCE_001");
    assert_eq!(gateway.get(path).await.ok(200)["aliases"], json!({}));
}
