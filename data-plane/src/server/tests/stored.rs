//! Answers of `/v1/responses` that a later request goes on from.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    upstream::{chat_answer, events, json as answer_json},
    *,
};

const RESPONSES: &str = "/v1/responses";

/// A proxy before an upstream that speaks Chat.
async fn before_chat() -> (Upstream, Proxy) {
    let upstream = Upstream::answering(|asked| {
        if memchr::memmem::find(&asked.body, b"\"stream\":true").is_some() {
            return events(
                &[
                    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hel\"},\"finish_reason\":null}]}\n\n",
                    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo!\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
                ],
                std::time::Duration::from_millis(5),
            );
        }
        chat_answer()
    })
    .await;
    let proxy = Proxy::with(&[], &upstream, |resources| {
        resources.key("k2", "sk-of-another", |_| {});
    })
    .await;
    (upstream, proxy)
}

/// A proxy before an upstream that speaks Responses, and answers with the next of these.
async fn before_responses(answers: &'static [&'static str]) -> (Upstream, Proxy) {
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let upstream = Upstream::answering(move |_| {
        let turn = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let answer = answers[turn.min(answers.len() - 1)];
        if answer.starts_with('{') {
            answer_json(200, answer)
        } else {
            upstream::typed(200, "text/event-stream", answer)
        }
    })
    .await;
    let snapshot = snapshot_with(|resources| {
        resources.node_of("vendor", &upstream.base_url(), "openai-compatible", "responses");
        resources.connection("c1", "vendor", |_| {});
    });
    (upstream, Proxy::start(&[], snapshot).await)
}

async fn ask(proxy: &Proxy, body: &Value) -> Answer {
    proxy.post(RESPONSES, body.to_string()).await
}

async fn with_key(proxy: &Proxy, method: &str, path: &str, key: &str, body: &str) -> Answer {
    let request = proxy.request(method, path).header("authorization", format!("Bearer {key}"));
    send(request.body(body.to_owned().into()).expect("a request")).await
}

fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// The response in the last event of a stream.
fn completed(answer: &Answer) -> Value {
    let events: Vec<Value> = answer
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    let last = events.last().expect("an event");
    assert_eq!(last["type"], "response.completed", "{}", answer.text());
    last["response"].clone()
}

fn roles(upstream: &Upstream) -> Vec<(String, String)> {
    let body: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let messages = body["messages"].as_array().expect("messages");
    messages.iter().map(|message| (text(&message["role"]), text(&message["content"]))).collect()
}

fn turn(role: &str, text: &str) -> (String, String) {
    (role.to_owned(), text.to_owned())
}

#[tokio::test]
async fn a_conversation_goes_on_from_a_stored_answer_streamed_or_not() {
    let (upstream, proxy) = before_chat().await;
    let first = ask(&proxy, &json!({"model": "mock/m", "input": "one", "instructions": "be brief"})).await;
    let first_id = id_of(&first);
    let second =
        ask(&proxy, &json!({"model": "mock/m", "input": "two", "previous_response_id": first_id, "stream": true}))
            .await;
    let whole = completed(&second);
    assert_eq!(whole["previous_response_id"], first_id.as_str());
    assert_eq!(
        roles(&upstream),
        [turn("user", "one"), turn("assistant", "Hello!"), turn("user", "two")],
        "instructions do not carry over"
    );
    let third = json!({
        "model": "mock/m", "previous_response_id": whole["id"],
        "input": [{"role": "user", "content": "three"}],
    });
    let third = ask(&proxy, &third).await;
    assert_eq!(third.status, StatusCode::OK);
    assert_eq!(
        roles(&upstream),
        [
            turn("user", "one"),
            turn("assistant", "Hello!"),
            turn("user", "two"),
            turn("assistant", "Hello!"),
            turn("user", "three"),
        ]
    );
    // Two may go on from the same answer.
    let other = ask(&proxy, &json!({"model": "mock/m", "input": "2b", "previous_response_id": first_id})).await;
    assert_eq!(other.status, StatusCode::OK);
    assert_eq!(roles(&upstream), [turn("user", "one"), turn("assistant", "Hello!"), turn("user", "2b")]);
}

