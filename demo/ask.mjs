// Asks one question through the gateway with the OpenAI SDK and shows the answer as it comes, then the ledger's entry
// of that request. API_KEY asks; MANAGEMENT_KEY, a key with the scope `manage`, reads the ledger.
//
//   API_KEY=… MANAGEMENT_KEY=… node ask.mjs --modules DIR --gateway http://127.0.0.1:20128 --model PREFIX/MODEL TEXT

import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const POLL_MS = 100;
const PATIENCE_MS = 15_000;

const { values: options, positionals } = parseArgs({
  options: { modules: { type: "string" }, gateway: { type: "string" }, model: { type: "string" } },
  allowPositionals: true,
});
const question = positionals.join(" ");
const { OpenAI } = createRequire(pathToFileURL(`${options.modules}/package.json`))("openai");
const client = new OpenAI({ baseURL: `${options.gateway}/v1`, apiKey: process.env.API_KEY });

/** What `look` finds, as soon as it finds something. */
async function eventually(what, look) {
  for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; await sleep(POLL_MS)) {
    const found = await look();
    if (found) return found;
  }
  throw new Error(`${what} within ${PATIENCE_MS / 1000} s`);
}

async function isListed() {
  for await (const model of client.models.list()) {
    if (model.id === options.model) return true;
  }
  return false;
}

/** Shows the answer while it comes; returns the id of the request and the tokens that the model counted. */
async function ask() {
  const { data: stream, response } = await client.chat.completions
    .create({
      model: options.model,
      messages: [{ role: "user", content: question }],
      stream: true,
      stream_options: { include_usage: true },
    })
    .withResponse();
  let pieces = 0;
  let usage;
  for await (const chunk of stream) {
    const text = chunk.choices[0]?.delta?.content;
    if (text) {
      pieces += 1;
      process.stdout.write(text);
    }
    usage = chunk.usage ?? usage;
  }
  process.stdout.write("\n");
  if (pieces === 0) throw new Error("the model's answer is empty");
  if (!usage) throw new Error("the stream did not say how many tokens it used");
  console.log(`(${pieces} pieces; ${usage.prompt_tokens} tokens in, ${usage.completion_tokens} out)`);
  return { requestId: response.headers.get("x-request-id"), usage };
}

async function ledgerEntry(requestId) {
  const answer = await fetch(`${options.gateway}/api/usage/call-logs?limit=20`, {
    headers: { authorization: `Bearer ${process.env.MANAGEMENT_KEY}` },
  });
  if (!answer.ok) throw new Error(`the ledger answers ${answer.status}: ${await answer.text()}`);
  return (await answer.json()).find((entry) => entry.requestId === requestId);
}

try {
  await eventually(`the gateway did not offer ${options.model}`, isListed);
  console.log(`> ${question}`);
  const { requestId, usage } = await ask();
  const entry = await eventually("the ledger did not get the request", () => ledgerEntry(requestId));
  console.log(`\nThe ledger's entry of request ${requestId}:`);
  console.log(JSON.stringify(entry, null, 2));
  if (entry.tokens.in !== usage.prompt_tokens || entry.tokens.out !== usage.completion_tokens) {
    throw new Error("the ledger counts other tokens than the model");
  }
} catch (error) {
  console.error(`demo: ${error.message}`);
  process.exitCode = 1;
}
