// The dashboard: everything it shows comes from REST, and everything it writes goes into text nodes.
'use strict';

const REFRESH_MS = 5000;

const $ = (id) => document.getElementById(id);
let timer = null;

class Unauthenticated extends Error {}

async function rest(path, options) {
  const response = await fetch(path, { credentials: 'same-origin', ...options });
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  const message = body?.error?.message ?? `The gateway answered ${response.status}`;
  if (response.status === 401 && path !== '/api/auth/login') throw new Unauthenticated(message);
  throw new Error(message);
}

function post(path, body) {
  return rest(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
}

// --- formats ---

const time = (text) => (text ? new Date(text).toLocaleString() : '–');
const count = (number) => (number ?? 0).toLocaleString();
const dollars = (amount) => (amount === null || amount === undefined ? '–' : `$${amount.toFixed(6)}`);
const yesNo = (flag) => (flag ? ['yes', 'good'] : ['no', 'warn']);

function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

const STATES = { serving: 'good', stale: 'warn', draining: 'warn', lost: 'bad', healthy: 'good', degraded: 'warn', unhealthy: 'bad', active: 'good', error: 'bad' };

// --- rendering ---

/** Fills a table. A cell is a text, or a text and a class. */
function fill(id, rows, empty) {
  const table = $(id);
  const body = table.tBodies[0];
  body.replaceChildren();
  if (rows.length === 0) {
    const cell = body.insertRow().insertCell();
    cell.colSpan = table.tHead.rows[0].cells.length;
    cell.className = 'none';
    cell.textContent = empty;
  }
  for (const row of rows) {
    const line = body.insertRow();
    for (const cell of row) {
      const [text, kind] = Array.isArray(cell) ? cell : [cell, ''];
      const td = line.insertCell();
      td.textContent = text;
      if (kind) td.className = kind;
    }
  }
}

function define(id, entries) {
  $(id).replaceChildren(
    ...entries.map(([term, value, kind]) => {
      const pair = document.createElement('div');
      const dt = document.createElement('dt');
      const dd = document.createElement('dd');
      dt.textContent = term;
      dd.textContent = value;
      if (kind) dd.className = kind;
      pair.append(dt, dd);
      return pair;
    }),
  );
}

function showHealth(health) {
  const status = $('status');
  status.textContent = health.status;
  status.className = `badge ${STATES[health.status] ?? ''}`;
  const providers = health.providerSummary;
  define('summary', [
    ['Version', health.version],
    ['Up for', duration(health.uptime)],
    ['Revision', count(health.revision)],
    ['Database', `${health.database.engine}: ${health.database.status}`, STATES[health.database.status]],
    ['Shared state', `${health.coordination.backend}: ${health.coordination.status}`, STATES[health.coordination.status]],
    ['Providers', `${providers.activeCount} active of ${providers.configuredCount} configured`],
    ['Catalog', `${providers.catalogCount} providers`],
    ['Usage not delivered yet', count(health.journal.pending)],
    ['Usage lost', count(health.journal.lost), health.journal.lost > 0 ? 'bad' : ''],
  ]);
  fill(
    'proxies',
    health.proxies.map((proxy) => [
      proxy.id,
      [proxy.state, STATES[proxy.state]],
      proxy.version,
      count(proxy.revision),
      proxy.lag === 0 ? 'none' : [`${count(proxy.lag)} revisions`, 'warn'],
      `${count(proxy.requestsInFlight)} (${count(proxy.streamsInFlight)} streams)`,
      count(proxy.requestsTotal),
      count(proxy.journalPending),
      [proxy.lastError ?? '–', 'wrap'],
    ]),
    'No proxy has connected yet.',
  );
}

function showConnections({ connections }) {
  fill(
    'connections',
    connections.map((connection) => [
      connection.name,
      connection.providerSpecificData?.nodeName ?? connection.provider,
      connection.priority,
      yesNo(connection.isActive),
      [connection.testStatus, STATES[connection.testStatus] ?? ''],
      connection.latencyMs === undefined ? '–' : `${connection.latencyMs} ms`,
      [connection.lastError ?? '–', 'wrap'],
    ]),
    'No connections yet. Add one with: omniroute providers add',
  );
}

/** What a key is good for now. */
function keyState(key) {
  if (key.revokedAt) return ['revoked', 'bad'];
  if (key.expiresAt && new Date(key.expiresAt) <= new Date()) return ['expired', 'bad'];
  return key.isActive ? ['active', 'good'] : ['off', 'warn'];
}

function showKeys({ keys }) {
  fill(
    'keys',
    keys.map((key) => [
      key.name,
      key.key,
      keyState(key),
      key.allowedModels.length === 0 ? 'all' : key.allowedModels.join(', '),
      key.scopes.length === 0 ? '–' : key.scopes.join(', '),
      time(key.expiresAt),
      time(key.lastUsedAt),
    ]),
    'No API keys yet. Make one with: omniroute keys create',
  );
}

function showRequests(rows) {
  fill(
    'requests',
    rows.map((row) => [
      time(row.timestamp),
      row.requestedModel || row.model,
      row.account,
      row.apiKeyName ?? '–',
      [row.status || row.outcome, row.error ? 'bad' : 'good'],
      `${row.tokens.in ?? '?'} / ${row.tokens.out ?? '?'}${row.estimated ? ' (estimated)' : ''}`,
      `${count(row.duration)} ms`,
      dollars(row.cost),
    ]),
    'No requests yet.',
  );
}

// --- flow ---

function show(view) {
  $('login').hidden = view !== 'login';
  $('overview').hidden = view !== 'overview';
  $('logout').hidden = view !== 'overview';
}

async function refresh() {
  clearTimeout(timer);
  const problem = $('problem');
  try {
    const [health, connections, keys, requests] = await Promise.all([
      rest('/api/monitoring/health'),
      rest('/api/providers'),
      rest('/api/keys?limit=200'),
      rest('/api/usage/call-logs?limit=25'),
    ]);
    show('overview');
    showHealth(health);
    showConnections(connections);
    showKeys(keys);
    showRequests(requests);
    problem.hidden = true;
  } catch (error) {
    if (error instanceof Unauthenticated) {
      problem.hidden = true;
      return signIn();
    }
    problem.textContent = error.message;
    problem.hidden = false;
  }
  timer = setTimeout(refresh, REFRESH_MS);
}

async function signIn() {
  clearTimeout(timer);
  show('login');
  const hint = $('login-hint');
  try {
    const { hasPassword } = await rest('/api/settings/require-login');
    hint.textContent = hasPassword
      ? 'On the gateway’s own machine, “omniroute password” tells where it is, or sets a new one.'
      : 'No password is set yet. On the gateway’s own machine: omniroute password --new';
  } catch (error) {
    $('login-error').textContent = error.message;
  }
  $('password').focus();
}

$('login-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const password = $('password');
  $('login-error').textContent = '';
  try {
    await post('/api/auth/login', { password: password.value });
    password.value = '';
    await refresh();
  } catch (error) {
    $('login-error').textContent = error.message;
    password.select();
  }
});

$('logout').addEventListener('click', async () => {
  await post('/api/auth/logout', {}).catch(() => {});
  await signIn();
});

document.addEventListener('visibilitychange', () => {
  if (document.hidden) clearTimeout(timer);
  else if (!$('overview').hidden) refresh();
});

refresh();
