// One trace: what happened, why, when, and what it cost.

import { h, replace, when, usd, took, number, percent, outcome, labelled, models, copyable, tile, empty } from "./dom.js";

const phases = {
  server: "exchange", pre_call: "pre-call", moderation: "moderation", pre_api: "pre-API", upstream: "upstream", http: "send", stream: "stream", post_api: "post-API",
  hook: "hook", other: "other",
};

export async function show({ main, id, get, signal }) {
  replace(main, h("p", { class: "loading" }, "Reading the trace…"));
  let t;
  try {
    t = await get("/api/requests/" + encodeURIComponent(id), signal);
  } catch (err) {
    if (err.name === "AbortError") throw err;
    replace(main, empty("No such trace", h("p", {}, err.message), h("p", {}, h("a", { href: "/" }, "Back to the requests"))));
    return;
  }
  document.title = `${t.exchanges[0].request.routed_model || "Trace"} · ccproxy`;
  replace(main, t.exchanges.map((x) => exchange(x, t)));
}

function exchange(x, t) {
  const r = x.request;
  return h("article", { class: "trace" },
    h("p", { class: "crumb" }, h("a", { href: "/" }, "← Requests")),
    h("div", { class: "head" }, h("h1", {}, models(r)), labelled(r.label), outcome(r),
      h("span", { class: "actions" },
        h("a", { class: "button", href: `/api/requests/${encodeURIComponent(r.request_id || r.span_id)}/otlp`, download: "" }, "OTLP JSON"),
        t.url ? h("a", { class: "button", href: t.url, target: "_blank", rel: "noreferrer noopener" }, "Open elsewhere ↗") : null)),
    h("p", { class: "ids" },
      when(r.start), ids("Request", r.request_id), ids("Trace", r.trace_id), r.session ? ids("Session", r.session) : null),
    h("dl", { class: "tiles" },
      tile("Duration", took(r.duration_ms)),
      r.ttft_ms === null ? null : tile("First token", took(r.ttft_ms)),
      tile("Tokens", r.tokens.input || r.tokens.output ? `${number(r.tokens.input)} / ${number(r.tokens.output)}` : "–", r.tokens.cache_read ? `${percent(r.tokens.cache_read / Math.max(1, r.tokens.input))} from the cache` : "in / out"),
      tile("Cost", usd(r.cost_usd), r.billing && r.billing !== "metered" ? r.billing : null),
      r.saved_usd !== null && Math.abs(r.saved_usd) > 1e-9 ? tile(r.saved_usd >= 0 ? "Saved" : "Dearer by", usd(Math.abs(r.saved_usd)), percent(Math.abs(r.saved_usd) / r.baseline_usd)) : null,
      tile("Gateway", took(r.overhead_ms), "overhead"),
      tile("Status", r.status || "–", r.attempts > 1 ? `${r.attempts} attempts` : null)),
    h("div", { class: "columns" },
      h("section", { "aria-label": "What happened" }, h("h2", {}, "What happened"), h("ul", { class: "story" }, x.story.decision.map((s) => h("li", {}, s)))),
      x.story.cost.length ? h("section", { "aria-label": "Cost" }, h("h2", {}, "Cost, term by term"), costTable(x)) : null),
    h("section", { "aria-label": "Waterfall" }, h("div", { class: "head" }, h("h2", {}, "Waterfall"), legend(x.spans)), waterfall(x)),
    x.story.content.length ? h("section", { "aria-label": "Content" }, h("h2", {}, "Captured content"), x.story.content.map((c) =>
      h("details", { class: "content" }, h("summary", {}, c.name), h("pre", {}, c.text)))) : null);
}

const ids = (name, text) => (text ? h("span", { class: "labelled" }, h("span", { class: "dim" }, name), copyable(name + " id", text)) : null);

function costTable(x) {
  const several = new Set(x.story.cost.map((c) => c.attempt)).size > 1;
  const total = x.story.cost.reduce((sum, c) => sum + c.cost_usd, 0);
  return h("table", { class: "cost" },
    h("thead", {}, h("tr", {}, several ? h("th", { scope: "col" }, "Attempt") : null, h("th", { scope: "col" }, "Class"), h("th", { scope: "col", class: "num" }, "Tokens"), h("th", { scope: "col", class: "num" }, "× $ / million"), h("th", { scope: "col", class: "num" }, "= Cost"))),
    h("tbody", {}, x.story.cost.map((c) => h("tr", {},
      several ? h("td", {}, `${c.attempt} · ${c.target}`) : null,
      h("td", {}, c.class.replaceAll("_", " "), c.note ? h("small", {}, " " + c.note) : null),
      h("td", { class: "num" }, c.tokens === null ? "–" : number(c.tokens)),
      h("td", { class: "num" }, c.usd_per_million === null ? "–" : Number(c.usd_per_million.toPrecision(6)).toLocaleString("en-US")),
      h("td", { class: "num" }, usd(c.cost_usd))))),
    h("tfoot", {}, h("tr", {}, h("th", { scope: "row", colspan: several ? 4 : 3 }, "Total"), h("td", { class: "num" }, usd(total)))));
}

function legend(spans) {
  const seen = Object.keys(phases).filter((p) => spans.some((s) => s.phase === p));
  return h("ul", { class: "legend" }, seen.map((p) => h("li", {}, h("i", { class: "phase " + p, "aria-hidden": "true" }), phases[p])));
}

// ticks are round times along the axis.
function ticks(whole) {
  const rough = whole / 6;
  const unit = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= rough) ?? unit;
  const out = [];
  for (let at = 0; at < whole * 0.97; at += step) out.push(at);
  return out;
}

