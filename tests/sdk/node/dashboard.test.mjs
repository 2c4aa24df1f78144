// The dashboard's page in a browser's DOM: the real page and its real script, from the control plane that serves them, which it
// then asks. OMNIROUTE_TEST_MODULES is where jsdom is installed. The page is never closed, because its script would go on in a
// window without a document: the runner ends the process (--test-force-exit).
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { before, test } from "node:test";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.env.OMNIROUTE_TEST_MODULES}/package.json`));
const { CookieJar, JSDOM, VirtualConsole } = require("jsdom");

const { OMNIROUTE_TEST_REST: base, OMNIROUTE_TEST_PASSWORD: password } = process.env;
const PATIENCE_MS = 30_000;
const cookies = new CookieJar();
const errors = [];
let window;

// jsdom has no fetch: Node's, with the page's address, origin and cookies, as a browser sends them.
function fetchOf(window) {
  return async (path, options = {}) => {
    const url = new URL(path, window.location.href);
    const headers = { ...options.headers, cookie: cookies.getCookieStringSync(url.href), origin: window.location.origin };
    const response = await fetch(url, { ...options, headers });
    for (const cookie of response.headers.getSetCookie()) cookies.setCookieSync(cookie, url.href);
    return response;
  };
}

const $ = (id) => window.document.getElementById(id);
const rows = (id) => [...$(id).tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent));

async function until(what, holds) {
  const end = Date.now() + PATIENCE_MS;
  while (!holds()) {
    assert.ok(Date.now() < end, `waited in vain until ${what}:\n${window.document.body.textContent}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// What the page does when somebody comes back to its tab.
const look = () => window.document.dispatchEvent(new window.Event("visibilitychange"));

function submit(secret) {
  $("password").value = secret;
  $("login-form").requestSubmit();
}

before(async () => {
  const virtualConsole = new VirtualConsole();
  virtualConsole.on("jsdomError", (error) => errors.push(error.message));
  const page = await JSDOM.fromURL(`${base}/dashboard`, {
    runScripts: "dangerously",
    resources: "usable",
    pretendToBeVisual: true,
    cookieJar: cookies,
    virtualConsole,
    beforeParse: (window) => {
      window.fetch = fetchOf(window);
    },
  });
  ({ window } = page);
});

test("whoever is not signed in sees the form and nothing else", async () => {
  await until("the form is there", () => !$("login").hidden && $("login-hint").textContent !== "");
  assert.ok($("overview").hidden && $("logout").hidden);
  assert.match($("login-hint").textContent, /omniroute password/);
  submit("no such password");
  await until("the refusal is shown", () => $("login-error").textContent !== "");
  assert.equal($("login-error").textContent, "Invalid password");
  assert.ok($("overview").hidden);
});

test("signed in, one sees proxies, connections, keys and requests", async () => {
  submit(password);
  await until("the overview is there", () => !$("overview").hidden && rows("keys").length > 1);
  assert.ok($("login").hidden && !$("logout").hidden);
  assert.equal($("password").value, "", "the password does not stay in the page");
  // The page looks again by itself every few seconds.
  await until("the proxy serves", () => rows("proxies")[0].includes("serving"));
  assert.match($("status").textContent, /healthy|degraded/);
  assert.match($("summary").textContent, /Database.*sqlite: healthy/);
  assert.ok(rows("connections").some((cells) => cells.includes(process.env.OMNIROUTE_TEST_CONNECTION)), rows("connections"));
  await until("the request is listed", () => rows("requests").some((cells) => cells[1] === "mock/gpt-mock"));
  const request = rows("requests").find((cells) => cells[1] === "mock/gpt-mock");
  assert.match(request[5], /^\d+ \/ \d+/);
});

test("what others have named is text and no markup", async () => {
  const name = process.env.OMNIROUTE_TEST_HOSTILE;
  assert.match(name, /<img/);
  const [key] = rows("keys").filter((cells) => cells[0] === name);
  assert.ok(key, JSON.stringify(rows("keys")));
  assert.match(key[1], /\*{4}/, "a key is masked");
  assert.equal(window.document.querySelectorAll("img, script:not([src])").length, 0);
});

test("signing out shows the form again, and so does a session that has ended elsewhere", async () => {
  $("logout").click();
  await until("the form is back", () => !$("login").hidden);
  assert.ok($("overview").hidden && $("logout").hidden);
  submit(password);
  await until("the overview is back", () => !$("overview").hidden);
  cookies.removeAllCookiesSync();
  look();
  await until("the form is back", () => !$("login").hidden && $("overview").hidden);
  assert.ok($("problem").hidden, "nothing is wrong");
});

test("the script has thrown nothing", () => {
  assert.deepEqual(errors, []);
});