#[tokio::test]
async fn a_stored_answer_can_be_fetched_listed_and_deleted_by_its_own_key_only() {
    let (_upstream, proxy) = before_chat().await;
    let first = ask(&proxy, &json!({"model": "mock/m", "input": "one"})).await;
    let second = ask(&proxy, &json!({"model": "mock/m", "input": "two", "previous_response_id": id_of(&first)})).await;
    let path = format!("{RESPONSES}/{}", id_of(&second));
    assert_eq!(proxy.get(&path).await.json(), second.json());

    let items = proxy.get(&format!("{path}/input_items?order=asc")).await.json();
    let texts: Vec<_> =
        items["data"].as_array().expect("items").iter().map(|item| &item["content"][0]["text"]).collect();
    assert_eq!(texts, ["one", "Hello!", "two"]);
    assert!(items["data"].as_array().expect("items").iter().all(|item| item["id"].is_string()), "{items}");
    let page = proxy.get(&format!("{path}/input_items?limit=1")).await.json();
    assert_eq!((&page["has_more"], &page["data"][0]["content"][0]["text"]), (&json!(true), &json!("two")));
    let after = page["last_id"].as_str().expect("an id");
    let page = proxy.get(&format!("{path}/input_items?limit=5&after={after}")).await.json();
    assert_eq!((&page["has_more"], page["data"].as_array().map(Vec::len)), (&json!(false), Some(2)));
    assert_eq!(proxy.get(&format!("{path}/input_items?limit=0")).await.error().0, 400);

    for (method, path) in [("GET", path.clone()), ("DELETE", path.clone()), ("GET", format!("{path}/input_items"))] {
        let answer = with_key(&proxy, method, &path, "sk-of-another", "").await;
        assert_eq!(answer.error().0, 404, "{method} {path}");
    }
    let body = json!({"model": "mock/m", "input": "x", "previous_response_id": id_of(&second)}).to_string();
    let refused = with_key(&proxy, "POST", RESPONSES, "sk-of-another", &body).await;
    assert_eq!(refused.error().1, "previous_response_not_found");

    let deleted = with_key(&proxy, "DELETE", &path, KEY, "").await;
    assert_eq!(deleted.json(), json!({"id": id_of(&second), "object": "response", "deleted": true}));
    assert_eq!(proxy.get(&path).await.error(), (404, "response_not_found".to_owned(), "response_not_found".to_owned()));
    assert_eq!(with_key(&proxy, "DELETE", &path, KEY, "").await.error().0, 404);
    let refused = ask(&proxy, &json!({"model": "mock/m", "input": "x", "previous_response_id": id_of(&second)})).await;
    let error = refused.json();
    assert_eq!(refused.error().0, 404);
    assert_eq!(error["error"]["param"], "previous_response_id");
    assert_eq!(
        error["error"]["message"],
        format!("Previous response with id '{}' not found.", id_of(&second)).as_str()
    );
}

