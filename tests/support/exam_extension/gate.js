// Shows what the gate says. The request is the page's fragment, so that a test can choose it.
"use strict";

const request = JSON.parse(decodeURIComponent(location.hash.slice(1) || "{}"));
chrome.runtime.sendMessage(request).then((answer) => {
  window.answer = answer;
  document.getElementById("message").textContent = answer.message;
  document.getElementById("action").textContent = answer.action ?? answer.type;
});
