// Runs the example extension's script in a browser made of nothing: reads events, one JSON array a line, and writes what
// the native messaging host gets. `["FIREFOX"|"CHROMIUM"]` comes first.
"use strict";

const fs = require("node:fs");
const vm = require("node:vm");

const [script, ...lines] = [process.argv[2], ...fs.readFileSync(0, "utf-8").trim().split("\n")];
const [[browser], ...events] = lines.map((line) => JSON.parse(line));
const listeners = {};
const infos = new Map();
const registered = {};
let now = 1_800_000_000_000;
let timers = [];

const event = (name) => ({
  addListener(listener, filter, extra) {
    listeners[name] = listener;
    registered[name] = { filter, extra };
  },
});
const port = {
  postMessage(message) {
    process.stdout.write(JSON.stringify(message) + "\n");
    setImmediate(() => listeners.message({ type: "answer", id: message.id }));
  },
  onMessage: event("message"),
  onDisconnect: event("disconnect"),
};
const api = {
  runtime: {
    connectNative: () => port,
    getManifest: () => ({ manifest_version: 2, permissions: ["webRequest", "https://exam.example.edu/*"] }),
    onMessage: event("ask"),
  },
  webRequest: {
    onHeadersReceived: event("onHeadersReceived"),
    onResponseStarted: event("onResponseStarted"),
    onBeforeRedirect: event("onBeforeRedirect"),
    onErrorOccurred: event("onErrorOccurred"),
  },
};
if (browser === "FIREFOX") api.webRequest.getSecurityInfo = async (id) => infos.get(id);

class Clock extends Date {
  static now() {
    return now;
  }
}
const context = {
  Date: Clock,
  URL,
  btoa,
  navigator: { languages: ["de-CH", "x".repeat(101), ...Array(40).fill("fr-FR")] },
  clearTimeout: () => (timers = []),
  setTimeout: (call) => timers.push(call),
  ...(browser === "FIREFOX" ? { browser: api } : { chrome: api }),
};
context.globalThis = context;
vm.runInNewContext(fs.readFileSync(script, "utf-8"), context);

(async () => {
  process.stdout.write(JSON.stringify(registered) + "\n");
  for (const [name, details] of events) {
    if (name === "later") now += details;
    else if (name === "ask") await new Promise((resolve) => listeners.ask(details, null, resolve));
    else {
      if (details.info) infos.set(details.requestId, details.info);
      await listeners[name]?.({ timeStamp: now, ...details });
    }
  }
})();