#[tokio::test]
async fn a_deleted_answer_is_out_of_sight_and_stays_in_what_went_on_from_it() {
    let (upstream, proxy) = before_chat().await;
    let body =
        |input: &str, previous: &str| json!({"model": "mock/m", "input": input, "previous_response_id": previous});
    let first = id_of(&ask(&proxy, &json!({"model": "mock/m", "input": "one"})).await);
    let second = id_of(&ask(&proxy, &body("two", &first)).await);
    let third = id_of(&ask(&proxy, &body("three", &second)).await);
    let path = format!("{RESPONSES}/{first}");
    assert_eq!(with_key(&proxy, "DELETE", &path, KEY, "").await.json()["deleted"], true);

    assert_eq!(with_key(&proxy, "DELETE", &path, KEY, "").await.error().0, 404, "once");
    assert_eq!(proxy.get(&path).await.error().1, "response_not_found");
    assert_eq!(proxy.get(&format!("{path}/input_items")).await.error().1, "response_not_found");
    assert_eq!(ask(&proxy, &body("x", &first)).await.error().1, "previous_response_not_found");
    let referred = format!("msg_{}_i0", first.trim_start_matches("resp_"));
    let referred = json!({"model": "mock/m", "input": [{"type": "item_reference", "id": referred}]});
    assert_eq!(ask(&proxy, &referred).await.status, 400, "its items cannot be named either");

    let items = proxy.get(&format!("{RESPONSES}/{third}/input_items?order=asc")).await.json();
    assert_eq!(items["data"][0]["content"][0]["text"], "one");
    assert_eq!(ask(&proxy, &body("four", &third)).await.status, StatusCode::OK);
    let said: Vec<String> = roles(&upstream).into_iter().map(|(_, text)| text).collect();
    assert_eq!(said, ["one", "Hello!", "two", "Hello!", "three", "Hello!", "four"]);
    assert_eq!(ask(&proxy, &body("2b", &second)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_not_stored_cannot_be_gone_on_from_and_what_is_not_offered_is_refused() {
    let (_upstream, proxy) = before_chat().await;
    let first = ask(&proxy, &json!({"model": "mock/m", "input": "one", "store": false})).await;
    let path = format!("{RESPONSES}/{}", id_of(&first));
    assert_eq!(proxy.get(&path).await.error().0, 404);
    for (field, value) in [("background", json!(true)), ("conversation", json!("conv_1"))] {
        let mut body = json!({"model": "mock/m", "input": "x"});
        body[field] = value;
        let refused = ask(&proxy, &body).await;
        assert_eq!((refused.error().0, refused.error().2.as_str()), (400, "unsupported_feature"), "{field}");
        assert_eq!(refused.json()["error"]["param"], field);
    }
    assert_eq!(proxy.get(&format!("{path}?stream=true")).await.error().0, 400);
    let wrong = send(proxy.request("PUT", &path).body(Full::default()).expect("a request")).await;
    assert_eq!(wrong.error().0, 405);
}

#[tokio::test]
async fn an_upstreams_own_store_is_not_relied_on() {
    let (upstream, proxy) = before_responses(&[
        r#"{"id":"resp_up1","object":"response","status":"completed","model":"m","output":[{"id":"rs_1","type":"reasoning","summary":[]},{"id":"rs_2","type":"reasoning","summary":[],"encrypted_content":"abc"},{"id":"fc_1","type":"function_call","status":"completed","call_id":"call_1","name":"f","arguments":"{ }"}],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}"#,
        "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_up2\",\"status\":\"in_progress\",\"output\":[]}}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":1,\"response\":{\"id\":\"resp_up2\",\"status\":\"completed\",\"output\":[{\"id\":\"msg_2\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"done\"}]}],\"usage\":{\"input_tokens\":1,\"output_tokens\":1,\"total_tokens\":2}}}\n\n",
    ])
    .await;
    let first = ask(&proxy, &json!({"model": "vendor/m", "input": "one", "tools": []})).await;
    assert_eq!(id_of(&first), "resp_up1");
    let result = json!({"type": "function_call_output", "call_id": "call_1", "output": "42"});
    let body = json!({"model": "vendor/m", "previous_response_id": "resp_up1", "input": [result], "stream": true});
    let second = ask(&proxy, &body).await;
    assert_eq!(second.status, StatusCode::OK, "{}", second.text());
    let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!(sent.get("previous_response_id"), None);
    assert_eq!(
        sent["input"],
        json!([
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "one"}]},
            {"type": "reasoning", "summary": [], "encrypted_content": "abc"},
            {"type": "function_call", "status": "completed", "call_id": "call_1", "name": "f", "arguments": "{ }"},
            result,
        ])
    );
    // The stream's last event was stored before the client had it.
    let stored = proxy.get(&format!("{RESPONSES}/resp_up2")).await.json();
    assert_eq!((&stored["status"], &stored["previous_response_id"]), (&json!("completed"), &json!("resp_up1")));
    let third = json!({
        "model": "vendor/m", "store": false,
        "input": [{"type": "item_reference", "id": "msg_up2_i0"}, {"type": "item_reference", "id": "unknown"},
                  {"role": "user", "content": "go on"}],
    });
    ask(&proxy, &third).await;
    let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!(sent["input"][0], json!({"type": "item_reference", "id": "msg_up2_i0"}), "no such item");
    let by_id = json!({"model": "vendor/m", "store": false, "input": [{"type": "item_reference", "id": "fco_up2_i0"}]});
    ask(&proxy, &by_id).await;
    let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!(sent["input"], json!([result]));
    let in_chain = json!({"model": "vendor/m", "previous_response_id": "resp_up2", "input": [{"type": "item_reference", "id": "msg_2"}]});
    ask(&proxy, &in_chain).await;
    let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!(sent["input"].as_array().map(Vec::len), Some(6));
    assert_eq!(sent["input"][5]["content"][0]["text"], "done");
}

