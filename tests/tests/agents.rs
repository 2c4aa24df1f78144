//! Coding agents come to the end of a tool loop, whichever vendor's API is behind the gateway. The provider checks every
//! request as strictly as that vendor.

#![cfg(test)]

use omniroute_tests::{
    agents::{self, Agent, Turn},
    harness::{Engine, Setup, Stack, eventually},
    mock_provider::Fate,
};

const ROUNDS: usize = 2;

async fn stack() -> Stack {
    let stack = Setup::on(Engine::Sqlite).start().await;
    stack.provider.be_strict();
    stack.connect_vendors().await;
    stack
}

/// Two rounds of parallel calls, then an answer that has seen the results.
async fn loops(stack: &Stack, mut agent: Box<dyn Agent + Send>, model: &str) -> Vec<Turn> {
    let asked = stack.provider.journal().count();
    let script = format!("{model}+rounds={ROUNDS}+tool_calls=3");
    let turns = agents::run(&mut *agent, &stack.client, &script).await;
    let name = agent.name();
    assert_eq!(turns.len(), ROUNDS + 1, "{name} with {model}: {turns:?}");
    for turn in &turns[..ROUNDS] {
        assert_eq!(turn.calls.len(), 3, "{name} with {model}: {turn:?}");
    }
    let last = &turns[ROUNDS];
    assert!(last.text.contains("omni-42") && last.text.contains("世界 🦀"), "{name} with {model}: {last:?}");
    let seen = stack.provider.seen();
    let seen: Vec<_> = seen.iter().filter(|seen| seen.number > asked && seen.method == "POST").collect();
    assert_eq!(seen.len(), ROUNDS + 1, "{name} with {model}: nothing was asked twice");
    assert!(seen.iter().all(|seen| seen.fate == Fate::Answered), "{name} with {model}: {seen:?}");
    turns
}

/// Every agent, one after the other; then the ledger says what the provider charged.
async fn all(model: &str) {
    let stack = stack().await;
    for agent in agents::all() {
        loops(&stack, agent, model).await;
    }
    eventually("the ledger has what the agents did", || async {
        stack.ledger.answered().await == stack.provider.total()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_on_openai_chat() {
    all("mock/gpt-mock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_on_openai_responses() {
    all("responses/gpt-5-mock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_on_anthropic() {
    all("anthropic/claude-opus-4-6-mock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_on_an_older_claude() {
    all("anthropic/claude-sonnet-4-5-mock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_on_gemini() {
    all("gemini/gemini-2.5-flash-mock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_on_gemini_3_whose_calls_are_signed() {
    let stack = stack().await;
    for agent in agents::all() {
        // The CLI sends a budget, which this model takes no longer when it is asked directly.
        loops(&stack, agent, "gemini/gemini-3-pro-mock").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_on_ollama() {
    all("ollama/qwen3-mock:8b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_on_cohere() {
    all("cohere/command-a-reasoning-mock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_on_bedrock() {
    all("bedrock/anthropic.claude-sonnet-4-5-mock-v1:0").await;
}
