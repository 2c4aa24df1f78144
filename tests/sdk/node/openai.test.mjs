// The official OpenAI SDK for Node drives the gateway. OMNIROUTE_TEST_MODULES is where it is installed.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.env.OMNIROUTE_TEST_MODULES}/package.json`));
const { OpenAI, AuthenticationError, BadRequestError, NotFoundError, RateLimitError } = require("openai");

const MODEL = "mock/gpt-mock";
const options = { baseURL: `${process.env.OMNIROUTE_TEST_URL}/v1`, maxRetries: 0 };
const client = new OpenAI({ ...options, apiKey: process.env.OMNIROUTE_TEST_KEY });
const user = (content) => [{ role: "user", content }];
const weather = {
  type: "function",
  function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

test("chat", async () => {
  const answer = await client.chat.completions.create({ model: MODEL, messages: user("hello from node") });
  assert.match(answer.choices[0].message.content, /hello from node/);
  assert.ok(answer._request_id);
  assert.ok(answer.usage.total_tokens > 0);
});

test("stream", async () => {
  const stream = await client.chat.completions.create({
    model: MODEL,
    messages: user("piece by piece"),
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.match(text, /piece by piece/);
  assert.ok(usage.completion_tokens > 0);
});

test("the stream helper collects the answer", async () => {
  const stream = client.chat.completions.stream({ model: MODEL, messages: user("collected") });
  assert.match(await stream.finalContent(), /collected/);
});

test("tools pass through", async () => {
  const answer = await client.chat.completions.create({
    model: MODEL,
    messages: user("weather?"),
    tools: [weather],
    tool_choice: "required",
  });
  assert.equal(answer.choices[0].message.tool_calls[0].function.name, "weather");
  assert.equal(answer.choices[0].finish_reason, "tool_calls");
});

test("embeddings", async () => {
  const answer = await client.embeddings.create({ model: "mock/embed-mock", input: ["one", "two"] });
  assert.equal(answer.data.length, 2);
  assert.ok(answer.data[0].embedding.length > 0);
});

test("models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes(MODEL), String(ids));
});

test("errors have the classes of the SDK", async () => {
  const ask = (model, asker = client) => asker.chat.completions.create({ model, messages: user("x") });
  await assert.rejects(ask(MODEL, new OpenAI({ ...options, apiKey: "sk-unknown" })), AuthenticationError);
  await assert.rejects(ask("mock/nothing"), NotFoundError);
  await assert.rejects(ask(7), BadRequestError);
  await assert.rejects(ask("limited/gpt-mock+status=429+header.retry-after=40"), RateLimitError);
});

test("leaving a stream early leaves the client usable", async () => {
  const model = `${MODEL}+words=500+chunk_delay_ms=5`;
  const stream = await client.chat.completions.create({ model, messages: user("x"), stream: true });
  for await (const chunk of stream) if (chunk.choices.length) break;
  const answer = await client.chat.completions.create({ model: MODEL, messages: user("still here") });
  assert.match(answer.choices[0].message.content, /still here/);
});
