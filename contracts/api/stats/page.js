"use strict";
// Renews the parts of the page that change. Without it the browser loads the page anew.
const pause = 5000;
async function renew() {
  if (document.hidden) return;
  try {
    const r = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(pause) });
    if (!r.ok) throw new Error(r.status);
    const fresh = new DOMParser().parseFromString(await r.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      if (next) part.replaceWith(document.importNode(next, true));
    }
    document.title = fresh.title;
    const icon = document.querySelector("link[rel=icon]"), now = fresh.querySelector("link[rel=icon]");
    if (icon.href !== now.href) icon.replaceWith(document.importNode(now, true));
    document.body.classList.remove("stale");
  } catch {
    document.body.classList.add("stale");
  }
}
setInterval(renew, pause);
document.addEventListener("visibilitychange", renew);
