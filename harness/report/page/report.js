// Draws the charts of the JSON block "charts" with uPlot, in the colours of the style sheet: again whenever the colour
// scheme changes, the window gets another width, or the page is printed (paper is always light).
(() => {
  "use strict";
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const HEIGHT = 230;
  let drawn = [];

  const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const faded = hex => hex + "cc";
  const clock = s => s < 3600
    ? `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`
    : `${Math.floor(s / 3600)}h${String(Math.floor(s % 3600 / 60)).padStart(2, "0")}`;
  const quantity = v => v == null ? "–" : v !== 0 && Math.abs(v) < 10 ? String(+v.toPrecision(3)) : v.toLocaleString("en", {maximumFractionDigits: 1});
  const percentile = x => x == null ? "–" : `${+(100 * (1 - 1 / x)).toPrecision(6)} %`;

  // Layers are drawn from the tallest sum down, each filled to the ground.
  const stack = lines => {
    const sums = [];
    lines.forEach((line, at) => sums.push(line.values.map((v, i) => (v ?? 0) + (at ? sums[at - 1][i] : 0))));
    return sums;
  };

  const marks = chart => u => {
    u.ctx.save();
    u.ctx.fillStyle = colour("band");
    for (const [from, to] of chart.gaps) {
      const left = u.valToPos(from, "x", true), right = u.valToPos(to, "x", true);
      u.ctx.fillRect(left, u.bbox.top, Math.max(right - left, 2), u.bbox.height);
    }
    u.ctx.restore();
  };

  const draw = (chart, place, width) => {
    const rare = chart.kind === "percentile", nights = chart.kind === "night", waits = chart.kind === "wait";
    const loads = chart.kind === "load";
    const where = v => v == null ? "–" : rare ? percentile(v) : nights ? chart.labels[v] ?? "" : waits ? `${quantity(v)} ms` : loads ? quantity(v) : clock(v);
    const order = chart.stacked ? chart.lines.map((_, i) => i).reverse() : chart.lines.map((_, i) => i);
    const heights = chart.stacked ? stack(chart.lines) : chart.lines.map(line => line.values);
    const axis = {stroke: colour("soft"), grid: {stroke: colour("grid"), width: 1}, ticks: {stroke: colour("grid"), width: 1}, font: "12px system-ui, sans-serif"};
    const options = {
      width, height: HEIGHT,
      cursor: {y: false, points: {size: 6}},
      scales: {
        x: {time: false, distr: rare || waits ? 3 : 1},
        y: rare ? {distr: 3} : nights ? {} : {range: (u, low, high) => [0, high > 0 ? high * 1.05 : 1]},
      },
      axes: [
        {...axis, label: loads ? chart.across : undefined, labelSize: 18, values: (u, ticks) => ticks.map(v => v == null ? "" : nights ? (chart.labels[v] ?? "").slice(5, 10) : where(v))},
        {...axis, size: 58, values: (u, ticks) => ticks.map(v => v == null ? "" : quantity(v))},
      ],
      hooks: {drawAxes: [marks(chart)]},
      series: [
        {label: rare ? "percentile" : nights ? "night" : waits ? "waited" : loads ? chart.across : "time", value: (u, v) => where(v)},
        ...order.map(i => {
          const line = chart.lines[i], stroke = colour(line.colour);
          return {
            label: line.label, stroke, width: chart.stacked ? 1 : 1.75, dash: line.dash, spanGaps: rare || loads,
            fill: chart.stacked ? faded(stroke) : undefined,
            paths: chart.stacked ? uPlot.paths.stepped({align: 1}) : line.dots ? () => null : undefined,
            points: {show: nights || line.dots || chart.x.length === 1, size: line.dots ? 8 : undefined},
            value: (u, v, _, at) => quantity(at == null ? null : line.values[at]),
          };
        }),
      ],
    };
    return new uPlot(options, [chart.x, ...order.map(i => heights[i])], place);
  };

  const drawAll = () => {
    drawn.forEach(each => each.destroy());
    drawn = charts.map(chart => {
      const place = document.getElementById("chart-" + chart.key);
      return draw(chart, place, place.clientWidth || 480);
    });
  };

  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  matchMedia("print").addEventListener("change", drawAll);
  addEventListener("resize", () => drawn.forEach((each, i) => {
    const width = document.getElementById("chart-" + charts[i].key).clientWidth;
    if (width && width !== each.width) each.setSize({width, height: HEIGHT});
  }));
})();
