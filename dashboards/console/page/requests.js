// The list of requests, newest first, which goes on by itself.

import { h, replace, when, usd, took, number, outcome, labelled, models, say, empty } from "./dom.js";

const most = 400; // rows kept while the list goes on by itself

const fields = [
  ["label", "Label", "labels"],
  ["model", "Model", "models"],
  ["provider", "Provider", "providers"],
  ["outcome", "Outcome", "outcomes"],
  ["team", "Team", "teams"],
  ["key", "Key", "keys"],
];

const bounds = [
  ["min_cost", "Cost from, $", "0.01"],
  ["min_duration_ms", "Duration from, ms", "1000"],
  ["session", "Session", ""],
];

const columns = [
  ["time", "Time"], ["label", "Label"], ["model", "Model"], ["provider", "Provider"], ["tokens num", "Tokens in / out"], ["cost num", "Cost"],
  ["ttft num", "First token"], ["took num", "Duration"], ["outcome", "Outcome"],
];

export async function show({ main, get, go, signal }) {
  const state = new URLSearchParams(location.search);
  const body = h("tbody", {});
  const table = h("table", { class: "requests" },
    h("caption", { class: "visually-hidden" }, "Recent requests, the last that ended first"),
    h("thead", {}, h("tr", {}, columns.map(([c, name]) => h("th", { scope: "col", class: c }, name)))), body);
  const foot = h("div", { class: "foot" });
  const live = h("button", { type: "button", class: "live", "aria-pressed": "true", title: "Space pauses and goes on" }, h("i", { "aria-hidden": "true" }), h("span", {}, "Live"));
  const news = h("button", { type: "button", class: "news", hidden: true });
  const bar = h("form", { class: "filters", role: "search", "aria-label": "Filter requests", onsubmit: (e) => e.preventDefault() });
  replace(main, h("div", { class: "head" }, h("h1", {}, "Requests"), live), bar, h("div", { class: "newsbar" }, news), h("div", { class: "wide" }, table), foot);

  let source = null, next = 0, last = 0, waiting = [], paused = false, loading = null, changed = 0;
  const query = (more) => {
    const q = new URLSearchParams(state);
    for (const [k, v] of Object.entries(more ?? {})) q.set(k, v);
    return q.toString();
  };

  // reload shows the first page of what the filters pick.
  async function reload() {
    loading?.abort();
    loading = new AbortController();
    const mine = loading;
    signal.addEventListener("abort", () => mine.abort(), { once: true });
    const answer = await get("/api/requests?" + query({ limit: 50 }), mine.signal);
    body.replaceChildren(...answer.requests.map(row));
    next = answer.next;
    last = answer.last;
    waiting = [];
    tell();
    end();
    listen();
  }

  function end() {
    if (next) replace(foot, h("button", { type: "button", class: "more", onclick: more }, "Show older ones"));
    else if (!body.children.length) replace(foot, nothing());
    else replace(foot, h("p", { class: "dim" }, "No older ones."));
  }

  function nothing() {
    if ([...state.keys()].length) return empty("Nothing matches", h("p", {}, "No stored request is like this. ", h("button", { type: "button", class: "link", onclick: clear }, "Clear the filters")));
    return empty("No requests yet", h("p", {}, "Point a client at the gateway, and each request shows up here as it ends. ", h("code", {}, "ccproxy demo"), " plays some."));
  }

  async function more() {
    const answer = await get("/api/requests?" + query({ limit: 100, before: next }), signal);
    body.append(...answer.requests.map(row));
    next = answer.next;
    end();
  }

  function listen() {
    source?.close();
    source = new EventSource("/api/requests/live?" + query({ after: last }));
    live.dataset.state = "on";
    source.onmessage = (e) => {
      const answer = JSON.parse(e.data);
      const fresh = answer.requests.filter((r) => r.seq > last);
      if (!fresh.length) return;
      last = fresh[0].seq;
      if (paused || scrollY > 300) {
        waiting = fresh.concat(waiting).slice(0, most);
        tell();
      } else take(fresh);
    };
    source.onopen = () => { live.dataset.state = "on"; };
    source.onerror = () => { live.dataset.state = "off"; };
  }

  // take puts new rows on top.
  function take(rows) {
    if (!body.children.length) end();
    body.prepend(...rows.map((r) => { const el = row(r); el.classList.add("new"); return el; }));
    while (body.children.length > most) {
      next = Number(body.lastElementChild.dataset.seq) + 1;
      body.lastElementChild.remove();
    }
    if (foot.querySelector(".empty")) end();
    say(`${rows.length} new`);
  }

  function tell() {
    news.hidden = !waiting.length;
    news.textContent = waiting.length === 1 ? "1 new request" : `${waiting.length} new requests`;
  }

  news.addEventListener("click", () => {
    const rows = waiting;
    waiting = [];
    tell();
    scrollTo({ top: 0 });
    take(rows);
  });

  function pause() {
    paused = !paused;
    live.setAttribute("aria-pressed", String(!paused));
    live.lastElementChild.textContent = paused ? "Paused" : "Live";
    if (!paused && waiting.length) news.click();
  }
  live.addEventListener("click", pause);

  // row is one request. Its first cell is the link, and the whole row follows it.
  function row(r) {
    const path = "/trace/" + encodeURIComponent(r.request_id || r.span_id);
    return h("tr", { "data-seq": r.seq, onclick: (e) => { if (!e.target.closest("a, button") && !getSelection().toString()) go(path); } },
      h("td", { class: "time" }, h("a", { href: path }, when(r.start))),
      h("td", { class: "label" }, labelled(r.label)),
      h("td", { class: "model" }, models(r)),
      h("td", { class: "provider" }, r.provider || h("span", { class: "dim" }, "–"), r.fallbacks ? h("span", { class: "mark", title: `after ${r.fallbacks} fallback${r.fallbacks > 1 ? "s" : ""}: ${r.fallback_reason}` }, `↻ ${r.fallbacks}`) : null),
      h("td", { class: "tokens num" }, r.tokens.input || r.tokens.output ? [number(r.tokens.input), h("span", { class: "dim" }, " / "), number(r.tokens.output)] : h("span", { class: "dim" }, "–"),
        r.tokens.cache_read ? h("span", { class: "cached", title: `${number(r.tokens.cache_read)} read from the cache` }, h("i", { style: { width: Math.round(100 * r.tokens.cache_read / Math.max(1, r.tokens.input)) + "%" } })) : null),
      h("td", { class: "cost num" }, r.cost_usd === null ? h("span", { class: "dim" }, "–") : usd(r.cost_usd), r.billing === "notional" ? h("small", { title: "paid by a subscription: reported, not billed" }, "notional") : null),
      h("td", { class: "ttft num" }, took(r.ttft_ms)),
      h("td", { class: "took num" }, took(r.duration_ms)),
      h("td", { class: "outcome" }, outcome(r)));
  }

  // The filters.
  const search = h("input", { type: "search", name: "q", placeholder: "Id or session", "aria-label": "Part of an id, or of the session", autocomplete: "off", spellcheck: "false", value: state.get("q") ?? "" });
  const selects = h("div", { class: "selects" });
  const extra = h("details", { open: bounds.some(([k]) => state.get(k)) }, h("summary", {}, "More"), h("div", { class: "bounds" }, bounds.map(([key, name, hint]) =>
    h("label", {}, h("span", {}, name), h("input", { type: key === "session" ? "text" : "number", min: "0", step: "any", name: key, placeholder: hint, value: state.get(key) ?? "", inputmode: key === "session" ? "text" : "decimal" })))));
  const reset = h("button", { type: "button", class: "link", onclick: clear }, "Clear");
  replace(bar, search, selects, extra, reset);

  function clear() {
    for (const key of [...state.keys()]) state.delete(key);
    for (const el of bar.elements) if (el.name) el.value = "";
    apply();
  }

  function set(name, value) {
    if ((state.get(name) ?? "") === value) return;
    if (value) state.set(name, value);
    else state.delete(name);
    apply();
  }

  function apply() {
    const words = state.toString();
    go("/" + (words ? "?" + words : ""), "quiet");
    reset.hidden = !words;
    for (const el of bar.querySelectorAll("select")) el.classList.toggle("set", el.value !== "");
    reload().catch((err) => { if (err.name !== "AbortError") replace(foot, h("p", { class: "problem", role: "alert" }, err.message)); });
  }
  reset.hidden = ![...state.keys()].length;

  bar.addEventListener("change", (e) => set(e.target.name, e.target.value.trim()));
  bar.addEventListener("input", (e) => {
    if (e.target.tagName !== "INPUT") return;
    clearTimeout(changed);
    changed = setTimeout(() => set(e.target.name, e.target.value.trim()), 200);
  });

  async function values() {
    const all = await get("/api/values", signal);
    replace(selects, fields.map(([key, name, list]) => {
      const options = key === "outcome" ? ["problem", ...all[list]] : all[list];
      const current = state.get(key) ?? "";
      if (current && !options.includes(current)) options.push(current);
      if (!options.length) return null;
      return h("select", { name: key, "aria-label": name, class: current ? "set" : null }, h("option", { value: "" }, name),
        options.map((v) => h("option", { value: v, selected: v === current }, v === "problem" ? "any problem" : v.replaceAll("_", key === "outcome" ? " " : "_"))));
    }));
  }

  // The keyboard: / searches, j and k or the arrows go from row to row, Space pauses.
  function key(e) {
    if (e.target.closest?.("input, select, textarea, summary") || e.metaKey || e.ctrlKey || e.altKey) {
      if (e.key === "Escape") e.target.blur();
      return;
    }
    const move = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[e.key];
    if (e.key === "/") search.focus();
    else if (e.key === " " && !e.target.closest?.("button, a")) pause();
    else if (move) {
      const links = [...body.querySelectorAll(".time a")];
      const at = links.indexOf(document.activeElement);
      links[Math.max(0, Math.min(links.length - 1, at < 0 ? 0 : at + move))]?.focus();
    } else return;
    e.preventDefault();
  }
  addEventListener("keydown", key, { signal });
  signal.addEventListener("abort", () => source?.close());
  await Promise.all([reload(), values()]);
}