#[tokio::test]
async fn an_answer_that_passes_names_the_one_that_it_goes_on_from() {
    const FIRST: &str = r#"{"id":"resp_1","object":"response","status":"completed","previous_response_id":null,"output":[{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"output_text","text":"one"}]}],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}"#;
    const WHOLE: &str = r#"{ "id":"resp_2","status":"completed","own":1.0, "previous_response_id": null,"output":[{"id":"msg_2","type":"message","role":"assistant","content":[{"type":"output_text","text":"\"previous_response_id\":null"}]}],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}"#;
    const STREAM: &str = concat!(
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_3\",\"status\":\"in_progress\",\"previous_response_id\":null,\"output\":[]}}\n\n",
        "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"response\":{\"id\":\"resp_3\",\"status\":\"in_progress\",\"previous_response_id\":null,\"output\":[]}}\n\n",
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"\\\"previous_response_id\\\":null\"}\n\n",
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_3\",\"status\":\"completed\",\"previous_response_id\":null,\"output\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":1,\"total_tokens\":2}}}\n\n",
    );
    let (_upstream, proxy) = before_responses(&[FIRST, WHOLE, STREAM]).await;
    let first = ask(&proxy, &json!({"model": "vendor/m", "input": "one"})).await;
    assert_eq!(first.text(), FIRST, "it goes on from nothing");
    let second = ask(&proxy, &json!({"model": "vendor/m", "input": "two", "previous_response_id": "resp_1"})).await;
    assert_eq!(second.text(), WHOLE.replacen(": null", ": \"resp_1\"", 1), "every other byte is the provider's");
    let third = json!({"model": "vendor/m", "input": "three", "previous_response_id": "resp_2", "stream": true});
    let third = post_progress(&proxy, &third).await;
    let without_progress: String =
        third.text().split_inclusive("\n\n").filter(|event| !event.starts_with("event: progress")).collect();
    assert!(third.text().contains("event: progress"));
    let expected = STREAM.replace("response_id\":null", "response_id\":\"resp_2\"");
    assert_eq!(without_progress, expected);
    let stored = proxy.get(&format!("{RESPONSES}/resp_3")).await.json();
    assert_eq!(stored["previous_response_id"], "resp_2");
}

async fn post_progress(proxy: &Proxy, body: &Value) -> Answer {
    let request = proxy.request("POST", RESPONSES).header("authorization", format!("Bearer {KEY}"));
    let request = request.header("x-omniroute-progress", "true");
    send(request.body(Full::from(body.to_string())).expect("a request")).await
}

