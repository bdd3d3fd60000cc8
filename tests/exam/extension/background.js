// Asks the detector on this device whether the exam may start, and gives its answer to whatever page asked.
"use strict";

const HOST = "tls_middleware_detector.exam";

// Resolves to a decision or an error, each as docs/exam-gate.md describes it.
function ask(request) {
  return new Promise((resolve) => {
    const port = chrome.runtime.connectNative(HOST);
    const pieces = [];
    port.onMessage.addListener((message) => {
      if (message.type === "part") {
        pieces[message.part] = message.data;
        if (message.part < message.parts - 1) return;
        message = JSON.parse(pieces.join(""));
      }
      port.disconnect();
      resolve(message);
    });
    // The host is not installed, or ended without an answer: that says nothing about the network, and clears nothing.
    port.onDisconnect.addListener(() => {
      resolve({ type: "error", code: "no-host", message: chrome.runtime.lastError?.message ?? "The host ended." });
    });
    port.postMessage(request);
  });
}

chrome.runtime.onMessage.addListener((request, sender, answer) => {
  ask(request).then(answer);
  return true; // the answer comes later
});
