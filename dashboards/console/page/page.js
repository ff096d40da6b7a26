// The page: signs in, and shows the view that the address names.

import { h, replace, empty } from "./dom.js";
import * as requests from "./requests.js";

const main = document.getElementById("view");
let leave = null; // ends the view that is shown

// get asks the API. When nobody is signed in it shows how to.
async function get(path, signal) {
  const resp = await fetch(path, { signal, headers: { Accept: "application/json" } });
  if (resp.status === 401) {
    signIn();
    throw new DOMException("signed out", "AbortError");
  }
  const body = await resp.json();
  if (!resp.ok) throw new Error(body.error ?? resp.statusText);
  return body;
}

// redeem exchanges a token for a session.
async function redeem(token) {
  const resp = await fetch("/api/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }) });
  return resp.ok;
}

function signIn(failed) {
  leave?.();
  leave = null;
  const field = h("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: true });
  const form = h("form", {
    class: "signin",
    onsubmit: async (e) => {
      e.preventDefault();
      if (await redeem(field.value)) start();
      else signIn(true);
    },
  },
    h("h1", {}, "Sign in"),
    h("p", {}, "Run ", h("code", {}, "ccproxy open"), " in a terminal on this machine: it opens this page with a token that works once."),
    failed ? h("p", { class: "problem", role: "alert" }, "That token was used already, or is too old.") : null,
    h("label", { for: "token" }, "Or paste the token of run.json, in the storage directory"),
    h("div", { class: "row" }, field, h("button", { type: "submit", class: "primary" }, "Sign in")));
  replace(main, form);
  document.title = "Sign in · ccproxy";
}

const modules = {
  trace: () => import("./trace.js"),
  money: () => import("./money.js"),
  health: () => import("./health.js"),
};

function route() {
  const [, first, second] = location.pathname.split("/");
  if (first === "trace" && second) return ["trace", decodeURIComponent(second)];
  return [first === "money" || first === "health" ? first : "requests", null];
}

// show shows the view of the address.
async function show() {
  leave?.();
  const [view, id] = route();
  for (const a of document.querySelectorAll("nav a[data-view]")) {
    if (a.dataset.view === view) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  const end = new AbortController();
  leave = () => end.abort();
  document.title = { requests: "Requests", trace: "Trace", money: "Money", health: "Health" }[view] + " · ccproxy";
  try {
    const module = view === "requests" ? requests : await modules[view]();
    await module.show({ main, id, get, go, signal: end.signal });
  } catch (err) {
    if (err.name !== "AbortError" && !end.signal.aborted) replace(main, empty("This did not work", h("p", { class: "problem", role: "alert" }, err.message)));
  }
}

// go changes the address and shows its view.
function go(path, how = "push") {
  if (how === "push") history.pushState(null, "", path);
  else history.replaceState(null, "", path);
  if (how !== "quiet") {
    show();
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

document.addEventListener("click", (e) => {
  const a = e.target.closest?.("a[href]");
  if (!a || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey || a.target || a.hasAttribute("download")) return;
  const url = new URL(a.href);
  if (url.origin !== location.origin || url.pathname.startsWith("/api/") || a.classList.contains("skip")) return;
  e.preventDefault();
  go(url.pathname + url.search);
});

addEventListener("popstate", () => show());

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  dispatchEvent(new Event("themechange"));
});

// g then r, m or h goes to a view, as in other consoles.
let prefix = 0;
addEventListener("keydown", (e) => {
  if (e.target.closest?.("input, select, textarea") || e.metaKey || e.ctrlKey || e.altKey) return;
  if (e.key === "g") {
    prefix = Date.now();
    return;
  }
  const path = { r: "/", m: "/money", h: "/health" }[e.key];
  if (path && Date.now() - prefix < 1000) go(path);
  prefix = 0;
});

// links shows where else to look, once somebody is signed in.
async function links() {
  try {
    const all = await get("/api/values");
    replace(document.getElementById("links"), all.links.map((l) => h("a", { href: l.url, target: "_blank", rel: "noreferrer noopener" }, l.name)));
  } catch (err) {
    if (err.name !== "AbortError") console.warn(err.message);
  }
}

async function start() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) {
    history.replaceState(null, "", location.pathname + location.search);
    if (!(await redeem(token))) {
      signIn(true);
      return;
    }
  }
  show();
  links();
}

start();
