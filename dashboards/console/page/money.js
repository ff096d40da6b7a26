// What was spent, on what, and what budgets have left.

import { h, replace, usd, brief, number, percent, tile, choice, until, when, empty } from "./dom.js";
import { stacked, colour } from "./chart.js";

const dimensions = [["model", "Model"], ["label", "Label"], ["provider", "Provider"], ["team", "Team"], ["key", "Key"], ["session", "Session"]];
const windows = [["1h", "1 hour"], ["24h", "1 day"], ["7d", "7 days"], ["30d", "30 days"]];
const classes = [["input_usd", "input"], ["cache_read_usd", "cache read"], ["cache_write_usd", "cache write"], ["output_usd", "output"], ["other_usd", "other"]];

export async function show({ main, get, go, signal }) {
  const q = new URLSearchParams(location.search);
  const state = { by: q.get("by") ?? "model", window: q.get("window") ?? "24h" };
  const body = h("div", {});
  const pick = (key) => (value) => {
    state[key] = value;
    go("/money?" + new URLSearchParams(state), "quiet");
    load().catch(fail);
  };
  const bars = h("div", { class: "controls" });
  replace(main, h("div", { class: "head" }, h("h1", {}, "Money"), bars), body);
  let drawn = null;

  async function load() {
    replace(bars, choice("Group by", dimensions, state.by, pick("by")), choice("Time", windows, state.window, pick("window")));
    const m = await get("/api/money?" + new URLSearchParams(state), signal);
    drawn?.abort();
    drawn = new AbortController();
    replace(body, view(m, drawn.signal));
  }
  const fail = (err) => { if (err.name !== "AbortError") replace(body, empty("This did not work", h("p", { class: "problem", role: "alert" }, err.message))); };
  signal.addEventListener("abort", () => drawn?.abort());
  const timer = setInterval(() => { if (document.visibilityState === "visible" && !body.contains(document.activeElement)) load().catch(() => {}); }, 15000);
  signal.addEventListener("abort", () => clearInterval(timer));
  await load();
}

const named = (s) => (s.rest ? "all others" : s.name || "(none)");

function view(m, signal) {
  const t = m.total;
  const saved = t.baseline_usd - t.compared_usd;
  return [
    h("dl", { class: "tiles" },
      tile("Spent", usd(t.cost_usd), t.notional_usd > 0 ? `${usd(t.notional_usd)} of it notional` : m.source),
      tile("Requests", brief(t.requests), t.requests ? usd(t.cost_usd / t.requests) + " each" : null),
      tile(saved < 0 ? "Dearer by routing" : "Saved by routing", usd(Math.abs(saved)), t.baseline_usd ? percent(Math.abs(saved) / t.baseline_usd) + " of " + usd(t.baseline_usd) : "nothing to compare"),
      tile("Tokens", brief(t.input_tokens + t.output_tokens), `${brief(t.input_tokens)} in, ${brief(t.output_tokens)} out`),
      tile("From the cache", t.input_tokens ? percent(t.cache_read_tokens / t.input_tokens) : "–", "of input tokens"),
      t.unpriced ? tile("Unpriced", number(t.unpriced), "requests without a known price") : null),
    spend(m, signal),
    h("div", { class: "columns" }, costClasses(m), alerts(m.alerts)),
    budgets(m.budgets),
  ];
}

function spend(m, signal) {
  const section = (...content) => h("section", { "aria-label": "Spend over time" }, h("h2", {}, "Spend over time"), ...content);
  if (!m.series.length) return section(empty("Nothing was spent in this time", h("p", {}, "Requests that cost something show up here.")));
  const chart = h("div", { class: "chart", role: "img", "aria-label": "Spend over time, by " + m.by + "; the table below has the figures" });
  const point = h("p", { class: "point", "aria-hidden": "true" });
  chart.addEventListener("point", (e) => {
    const i = e.detail;
    if (i === null || i === undefined) { point.textContent = ""; return; }
    const at = new Date(Date.parse(m.since) + i * m.step_seconds * 1000);
    const parts = m.series.filter((s) => s.points[i] > 0).map((s) => [s, m.series.indexOf(s)]);
    replace(point, h("span", { class: "dim" }, at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short", hour12: false })),
      parts.length ? parts.map(([s, n]) => h("span", {}, h("i", { class: "swatch", style: { background: `var(${colour(n)})` } }), named(s), " ", h("b", {}, usd(s.points[i])))) : h("span", {}, "nothing"));
  });
  queueMicrotask(() => stacked(chart, { since: Date.parse(m.since), step: m.step_seconds, series: m.series }, signal));
  return section(chart, point, h("div", { class: "wide" }, h("table", { class: "series" },
    h("caption", { class: "visually-hidden" }, "Spend by " + m.by),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, m.by[0].toUpperCase() + m.by.slice(1)), ["Requests", "Input", "Output", "Cost", "Share", "Saved"].map((n) => h("th", { scope: "col", class: "num" }, n)))),
    h("tbody", {}, m.series.map((s, i) => {
      const saved = s.baseline_usd - s.compared_usd;
      return h("tr", {}, h("th", { scope: "row" }, h("i", { class: "swatch", style: { background: `var(${colour(i)})` }, "aria-hidden": "true" }), named(s)),
        h("td", { class: "num" }, number(s.requests)), h("td", { class: "num" }, brief(s.input_tokens)), h("td", { class: "num" }, brief(s.output_tokens)), h("td", { class: "num" }, usd(s.cost_usd)),
        h("td", { class: "num" }, m.total.cost_usd ? percent(s.cost_usd / m.total.cost_usd) : "–"), h("td", { class: "num" }, s.baseline_usd ? usd(saved) : h("span", { class: "dim" }, "–")));
    })))));
}