function waterfall(x) {
  const whole = Math.max(0.001, ...x.spans.map((s) => s.offset_ms + s.duration_ms));
  const at = (ms) => 100 * Math.max(0, Math.min(1, ms / whole)) + "%";
  const byID = new Map();
  const axis = h("div", { class: "axis", "aria-hidden": "true" }, ticks(whole).map((ms) => h("span", { style: { left: at(ms) } }, ms === 0 ? "0" : took(ms))));
  const rows = x.spans.map((s, i) => {
    const detail = h("div", { class: "detail", hidden: true });
    const short = Math.max(0.35, 100 * s.duration_ms / whole);
    const marks = s.phase === "stream" ? x.story.marks : [];
    const late = (s.offset_ms + s.duration_ms) / whole > 0.82;
    const button = h("button", {
      type: "button", class: "span", "aria-expanded": "false", "data-span": s.id,
      onclick: () => {
        if (!detail.children.length) replace(detail, details(s, x, open));
        detail.hidden = !detail.hidden;
        button.setAttribute("aria-expanded", String(!detail.hidden));
      },
    },
      h("span", { class: "name", style: { "--depth": s.depth } }, h("i", { class: "phase " + s.phase, "aria-hidden": "true" }), h("span", { class: "text" }, s.name),
        s.error ? h("span", { class: "fault", title: attribute(s, "error.type") ?? "error" }, attribute(s, "error.type") ?? "error") : null,
        s.links.length ? h("span", { class: "linked", title: s.links[0].name ? `replaces ${s.links[0].name}` : "linked to another trace" }, s.links[0].name ? "↳ fallback" : "↳ link") : null),
      h("span", { class: "lane" },
        h("span", { class: `bar phase ${s.phase}${s.error ? " error" : ""}`, style: { left: at(s.offset_ms), width: short + "%" } }),
        s.events.map((e) => h("span", { class: "event", style: { left: at(e.offset_ms) }, title: `${e.name} at ${took(e.offset_ms)}` })),
        marks.map((m) => h("span", { class: "milestone", style: { left: at(m.offset_ms) }, title: `${m.name} at ${took(m.offset_ms)}` })),
        h("span", { class: "length" + (late ? " before" : ""), style: late ? { right: `calc(${100 - 100 * Math.min(1, s.offset_ms / whole)}% + .4rem)` } : { left: `calc(${at(s.offset_ms + s.duration_ms)} + .4rem)` } }, took(s.duration_ms))),
      h("span", { class: "visually-hidden" }, `, ${phases[s.phase]}, begins at ${took(s.offset_ms)}, takes ${took(s.duration_ms)}`));
    const li = h("li", { class: "line" }, button, detail);
    byID.set(s.id, button);
    return li;
  });
  function open(id) {
    const button = byID.get(id);
    if (!button) return;
    if (button.getAttribute("aria-expanded") !== "true") button.click();
    button.focus();
    button.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }
  const list = h("ol", {
    class: "waterfall",
    onkeydown: (e) => {
      const move = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[e.key];
      const all = [...list.querySelectorAll("button.span")];
      const i = all.indexOf(document.activeElement);
      if (!move || i < 0) return;
      e.preventDefault();
      all[Math.max(0, Math.min(all.length - 1, i + move))].focus();
    },
  }, rows);
  return h("div", { class: "wide" }, h("div", { class: "chartbox" }, axis, list));
}

const attribute = (s, key) => s.attributes.find((a) => a.key === key)?.value ?? null;

// text is a value as it reads.
function text(value) {
  if (Array.isArray(value)) return value.join(", ");
  if (value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function pairs(list) {
  return h("table", { class: "pairs" }, h("tbody", {}, list.map((a) => h("tr", {}, h("th", { scope: "row" }, a.key), h("td", {}, text(a.value))))));
}

function details(s, x, open) {
  return [
    h("div", { class: "facts" }, h("span", {}, h("span", { class: "dim" }, "from "), took(s.offset_ms), h("span", { class: "dim" }, " for "), took(s.duration_ms)), h("span", { class: "dim" }, s.kind), h("span", { class: "dim" }, s.scope), copyable("Span id", s.id)),
    s.status_text ? h("p", { class: "problem" }, s.status_text) : null,
    s.links.length ? h("div", {}, h("h3", {}, "Links"), h("ul", { class: "plain" }, s.links.map((l) => h("li", {},
      x.spans.some((o) => o.id === l.span_id)
        ? h("button", { type: "button", class: "link", onclick: () => open(l.span_id) }, `${l.name} (the attempt it replaces)`)
        : h("a", { href: "/trace/" + l.trace_id }, `${l.trace_id} · ${l.span_id}`),
      l.attributes.length ? pairs(l.attributes) : null)))) : null,
    s.events.length ? h("div", {}, h("h3", {}, "Events"), h("ol", { class: "plain events" }, s.events.map((e) => h("li", {}, h("span", { class: "num dim" }, took(e.offset_ms)), " ", h("b", {}, e.name), e.attributes.length ? pairs(e.attributes) : null)))) : null,
    s.phase === "stream" && x.story.marks.length ? h("div", {}, h("h3", {}, "Milestones"), h("ul", { class: "plain events" }, x.story.marks.map((m) => h("li", {}, h("span", { class: "num dim" }, took(m.offset_ms)), " ", m.name)))) : null,
    h("h3", {}, "Attributes"), s.attributes.length ? pairs(s.attributes) : h("p", { class: "dim" }, "None."),
    s.dropped ? h("p", { class: "dim" }, `${s.dropped} more did not fit.`) : null,
  ];
}
