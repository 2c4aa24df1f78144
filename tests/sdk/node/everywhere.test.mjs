// The official OpenAI SDK for Node over every upstream. OMNIROUTE_TEST_MODULES is where it is installed.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.env.OMNIROUTE_TEST_MODULES}/package.json`));
const { OpenAI, NotFoundError } = require("openai");

const MODELS = {
  openai: "mock/gpt-mock",
  responses: "responses/gpt-mock",
  anthropic: "anthropic/claude-sonnet-4-5-mock",
  gemini: "gemini/gemini-2.5-flash-mock",
  ollama: "ollama/qwen3-mock:8b",
  cohere: "cohere/command-a-reasoning-mock",
  bedrock: "bedrock/anthropic.claude-sonnet-4-5-mock-v1:0",
};
const client = new OpenAI({
  baseURL: `${process.env.OMNIROUTE_TEST_URL}/v1`,
  apiKey: process.env.OMNIROUTE_TEST_KEY,
  maxRetries: 0,
});
const user = (content) => [{ role: "user", content }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

for (const [upstream, model] of Object.entries(MODELS)) {
  describe(upstream, { concurrency: 4 }, () => {
    test("chat", async () => {
      const answer = await client.chat.completions.create({ model, messages: user("hello node") });
      assert.equal(answer.choices[0].message.content, "You said: hello node — grüße, 世界 🦀");
      assert.equal(answer.usage.completion_tokens, 8);
    });

    test("stream helper", async () => {
      const stream = client.chat.completions.stream({ model, messages: user("in pieces") });
      assert.equal(await stream.finalContent(), "You said: in pieces — grüße, 世界 🦀");
    });

    test("the tool runner comes to its end", async () => {
      const cities = [];
      const weather = {
        name: "weather",
        description: "The weather",
        parameters,
        parse: JSON.parse,
        function: ({ city }) => (cities.push(city), `sunny in ${city}`),
      };
      for (const stream of [false, true]) {
        const runner = client.chat.completions.runTools({
          model: `${model}+rounds=2+tool_calls=2`,
          messages: user("weather?"),
          tools: [{ type: "function", function: weather }],
          stream,
        });
        assert.match(await runner.finalContent(), /sunny in city in Zürich/);
      }
      assert.deepEqual(cities, Array(8).fill("city in Zürich"));
    });

    test("responses", async () => {
      const answer = await client.responses.create({ model, input: "hello node", store: false });
      assert.equal(answer.output_text, "You said: hello node — grüße, 世界 🦀");
      const stream = client.responses.stream({ model, input: "in pieces", store: false });
      assert.equal((await stream.finalResponse()).output_text, "You said: in pieces — grüße, 世界 🦀");
    });

    test("an unknown model", async () => {
      const unknown = `${model.split("/")[0]}/nothing`;
      await assert.rejects(client.chat.completions.create({ model: unknown, messages: user("x") }), NotFoundError);
    });
  });
}