function costClasses(m) {
  const t = m.total;
  const sum = classes.reduce((n, [key]) => n + t[key], 0);
  const parts = classes.map(([key, name], i) => [name, t[key], i]).filter(([, v]) => v > 0);
  return h("section", { "aria-label": "Classes of cost" }, h("h2", {}, "What it was spent on", m.classes_source !== m.source ? h("small", {}, " " + m.classes_source) : null),
    sum ? [h("div", { class: "stack", "aria-hidden": "true" }, parts.map(([, v, i]) => h("i", { class: "class-" + i, style: { width: 100 * v / sum + "%" } }))),
      h("ul", { class: "classes" }, parts.map(([name, v, i]) => h("li", {}, h("i", { class: "swatch class-" + i, "aria-hidden": "true" }), h("span", {}, name), h("b", {}, usd(v)), h("span", { class: "dim" }, percent(v / sum)))))]
      : h("p", { class: "dim" }, "Nothing yet."));
}

const alertWords = {
  threshold_crossed: "crossed a threshold", budget_crossed: "is used up", forecast_overrun: "is on the way to overrun", unpriced_request: "a model has no price", reset: "began anew",
};

function alerts(list) {
  return h("section", { "aria-label": "Alerts" }, h("h2", {}, "Alerts"),
    list.length ? h("ol", { class: "alerts" }, list.map((a) => h("li", {},
      h("span", { class: `badge ${a.type === "reset" ? "good" : a.type === "budget_crossed" ? "bad" : "warn"}` }, h("i", { "aria-hidden": "true" }), a.budget || a.model || "alert"),
      h("span", { class: "words" }, a.subject ? a.subject + " " : "", alertWords[a.type] ?? a.type.replaceAll("_", " "), a.threshold ? ` of ${percent(a.threshold)}` : "", a.limit_usd ? h("span", { class: "dim" }, ` · ${usd(a.spent_usd)} of ${usd(a.limit_usd)}`) : null),
      h("span", { class: "dim" }, when(a.time)), a.trace_id ? h("a", { href: "/trace/" + a.trace_id }, "trace") : null))) : h("p", { class: "dim" }, "None. Budgets raise them at their thresholds, once a window."));
}

function budgets(list) {
  return h("section", { "aria-label": "Budgets" }, h("h2", {}, "Budgets"),
    list.length ? h("ul", { class: "budgets" }, list.map(budget)) : h("p", { class: "dim" }, "None configured: see ", h("code", {}, "budgets"), " in ccproxy.yaml."));
}

function budget(b) {
  const limit = b.limit_usd;
  const part = (v) => (limit ? Math.max(0, Math.min(100, 100 * v / limit)) : 0);
  const full = limit === 0 ? 100 : part(b.spent_usd);
  const over = limit !== null && b.forecast_usd !== null && b.forecast_usd > limit;
  const whose = b.scope === "global" ? "everything" : `${b.scope} ${b.subject || ""}`;
  const meaning = limit === null ? "no limit" : `${usd(b.spent_usd)} of ${usd(limit)}`;
  return h("li", { class: b.state },
    h("div", { class: "row" }, h("b", {}, b.name), h("span", { class: "dim" }, whose), h("span", { class: `badge ${{ ok: "good", warn: "warn", exhausted: "bad" }[b.state] ?? "idle"}` }, h("i", { "aria-hidden": "true" }), b.state),
      h("span", { class: "right num" }, h("b", {}, usd(b.spent_usd)), limit === null ? " spent" : ` of ${usd(limit)}`)),
    h("div", { class: "meter", role: "meter", "aria-label": `${b.name} ${whose}`, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": Math.round(full), "aria-valuetext": meaning },
      h("i", { class: "spent", style: { width: full + "%" } }), h("i", { class: "reserved", style: { left: full + "%", width: Math.min(100 - full, part(b.reserved_usd)) + "%" } }),
      b.forecast_usd !== null && limit ? h("i", { class: "forecast" + (over ? " over" : ""), style: { left: `calc(${part(b.forecast_usd)}% - 1px)` } }) : null),
    h("div", { class: "row dim" }, h("span", {}, b.window === "none" ? "in all" : /^\d/.test(b.window) ? "in " + b.window : "a " + b.window),
      b.reserved_usd > 0 ? h("span", {}, usd(b.reserved_usd) + " reserved") : null,
      b.forecast_usd !== null ? h("span", { class: over ? "problem" : null }, "forecast " + usd(b.forecast_usd)) : null,
      b.action === "warn" ? h("span", {}, "warns only") : b.action === "route" ? h("span", {}, "then routes to " + b.route) : null,
      b.resets ? h("span", { class: "right", title: b.resets }, "begins anew " + until(b.resets)) : null));
}
