// Elements, and how figures read. Whatever comes from the API becomes a text node or the value of an attribute listed here:
// nothing is ever parsed as HTML.

const svgTags = new Set(["svg", "path", "circle", "rect", "line", "g"]);

// h makes an element. Props: on… are listeners, style is an object, class, data-… and the rest are attributes; null, undefined
// and false are left out. Children are nodes, texts, or lists of them.
export function h(tag, props, ...children) {
  const el = svgTags.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [p, v] of Object.entries(value)) el.style.setProperty(p, v);
    else if (key === "href") el.setAttribute("href", safeURL(value));
    else el.setAttribute(key, value === true ? "" : String(value));
  }
  add(el, children);
  return el;
}

function add(el, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(el, child);
    else el.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// safeURL keeps links to this page, and to http and https.
function safeURL(value) {
  const url = new URL(String(value), location.origin);
  return url.protocol === "http:" || url.protocol === "https:" ? url.href : "#";
}

// replace puts children in the place of what el has.
export function replace(el, ...children) {
  el.replaceChildren();
  add(el, children);
}

// say tells those who cannot see.
export function say(words) {
  document.getElementById("say").textContent = words;
}

const count = new Intl.NumberFormat("en-US");
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export const number = (n) => count.format(n);
export const brief = (n) => (Math.abs(n) < 10000 ? count.format(n) : compact.format(n));

// usd writes an amount with the digits that suit it.
export function usd(v) {
  if (v === null || v === undefined) return "–";
  const a = Math.abs(v);
  if (a > 0 && a < 1e-6) return "<$0.000001";
  const digits = a === 0 || a >= 1 ? 2 : a >= 0.01 ? 4 : 6;
  return (v < 0 ? "−$" : "$") + a.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

// took writes milliseconds in the unit that suits them.
export function took(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return Math.round(ms * 1000) + " µs";
  if (ms < 10) return ms.toFixed(1) + " ms";
  if (ms < 1000) return Math.round(ms) + " ms";
  if (ms < 60000) return (ms / 1000).toFixed(2) + " s";
  const minutes = Math.floor(ms / 60000);
  return minutes + " min " + Math.round((ms - minutes * 60000) / 1000) + " s";
}

export function bytes(n) {
  if (n < 1024) return n + " B";
  if (n < 1 << 20) return (n / 1024).toFixed(n < 10240 ? 1 : 0) + " KiB";
  return (n / (1 << 20)).toFixed(1) + " MiB";
}

export const percent = (part) => (100 * part).toFixed(part > 0 && part < 0.1 ? 1 : 0) + " %";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hour12: false });

// when is a time element: of today the time, of other days the day too.
export function when(text) {
  const t = new Date(text);
  const today = new Date().toDateString() === t.toDateString();
  return h("time", { datetime: text, title: full.format(t) }, (today ? "" : day.format(t) + " ") + clock.format(t));
}

// until says how far off a time is.
export function until(text) {
  const seconds = (new Date(text) - Date.now()) / 1000;
  const a = Math.abs(seconds);
  const words = a < 60 ? Math.round(a) + " s" : a < 3600 ? Math.round(a / 60) + " min" : a < 172800 ? Math.round(a / 3600) + " h" : Math.round(a / 86400) + " days";
  return seconds < 0 ? words + " ago" : "in " + words;
}

// copyable shows an id with a button that copies it.
export function copyable(name, text) {
  const button = h("button", {
    type: "button", class: "copy", "aria-label": `Copy ${name}`, title: `Copy ${name}`,
    onclick: async (e) => {
      e.stopPropagation();
      try {
        await navigator.clipboard.writeText(text);
        button.classList.add("done");
        say(`${name} copied`);
        setTimeout(() => button.classList.remove("done"), 1200);
      } catch {
        getSelection().selectAllChildren(value);
      }
    },
  }, h("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, h("path", { d: "M9 9h10v10H9z" }), h("path", { d: "M15 9V5H5v10h4" }), h("path", { class: "tick", d: "M5 12l5 5 9-10" })));
  const value = h("code", {}, text);
  return h("span", { class: "id" }, value, button);
}

const outcomes = {
  completed: "good", rejected: "warn", blocked: "warn", client_disconnect: "idle", failed: "bad", timeout: "bad", truncated: "bad",
};

// outcome is a badge: a colour, a shape and a word.
export function outcome(r) {
  const kind = outcomes[r.outcome] ?? "idle";
  const words = { client_disconnect: "client left" }[r.outcome] ?? (r.outcome || "unknown");
  const more = r.rejection || (kind === "bad" ? r.error_type : "");
  return h("span", { class: `badge ${kind}`, title: more ? more.replaceAll("_", " ") : null }, h("i", { "aria-hidden": "true" }), words);
}

// labelled is the label as a chip.
export const labelled = (label) => (label ? h("span", { class: "chip" }, label) : h("span", { class: "dim" }, "–"));

// models is what the client named and, where it is another, what answered.
export function models(r) {
  const asked = r.original_model, routed = r.routed_model;
  if (!asked && !routed) return h("span", { class: "dim" }, r.dialect || "–");
  if (!routed || routed === asked) return h("span", { class: "models" }, h("b", {}, asked));
  return h("span", { class: "models" }, h("span", { class: "asked" }, asked || "?"), h("span", { class: "to", "aria-label": "routed to" }, "→"), h("b", {}, routed));
}

// tile is one figure.
export const tile = (name, value, more) => h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, value, more ? h("small", {}, more) : null));

// choice is a row of buttons of which one is pressed.
export function choice(name, values, current, pick) {
  return h("div", { class: "choice", role: "group", "aria-label": name }, values.map(([value, words]) =>
    h("button", { type: "button", "aria-pressed": String(value === current), "data-value": value, onclick: () => pick(value) }, words)));
}

export const empty = (title, ...words) => h("div", { class: "empty" }, h("h2", {}, title), ...words);
