// Reports to the detector on this device what the browser's own connections to the exam's servers showed, and asks it
// whether the exam may start. The hosts are those in the manifest; nothing of any other site is seen, nothing of a private
// window is reported, and nothing goes anywhere but to the detector.
"use strict";

const HOST = "tls_middleware_detector.exam";
const BROWSER = globalThis.browser?.webRequest?.getSecurityInfo ? "firefox" : "chromium";
const api = globalThis.browser ?? chrome;

const CONNECTIONS_MAX = 64; // of one report
const CHARACTERS_MAX = 100_000; // of one report: the detector reads at most 128 KiB
const LANGUAGES_MAX = 32; // of one request
const LANGUAGE_CHARACTERS_MAX = 100; // of one language tag
const AGAIN_AFTER = 60_000; // milliseconds after which the same certificate of the same host is reported again
const GATHERING = 100; // milliseconds in which connections are gathered into one report

const PROXIES = { http: "http", https: "https", socks4: "socks4a", socks: "socks5" }; // Firefox's names: the detector's

// The port to the detector. It stays open: the detector keeps reports until it closes.

let port = null;
let count = 0;
const waiting = new Map(); // by id: what to call with the answer

function connect() {
  if (port !== null) return port;
  const opened = api.runtime.connectNative(HOST);
  const parts = [];
  opened.onMessage.addListener((message) => {
    if (message.type === "part") {
      parts[message.part] = message.data;
      if (message.part < message.parts - 1) return;
      message = JSON.parse(parts.splice(0).join(""));
    }
    if (message.id === null) return answerAll(message); // of no request: the host cannot go on
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  });
  // The host is not installed, or it ended: that says nothing about the network, and clears nothing.
  opened.onDisconnect.addListener(() => {
    const message = api.runtime.lastError?.message ?? opened.error?.message ?? "The host ended.";
    answerAll({ type: "error", code: "no-host", message });
    reported.clear();
    port = null;
  });
  port = opened;
  return port;
}

function answerAll(message) {
  for (const resolve of waiting.values()) resolve(message);
  waiting.clear();
}

function ask(request) {
  count += 1;
  const id = count;
  return new Promise((resolve) => {
    const opened = connect();
    waiting.set(id, resolve);
    opened.postMessage({ ...request, id });
  });
}

// Reports.

const reported = new Map(); // what was reported, and when
let gathered = [];
let reporting = Promise.resolve();
let timer = null;

function gather(connection) {
  const key = JSON.stringify({ ...connection, time: null });
  const now = Date.now();
  if (now - (reported.get(key) ?? 0) < AGAIN_AFTER) return;
  for (const [known, time] of reported) if (now - time >= AGAIN_AFTER) reported.delete(known);
  reported.set(key, now);
  gathered.push(connection);
  timer ??= setTimeout(report, GATHERING);
}

function report() {
  clearTimeout(timer);
  timer = null;
  let batch = [];
  let size = 0;
  const batches = [batch];
  for (const connection of gathered.splice(0)) {
    const length = JSON.stringify(connection).length;
    if (length > CHARACTERS_MAX) continue; // longer than any genuine chain
    if (batch.length === CONNECTIONS_MAX || size + length > CHARACTERS_MAX) {
      batches.push((batch = []));
      size = 0;
    }
    batch.push(connection);
    size += length;
  }
  for (const connections of batches) {
    if (connections.length === 0) continue;
    reporting = reporting.then(() => ask({ task: "observe", browser: BROWSER, connections }));
  }
  return reporting;
}

// What a connection showed is known with the response's headers; whether there was one at all, with its body.

const described = new Map(); // by request: the connection, until it is known that there was one

function describe(details, info) {
  const connection = { host: new URL(details.url).host, time: new Date(details.timeStamp).toISOString() };
  const chain = (info?.certificates ?? []).filter((certificate) => certificate.rawDER).map(encode);
  if (chain.length > 0) connection.chain = chain;
  else connection.not_reported = info ? "no-certificate" : "no-api";
  for (const [name, value] of Object.entries({
    protocol: info?.protocolVersion,
    group: info?.keaGroupName,
    cipher: info?.cipherSuite,
    address: details.ip,
  })) {
    if (value && value !== "none" && value !== "unknown") connection[name] = value;
  }
  const proxy = details.proxyInfo;
  if (proxy && proxy.type in PROXIES) {
    connection.proxy = { scheme: PROXIES[proxy.type], host: proxy.host, port: proxy.port };
  }
  return connection;
}

function encode(certificate) {
  return btoa(String.fromCharCode(...new Uint8Array(certificate.rawDER)));
}

function ended(details) {
  const connection = described.get(details.requestId);
  described.delete(details.requestId);
  if (connection === undefined) return;
  if (details.fromCache) {
    gather({ host: connection.host, time: connection.time, not_reported: "cached" });
    return;
  }
  gather(details.ip && !connection.address ? { ...connection, address: details.ip } : connection);
}

function started(details) {
  if (details.incognito) return;
  // Chromium with its feature WebRequestSecurityInfo off does not call the listener that asks for it.
  if (!described.has(details.requestId)) described.set(details.requestId, describe(details, undefined));
  ended(details);
}

async function receivedInFirefox(details) {
  if (details.incognito) return;
  const options = { certificateChain: true, rawDER: true };
  described.set(details.requestId, describe(details, await api.webRequest.getSecurityInfo(details.requestId, options)));
}

function receivedInChromium(details) {
  described.set(details.requestId, describe(details, details.securityInfo));
}

function listen() {
  const manifest = api.runtime.getManifest();
  const urls = (manifest.host_permissions ?? manifest.permissions).filter((name) => name.startsWith("https://"));
  const events = api.webRequest;
  if (BROWSER === "firefox") {
    events.onHeadersReceived.addListener(receivedInFirefox, { urls }, ["blocking"]);
  } else {
    try {
      events.onHeadersReceived.addListener(receivedInChromium, { urls }, ["securityInfoRawDer"]);
    } catch {
      // A version that does not know it: reported as such.
    }
  }
  events.onResponseStarted.addListener(started, { urls });
  for (const event of [events.onBeforeRedirect, events.onErrorOccurred]) event.addListener(ended, { urls });
}

listen();

// Any page of this extension may ask the gate, with a request as docs/exam-gate.md describes it. The message to the
// student comes in the first language of the browser that the detector has.
api.runtime.onMessage.addListener((request, sender, answer) => {
  const languages = navigator.languages.filter((tag) => tag.length <= LANGUAGE_CHARACTERS_MAX).slice(0, LANGUAGES_MAX);
  report()
    .then(() => ask({ languages, ...request }))
    .then(answer);
  return true; // the answer comes later
});
