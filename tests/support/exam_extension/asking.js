// Lets a page of the exam ask the gate, so that a test can: a browser's driver may not open pages of an extension.
"use strict";

document.addEventListener("exam-gate", (event) => {
  const show = (answer) => {
    document.documentElement.dataset.answer = JSON.stringify(answer);
    document.dispatchEvent(new Event("exam-gate-answer"));
  };
  // Refused as long as the extension's script does not listen yet.
  const asked = (globalThis.browser ?? chrome).runtime.sendMessage(JSON.parse(event.detail));
  asked.then(show, () => show({ code: "not-ready" }));
});
document.documentElement.dataset.extension = "ready";