#[tokio::test]
async fn an_answer_that_fails_or_is_too_large_is_not_stored() {
    let (_upstream, proxy) = before_responses(&[
        "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_f\",\"status\":\"in_progress\",\"output\":[]}}\n\nevent: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\nevent: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"resp_f\",\"status\":\"failed\",\"output\":[],\"error\":{\"code\":\"server_error\",\"message\":\"x\"}}}\n\n",
    ])
    .await;
    ask(&proxy, &json!({"model": "vendor/m", "input": "one", "stream": true})).await;
    assert_eq!(proxy.get(&format!("{RESPONSES}/resp_f")).await.error().0, 404);

    let upstream = Upstream::answering(|_| chat_answer()).await;
    let small = Proxy::with(&[("STORED_RESPONSE_MAX", "4KiB")], &upstream, |_| {}).await;
    let kept = ask(&small, &json!({"model": "mock/m", "input": "one"})).await;
    assert_eq!(small.get(&format!("{RESPONSES}/{}", id_of(&kept))).await.status, StatusCode::OK);
    let large = ask(&small, &json!({"model": "mock/m", "input": "x".repeat(8 * 1024)})).await;
    assert_eq!(small.get(&format!("{RESPONSES}/{}", id_of(&large))).await.error().0, 404);
}

#[tokio::test]
async fn a_conversation_stays_within_the_limit_on_bodies() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::with(&[], &upstream, |resources| {
        resources.settings(|settings| settings.max_body_bytes = 16 * 1024);
    })
    .await;
    let text = "x".repeat(6 * 1024);
    let mut previous = Value::Null;
    for turn in 0..3 {
        let body = json!({"model": "mock/m", "input": text, "previous_response_id": previous});
        let answer = ask(&proxy, &body).await;
        if turn == 2 {
            assert_eq!((answer.error().0, answer.error().2.as_str()), (413, "conversation_too_large"));
        } else {
            previous = id_of(&answer).into();
        }
    }
}

#[tokio::test]
async fn thoughts_of_a_kept_conversation_are_asked_for_in_a_form_that_can_go_back() {
    let (upstream, proxy) = before_responses(&[
        r#"{"id":"resp_up1","object":"response","status":"completed","model":"m","output":[],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}"#,
    ])
    .await;
    for (body, included) in [
        (json!({"model": "vendor/gpt-5", "input": "one"}), true),
        (json!({"model": "vendor/gpt-5", "input": "one", "store": false}), false),
        (json!({"model": "vendor/gpt-4o", "input": "one"}), false),
    ] {
        assert_eq!(ask(&proxy, &body).await.status, StatusCode::OK);
        let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
        assert_eq!(sent.get("include").is_some(), included, "{sent}");
    }
}

const THINKS_AND_CALLS: &str = r#"{"id":"c1","object":"chat.completion","created":1,"model":"deepseek-v4-pro","choices":[{"index":0,"message":{"role":"assistant","content":"let me see","reasoning_content":"I should look.","tool_calls":[{"id":"call_1","type":"function","function":{"name":"look","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}}"#;
const REFUSES: &str = r#"{"id":"c2","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":"I will not."},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}}"#;

