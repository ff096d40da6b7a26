// A chart of stacked bars over time, drawn by uPlot on a canvas. Beside it stands a table with the same figures.

import uPlot from "./uplot.js";
import { usd } from "./dom.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const colour = (i) => `--series-${i % 8}`;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const date = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

// label is the time of a tick, with its day where a day begins.
function label(at, before, step) {
  const t = new Date(at * 1000);
  if (step >= 86400) return date.format(t);
  const fresh = before === null || new Date(before * 1000).toDateString() !== t.toDateString();
  return clock.format(t) + (fresh ? "\n" + date.format(t) : "");
}

// stacked draws series, each with points, into el, and again when the width or the theme changes.
export function stacked(el, { since, step, series }, signal) {
  const count = series[0]?.points.length ?? 0;
  const xs = Array.from({ length: count }, (_, i) => since / 1000 + (i + 0.5) * step);
  // The first series stands on the axis, and each further one on those before; drawn from the top down.
  const sums = [];
  for (const s of series) sums.push(s.points.map((v, i) => v + (sums.at(-1)?.[i] ?? 0)));
  const order = series.map((_, i) => i).reverse();
  let plot = null, width = 0;

  function draw() {
    plot?.destroy();
    const grid = css("--line"), text = css("--dim");
    const font = "12px " + css("--sans");
    plot = new uPlot({
      width: el.clientWidth, height: 240, padding: [12, 8, 0, 0],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      legend: { show: false },
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] }, x: { range: () => [since / 1000, since / 1000 + count * step] } },
      axes: [
        { stroke: text, font, grid: { show: false }, ticks: { stroke: grid, size: 4 }, space: 70, values: (_, list) => list.map((at, i) => label(at, i > 0 ? list[i - 1] : null, step)) },
        { stroke: text, font, size: 72, grid: { stroke: grid, width: 1 }, ticks: { show: false }, values: (_, list) => list.map((v) => (v === 0 ? "$0" : usd(v).replace(/(\.\d\d\d*?)0+$/, "$1"))) },
      ],
      series: [{}, ...order.map((i) => ({
        label: series[i].name, stroke: css(colour(i)), fill: css(colour(i)), width: 0, points: { show: false },
        paths: uPlot.paths.bars({ size: [0.72, 48], align: 0 }),
      }))],
      hooks: { setCursor: [(u) => el.dispatchEvent(new CustomEvent("point", { detail: u.cursor.idx }))] },
    }, [xs, ...order.map((i) => sums[i])], el);
    width = el.clientWidth;
  }
  const watch = new ResizeObserver(() => { if (el.clientWidth && el.clientWidth !== width) draw(); });
  watch.observe(el);
  addEventListener("themechange", draw, { signal });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw, { signal });
  const end = () => { watch.disconnect(); plot?.destroy(); plot = null; };
  signal.addEventListener("abort", end);
  if (el.clientWidth) draw();
}
