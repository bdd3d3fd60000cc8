// Reports which engine runs this page, by what only one engine has. Nothing in it depends on the User-Agent.
//
//   <script src="engine-check.js" data-report="/engine" defer></script>
//
// The report is {"version": 1, "features": {"name": true, ...}}. It goes to the address in data-report, with the session's
// cookies. detector.origin.engine reads it; docs/origin-decisions.md says what it counts for.
"use strict";
{
  const features = {
    "blink-app-region": CSS.supports("app-region", "drag"),
    "blink-text-breaks": typeof Intl.v8BreakIterator === "function",
    "gecko-error": typeof InternalError === "function",
    "gecko-orientation": CSS.supports("-moz-orient", "inline"),
    "webkit-fonts": CSS.supports("font", "-apple-system-body"),
    "webkit-gestures": typeof GestureEvent === "function",
  };
  const address = document.currentScript.dataset.report;
  const body = JSON.stringify({ version: 1, features });
  fetch(address, { method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/json" }, body });
}
