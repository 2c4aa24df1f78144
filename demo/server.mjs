// Serves a GGUF model as an OpenAI-compatible endpoint: GET /v1/models and POST /v1/chat/completions, streamed or not,
// with the token counts of the model's own tokenizer. One answer at a time; further requests wait in a short queue.
// Requests need API_KEY where it is set. Prints one line of JSON with the port and the model's name once it serves.
//
//   API_KEY=… node server.mjs --model FILE.gguf --modules DIR --port 0

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { basename } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const MAX_BODY = 1024 * 1024;
const MAX_WAITING = 16;
const MAX_TOKENS = 512;
// Enough for a small model, and more are slower where cores are few: they wait for each other after every operation.
const THREADS = 1;

const { values: options } = parseArgs({
  options: {
    model: { type: "string" },
    modules: { type: "string" },
    port: { type: "string", default: "0" },
  },
});

const apiKey = process.env.API_KEY;

class RequestError extends Error {
  constructor(status, code, message, param = null) {
    super(message);
    Object.assign(this, { status, code, param });
  }
}

const require = createRequire(pathToFileURL(`${options.modules}/package.json`));
const { getLlama, LlamaChat, LlamaLogLevel } = await import(pathToFileURL(require.resolve("node-llama-cpp")));
// "never": only the prebuilt program of the package, no compiler and no download.
const llama = await getLlama({ build: "never", gpu: false, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: options.model });
const modelId = basename(options.model, ".gguf").toLowerCase();
const created = Math.floor(Date.now() / 1000);

let waiting = 0;
let turn = Promise.resolve();

/** Runs one task after the other. */
function inTurn(task) {
  if (waiting >= MAX_WAITING) {
    throw new RequestError(429, "rate_limit_exceeded", "Too many requests are waiting");
  }
  waiting += 1;
  const result = turn.then(task).finally(() => (waiting -= 1));
  turn = result.catch(() => {});
  return result;
}

/** Text of a message, whose content is a string or a list of parts. */
function textOf(message, index) {
  const { content } = message;
  if (typeof content === "string") return content;
  if (content == null) return "";
  if (Array.isArray(content) && content.every((part) => part?.type === "text" && typeof part.text === "string")) {
    return content.map((part) => part.text).join("");
  }
  throw new RequestError(400, "invalid_value", "Only text is understood", `messages[${index}].content`);
}

/** The conversation as the model's chat template wants it. */
function historyOf(messages) {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new RequestError(400, "invalid_value", "`messages` must be a list with at least one message", "messages");
  }
  const history = messages.map((message, index) => {
    const text = textOf(message, index);
    switch (message.role) {
      case "system":
      case "developer":
        return { type: "system", text };
      case "user":
        return { type: "user", text };
      case "assistant":
        return { type: "model", response: [text] };
      default:
        throw new RequestError(400, "invalid_value", `Unknown role ${message.role}`, `messages[${index}].role`);
    }
  });
  return [...history, { type: "model", response: [] }];
}

function numberOf(body, name, low, high) {
  const value = body[name];
  if (value == null) return undefined;
  if (typeof value !== "number" || value < low || value > high) {
    throw new RequestError(400, "invalid_value", `\`${name}\` must be a number from ${low} to ${high}`, name);
  }
  return value;
}

function read(body) {
  if (body.model !== modelId) {
    throw new RequestError(404, "model_not_found", `The model \`${body.model}\` does not exist`, "model");
  }
  return {
    history: historyOf(body.messages),
    stream: body.stream === true,
    includeUsage: body.stream_options?.include_usage === true,
    maxTokens: numberOf(body, "max_completion_tokens", 1, 100000) ?? numberOf(body, "max_tokens", 1, 100000),
    temperature: numberOf(body, "temperature", 0, 2) ?? 0,
    topP: numberOf(body, "top_p", 0, 1),
    seed: numberOf(body, "seed", 0, Number.MAX_SAFE_INTEGER),
    stop: body.stop == null ? [] : [body.stop].flat(),
  };
}

/** Generates an answer; `onText` gets each piece as it comes. */
async function generate(request, signal, onText) {
  const contextSize = Math.min(4096, model.trainContextSize ?? 4096);
  const context = await model.createContext({ contextSize, threads: THREADS });
  try {
    const sequence = context.getSequence();
    const chat = new LlamaChat({ contextSequence: sequence });
    const before = sequence.tokenMeter.getState();
    const answer = await chat.generateResponse(request.history, {
      maxTokens: Math.min(request.maxTokens ?? MAX_TOKENS, MAX_TOKENS),
      temperature: request.temperature,
      topP: request.topP,
      seed: request.seed,
      customStopTriggers: request.stop,
      onTextChunk: onText,
      signal,
      stopOnAbortSignal: true,
    });
    const used = sequence.tokenMeter.diff(before);
    const usage = {
      prompt_tokens: used.usedInputTokens,
      completion_tokens: used.usedOutputTokens,
      total_tokens: used.usedInputTokens + used.usedOutputTokens,
    };
    return { text: answer.response, finish: answer.metadata.stopReason === "maxTokens" ? "length" : "stop", usage };
  } finally {
    await context.dispose();
  }
}

async function chat(request, response, signal) {
  const head = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: modelId };
  if (!request.stream) {
    const { text, finish, usage } = await generate(request, signal);
    const message = { role: "assistant", content: text };
    const choices = [{ index: 0, message, logprobs: null, finish_reason: finish }];
    return json(response, 200, { ...head, object: "chat.completion", choices, usage });
  }
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  const send = (fields) => {
    const chunk = { ...head, object: "chat.completion.chunk", ...fields };
    response.write(`data: ${JSON.stringify(request.includeUsage ? { usage: null, ...chunk } : chunk)}\n\n`);
  };
  const delta = (delta, finish_reason = null) =>
    send({ choices: [{ index: 0, delta, logprobs: null, finish_reason }] });
  delta({ role: "assistant", content: "" });
  const { finish, usage } = await generate(request, signal, (content) => delta({ content }));
  delta({}, finish);
  if (request.includeUsage) send({ choices: [], usage });
  response.end("data: [DONE]\n\n");
}

function json(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

async function bodyOf(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) throw new RequestError(413, "request_too_large", "The body is too large");
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    throw new RequestError(400, "invalid_json", "The body is not JSON");
  }
}

async function answer(request, response) {
  if (apiKey && request.headers.authorization !== `Bearer ${apiKey}`) {
    throw new RequestError(401, "invalid_api_key", "Incorrect API key provided");
  }
  const route = `${request.method} ${request.url.split("?")[0]}`;
  if (route === "GET /v1/models") {
    const data = [{ id: modelId, object: "model", created, owned_by: "demo" }];
    return json(response, 200, { object: "list", data });
  }
  if (route !== "POST /v1/chat/completions") {
    throw new RequestError(404, "unknown_url", `Unknown request URL: ${route}`);
  }
  const asked = read(await bodyOf(request));
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  await inTurn(() => chat(asked, response, gone.signal));
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    const known = error instanceof RequestError;
    if (!known) console.error(error);
    if (response.headersSent) return response.destroy();
    const { status, code, param } = known ? error : { status: 500, code: "internal_error", param: null };
    const type = status >= 500 ? "server_error" : "invalid_request_error";
    const message = known ? error.message : "The model failed";
    json(response, status, { error: { message, type, param, code } });
  });
});
server.listen(Number(options.port), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: server.address().port, model: modelId }));
});
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => process.exit(0));
}