#[tokio::test]
async fn a_round_of_calls_goes_on_by_chain_and_by_reference_with_its_thought() {
    let upstream = Upstream::answering(|asked| {
        let called = memchr::memmem::find(&asked.body, b"\"tool_calls\"").is_some();
        if called { chat_answer() } else { answer_json(200, THINKS_AND_CALLS) }
    })
    .await;
    let snapshot = snapshot_with(|resources| {
        resources.node("ds", &upstream.base_url());
        resources.connection("c1", "ds", |_| {});
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let tools = json!([{"type": "function", "name": "look", "parameters": {"type": "object"}}]);
    let first = ask(&proxy, &json!({"model": "ds/deepseek-v4-pro", "input": "one", "tools": tools})).await;
    let output = first.json()["output"].as_array().expect("items").clone();
    assert!(output.iter().any(|item| item["type"] == "reasoning"), "{output:?}");
    let result = json!({"type": "function_call_output", "call_id": "call_1", "output": "seen"});
    // As some SDKs do it: every item of the answer by its id, the thought's among them.
    let mut by_reference = vec![json!({"role": "user", "content": "one"})];
    by_reference.extend(output.iter().map(|item| json!({"type": "item_reference", "id": item["id"]})));
    by_reference.push(result.clone());
    for body in [
        json!({"model": "ds/deepseek-v4-pro", "input": [result], "tools": tools, "previous_response_id": id_of(&first)}),
        json!({"model": "ds/deepseek-v4-pro", "input": by_reference, "tools": tools}),
    ] {
        let answer = ask(&proxy, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
        let messages = sent["messages"].as_array().expect("messages");
        assert_eq!(messages.len(), 3, "{sent}");
        assert_eq!(messages[1]["content"], "let me see");
        assert_eq!(
            (&messages[1]["reasoning_content"], &messages[2]["content"]),
            (&json!("I should look."), &json!("seen"))
        );
    }
}

#[tokio::test]
async fn a_chain_carries_pictures_and_refusals_to_whoever_answers_next() {
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let upstream = Upstream::answering(move |_| match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => answer_json(200, REFUSES),
        _ => chat_answer(),
    })
    .await;
    let proxy = Proxy::before(&upstream).await;
    let picture = json!({"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"});
    let asked = json!([{"role": "user", "content": [{"type": "input_text", "text": "what is it?"}, picture]}]);
    let first = ask(&proxy, &json!({"model": "mock/m", "input": asked})).await;
    assert_eq!(first.json()["output"][0]["content"][0], json!({"type": "refusal", "refusal": "I will not."}));
    let second = json!({"model": "mock/m", "input": "why?", "previous_response_id": id_of(&first)});
    assert_eq!(ask(&proxy, &second).await.status, StatusCode::OK);
    let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!(sent["messages"][0]["content"][1]["image_url"]["url"], "data:image/png;base64,AA==");
    assert_eq!(sent["messages"][1]["refusal"], "I will not.");
    assert_eq!(sent["messages"][2]["content"], "why?");
}

#[tokio::test]
async fn what_the_vendors_tools_did_goes_back_with_the_ids_that_the_vendor_gave() {
    let (upstream, proxy) = before_responses(&[
        r#"{"id":"resp_t1","object":"response","status":"completed","model":"m","output":[{"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search","query":"x"}},{"id":"ig_1","type":"image_generation_call","status":"completed","result":"AAAA"},{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"found","annotations":[]}]}],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}"#,
        r#"{"id":"resp_t2","object":"response","status":"completed","model":"m","output":[],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}"#,
    ])
    .await;
    ask(&proxy, &json!({"model": "vendor/m", "input": "one"})).await;
    ask(&proxy, &json!({"model": "vendor/m", "input": "two", "previous_response_id": "resp_t1"})).await;
    let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    let ids: Vec<_> = sent["input"].as_array().expect("items").iter().map(|item| item.get("id")).collect();
    assert_eq!(ids, [None, Some(&json!("ws_1")), Some(&json!("ig_1")), None, None], "{sent}");
}

#[tokio::test]
async fn branches_that_go_on_from_one_answer_at_once_know_nothing_of_each_other() {
    let (upstream, proxy) = before_chat().await;
    let first = id_of(&ask(&proxy, &json!({"model": "mock/m", "input": "one"})).await);
    let on = |input: &str, previous: &str| json!({"model": "mock/m", "input": input, "previous_response_id": previous});
    let (left, right) = (on("left", &first), on("right", &first));
    let (left, right) = tokio::join!(ask(&proxy, &left), ask(&proxy, &right));
    for (branch, name) in [(left, "left"), (right, "right")] {
        let next = on("next", &id_of(&branch));
        assert_eq!(ask(&proxy, &next).await.status, StatusCode::OK);
        let said: Vec<String> = roles(&upstream).into_iter().map(|(_, text)| text).collect();
        assert_eq!(said, ["one", "Hello!", name, "Hello!", "next"]);
    }
}
