"use strict";
// What the trainer noted, above the heatmap and on its axis: a change of the heatmap ends in the middle of its column.
// What was noted during the first has but half a column, so that no column is empty.
(() => {
  const { byId, data, plain, number, extent, colour, axis, layout, haveSteps, view, endTicks, evenRange, eventStrip, followZoom } = report;
  const div = byId("training-log");
  const { log } = data;
  const HEIGHT = 240;
  const NARROW = 500;
  const START = -0.5;
  const withoutUnit = (title) => `${title} (no unit)`;
  const squeeze = (place) => (place < 0 ? place / 2 : place);
  function draw() {
    if (!div) return;
    const width = report.roomFor(div);
    const rates = log.curves.filter((curve) => curve.name === "learning_rate");
    const losses = log.curves.filter((curve) => curve.name !== "learning_rate");
    const styles = { loss: { line: { color: colour("text"), width: 1.8 } },
      eval_loss: { line: { color: colour("text"), width: 1.4, dash: "dash" }, marker: { symbol: "circle-open", size: 6 } },
      learning_rate: { line: { color: colour("accent"), width: 1.6, dash: "dot" } } };
    const [left, right] = losses.length ? [losses, rates] : [rates, []];
    // As wide as the heatmap below, so that what lies above a column belongs to it; a narrow one has all the room there is.
    const isNarrow = width < NARROW;
    const below = isNarrow ? null : report.heatmapGeometry();
    const sides = below ? { l: below.l, r: below.r } : isNarrow ? { l: 54, r: right.length ? 66 : 12 } : { l: 62, r: 62 };
    const height = isNarrow ? 300 : HEIGHT;
    const inner = width - sides.l - sides.r;
    const strip = eventStrip(height - 80, inner, { isScaled: false });
    const traces = [...right, ...left.toReversed()].map((curve) => ({
      type: "scatter", cliponaxis: false, mode: curve.values.length === 1 || (curve.name === "eval_loss" && curve.values.length <= 30) ? "lines+markers" : "lines",
      x: curve.places.map(squeeze), y: curve.values, name: plain(curve.title), yaxis: right.includes(curve) ? "y2" : "y",
      text: curve.values.map((value, index) => `${plain(curve.title)} ${number(value)}<br>step ${curve.steps[index]}`),
      hovertemplate: "%{text}<extra></extra>", ...styles[curve.name] }));
    const range = evenRange();
    const ticks = endTicks(isNarrow ? inner : width - 160, range);
    if (!view.steps && log.start !== null && ticks.tickvals[1] === 1) {
      ticks.tickvals.unshift(START);
      ticks.ticktext.unshift(String(log.start));
    }
    const fixed = { automargin: false };
    div.dataset.alone = haveSteps ? "training step (not to scale)" : "checkpoint (in order)"; // where no columns are below
    Plotly.react(div, [...traces, ...strip.traces], layout(div, { height, margin: { ...sides, t: width < 640 ? 84 : 46, b: 48 }, showlegend: true,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", itemclick: false, itemdoubleclick: false, traceorder: "reversed", bgcolor: "rgba(0,0,0,0)" },
      xaxis: axis(width < 640 ? (haveSteps ? "training step" : "checkpoint") : haveSteps ? "training step (aligned with the columns below)" : "checkpoint (in order)", { ...ticks, ...fixed, range }),
      yaxis: axis(withoutUnit(losses.length ? "loss" : plain(rates[0].title)), { ...fixed, domain: strip.domain, nticks: 6, exponentformat: "e", ...lossAxis(extent(left.flatMap((curve) => curve.values))) }),
      ...(right.length ? { yaxis2: axis(withoutUnit(plain(rates[0].title)), { ...fixed, overlaying: "y", side: "right", showgrid: false, rangemode: "tozero", tickmode: "auto", nticks: 5, exponentformat: "e" }) } : {}),
      ...strip.axes,
    }), report.CONFIG);
    followZoom(div, { isScaled: false });
    div.removeAllListeners("plotly_click");
    div.on("plotly_click", ({ points: [point] }) => { if (Number.isInteger(point.customdata)) report.click(() => report.selectLayer(point.customdata)); });
  }
  function lossAxis([low, high]) {
    const isLog = low > 0 && high > 10 * low;
    const chosen = report.zoomOf(div, isLog);
    if (!isLog) return chosen ? { range: chosen } : {};
    const air = Math.log10(high / low) * 0.06;
    const range = chosen ?? [Math.log10(low) - air, Math.log10(high) + air];
    return { type: "log", range, ...report.logTicks(range) };
  }
  report.onChange(["steps", "order", "rows"], draw);
  report.drawLog = draw;
})();
