// How the gateway fares.

import { h, replace, number, took, percent, bytes, tile, when, copyable, empty } from "./dom.js";

export async function show({ main, get, signal }) {
  const body = h("div", {});
  replace(main, h("div", { class: "head" }, h("h1", {}, "Health")), body);
  const load = async () => replace(body, view(await get("/api/health", signal)));
  const timer = setInterval(() => { if (document.visibilityState === "visible" && !body.contains(document.activeElement) && !body.querySelector("details[open]")) load().catch(() => {}); }, 5000);
  signal.addEventListener("abort", () => clearInterval(timer));
  await load();
}

function view(s) {
  return [
    h("dl", { class: "tiles" },
      tile("Gateway", s.draining ? "draining" : "running", s.version ? "version " + s.version : null),
      s.started ? tile("Up", up(s.started), null) : null,
      tile("Active", number(s.active), "requests now"),
      tile("Overhead", s.overhead.requests ? took(s.overhead.p50_ms) : "–", s.overhead.requests ? `95 %: ${took(s.overhead.p95_ms)} · 99 %: ${took(s.overhead.p99_ms)}` : "no request in the last hour"),
      tile("Stored", number(s.store.exchanges), `of ${number(s.store.rows_limit)} · ${bytes(s.store.bytes)}`),
      s.store.lost ? tile("Not stored", number(s.store.lost), "dropped for lack of room") : null),
    targets(s),
    exporters(s.exporters ?? []),
    configuration(s),
  ];
}

// up is for how long.
function up(started) {
  const minutes = Math.max(0, Math.floor((Date.now() - Date.parse(started)) / 60000));
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

const states = { closed: ["good", "healthy"], half_open: ["warn", "probed"], open: ["bad", "open"] };
const badge = ([kind, words]) => h("span", { class: "badge " + kind }, h("i", { "aria-hidden": "true" }), words);

function targets(s) {
  const rows = new Map();
  for (const t of s.recent) rows.set(`${t.provider}/${t.model}`, { ...t, target: `${t.provider}/${t.model}` });
  for (const t of s.targets) rows.set(t.target, { ...(rows.get(t.target) ?? { requests: 0, failed: 0, fallbacks: 0 }), target: t.target, state: t.state });
  return h("section", { "aria-label": "Targets" }, h("h2", {}, "Targets ", h("small", {}, "in the last hour")),
    rows.size ? h("div", { class: "wide" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Target"), h("th", { scope: "col" }, "Breaker"), ["Requests", "Failed", "As fallback", "First token", "Median", "95 %"].map((n) => h("th", { scope: "col", class: "num" }, n)))),
      h("tbody", {}, [...rows.values()].map((t) => h("tr", {},
        h("th", { scope: "row" }, t.target),
        h("td", {}, badge(states[t.state ?? "closed"] ?? ["idle", t.state])),
        h("td", { class: "num" }, number(t.requests)),
        h("td", { class: "num" + (t.failed ? " problem" : "") }, t.failed ? `${number(t.failed)} (${percent(t.failed / t.requests)})` : "0"),
        h("td", { class: "num" }, number(t.fallbacks)),
        h("td", { class: "num" }, t.ttft_ms ? took(t.ttft_ms) : "–"), h("td", { class: "num" }, t.requests ? took(t.p50_ms) : "–"), h("td", { class: "num" }, t.requests ? took(t.p95_ms) : "–")))))) : empty("No target was asked", h("p", {}, "Targets show up once requests reach them.")));
}

function exporters(list) {
  return h("section", { "aria-label": "Exporters" }, h("h2", {}, "Exporters"),
    list.length ? h("div", { class: "wide" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Exporter", "Signal", "End point"].map((n) => h("th", { scope: "col" }, n)), ["Sent", "Lost", "Waiting"].map((n) => h("th", { scope: "col", class: "num" }, n)), h("th", { scope: "col" }, "State"))),
      h("tbody", {}, list.map((e) => {
        const lost = Object.values(e.dropped ?? {}).reduce((a, b) => a + b, 0);
        const failing = e.last_error && Date.parse(e.last_error_at) > Date.parse(e.last_success_at);
        return h("tr", {}, h("th", { scope: "row" }, e.name), h("td", {}, e.signal), h("td", {}, e.endpoint, " ", h("small", {}, e.protocol)),
          h("td", { class: "num" }, number(e.exported)), h("td", { class: "num" + (lost ? " problem" : "") }, number(lost)), h("td", { class: "num" }, e.queue_limit ? bytes(e.queue_bytes) : "–"),
          h("td", {}, badge(failing ? ["bad", "failing"] : e.exported ? ["good", "works"] : ["idle", "idle"]), failing ? h("small", { class: "block" }, e.last_error) : null));
      })))) : h("p", { class: "dim" }, "None: telemetry stays on this machine. Set ", h("code", {}, "OTEL_EXPORTER_OTLP_ENDPOINT"), " or ", h("code", {}, "telemetry.exporters"), " to send it to Grafana or another back end."));
}

function configuration(s) {
  return h("section", { "aria-label": "Configuration" }, h("h2", {}, "Configuration"),
    h("p", { class: "ids" }, h("span", {}, s.config_path ? h("code", {}, s.config_path) : "no file: defaults"),
      s.config_version ? h("span", { class: "labelled" }, h("span", { class: "dim" }, "Version"), copyable("Version", s.config_version)) : null,
      s.url ? h("span", { class: "labelled" }, h("span", { class: "dim" }, "Clients' base URL"), copyable("Base URL", s.url)) : null),
    s.last_reload ? h("p", {}, "Last reload: ", when(s.last_reload.at), s.last_reload.error ? h("span", { class: "problem" }, " failed: " + s.last_reload.error) : " succeeded", s.last_reload.needs_restart?.length ? h("span", { class: "dim" }, "; needs a restart: " + s.last_reload.needs_restart.join(", ")) : null) : h("p", { class: "dim" }, "Not reloaded since the start."),
    s.config ? h("details", { class: "content" }, h("summary", {}, "In use, secrets masked"), h("pre", {}, s.config)) : null);
}
