// Draws the charts of the JSON block "charts" with uPlot: lines over time, or y against x.
(() => {
  "use strict";
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const HEIGHT = 190;
  let drawn = [];

  const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const number = v => v !== 0 && Math.abs(v) < 10 ? String(+v.toPrecision(3)) : v.toLocaleString("en", {maximumFractionDigits: 1});
  const units = {
    s: v => v === 0 ? "0 s" : Math.abs(v) >= 1 ? number(v) + " s" : Math.abs(v) >= 1e-3 ? number(v * 1e3) + " ms" : number(v * 1e6) + " µs",
    percentunit: v => number(v * 100) + " %",
    reqps: v => number(v) + "/s",
    short: number,
  };

  const long = chart => chart.x[chart.x.length - 1] - chart.x[0] > 2 * 86400;
  const iso = (s, from, to) => new Date(s * 1000).toISOString().slice(from, to).replace("T", " ");

  const draw = (chart, place) => {
    const clock = s => long(chart) ? iso(s, 5, 10) : iso(s, 11, 19);
    const format = v => v == null ? "–" : units[chart.unit](v);
    let columns = chart.lines.map(line => line.values);
    let bands = [];
    if (chart.stacked) {
      // Each layer stands on the sum of those before it; drawn from the tallest down, each filled to the ground.
      const sums = new Array(chart.x.length).fill(0);
      columns = columns.map(values => values.map((v, i) => sums[i] += v ?? 0));
    } else {
      const at = label => 1 + chart.lines.findIndex(line => line.label === label);
      bands = chart.lines.flatMap((line, i) => line.band ? [{series: [i + 1, at(line.band)], fill: colour(line.colour) + "22"}] : []);
    }
    const order = chart.stacked ? chart.lines.map((_, i) => chart.lines.length - 1 - i) : chart.lines.map((_, i) => i);
    const series = order.map(i => {
      const line = chart.lines[i];
      return {
        label: line.label, stroke: colour(line.colour), width: line.style === "points" ? 0 : 1.5,
        dash: line.style === "dashed" ? [6, 4] : undefined,
        fill: chart.stacked ? colour(line.colour) + "66" : undefined,
        points: line.style === "points" ? {show: true, size: 8, fill: colour(line.colour)}
          : chart.time ? {} : {show: line.values.filter(v => v != null).length < 20, size: 5},
        spanGaps: chart.joined,
        value: (_, v, s, i2) => format(i2 == null ? null : line.values[i2]),
      };
    });
    const axis = {stroke: colour("soft"), grid: {stroke: colour("grid"), width: 1}, ticks: {stroke: colour("grid"), width: 1}};
    return new uPlot({
      width: place.clientWidth || 480, height: HEIGHT,
      scales: {
        x: {time: chart.time},
        y: {range: (_, low, high) => {
          const bottom = chart.zero ? Math.min(0, low ?? 0) : low ?? 0, top = high ?? 1;
          const room = (top - bottom || Math.abs(top) || 1) * 0.06;
          return [chart.zero ? bottom : bottom - room, top + room];
        }},
      },
      axes: [
        {...axis, values: (_, vs) => vs.map(chart.time ? clock : number), label: chart.x_title || undefined, labelSize: 18, labelFont: "12px sans-serif"},
        {...axis, size: 62, values: (_, vs) => vs.map(format)},
      ],
      series: [{value: chart.time ? undefined : (_, v) => v == null ? "–" : number(v), label: chart.time ? "time" : chart.x_title}, ...series],
      bands,
      legend: {live: false},
    }, [chart.x, ...order.map(i => columns[i])], place);
  };

  const drawAll = () => {
    drawn.forEach(each => each.destroy());
    drawn = charts.filter(chart => chart.lines.length).map(chart => draw(chart, document.getElementById(chart.id)));
  };
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("resize", () => drawn.forEach(each => {
    const width = each.root.parentElement.clientWidth;
    if (width && width !== each.width) each.setSize({width, height: HEIGHT});
  }));
})();
