"use strict";
// The curves: a card for each cluster, and one for what is in none.
(() => {
  const { byId, data, clusters, changes, layers, SYMBOLS, plain, number, count, unit, curve, extent, drawable, spans, layerText, cellWord, members, alone, some,
    colour, clusterColour, withAlpha, view, axis, layout, roomFor, valueAxis, valueTitle, paddedRange, scaled, places, stepAxis, phaseLines, followZoom, eventStrip, zoomOf } = report;
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
  const MOST_CURVES = 200;
  const HEIGHT = 280;

  // One closed outline for each unbroken stretch: a band with a hole in it must not be drawn across the hole.
  function outlineBand(x, low, high) {
    const outline = { x: [], y: [] };
    let start = 0;
    for (let end = 0; end <= x.length; end += 1) {
      if (end < x.length && low[end] !== null && high[end] !== null) continue;
      if (end > start) {
        const places_ = [...Array(end - start).keys()].map((offset) => start + offset);
        outline.x.push(...places_.map((i) => x[i]), ...places_.toReversed().map((i) => x[i]), x[start], null);
        outline.y.push(...places_.map((i) => high[i]), ...places_.toReversed().map((i) => low[i]), high[start], null);
      }
      start = end + 1;
    }
    return outline;
  }
  // Many layers as one trace: a curve each, with a break after it.
  function layerCurves(indices, style) {
    const trace = { type: "scatter", x: [], y: [], text: [], customdata: [], hovertemplate: "%{text}<extra></extra>", ...style };
    const x = places();
    for (const layer of indices) {
      const name = layerText(layer);
      trace.x.push(...x, null);
      trace.y.push(...drawable(curve(layer)), null);
      trace.text.push(...changes.map((_, change) => `${name}<br>${spans[change]}<br>${cellWord(layer, change)}`), "");
      trace.customdata.push(...changes.map(() => layer), null);
    }
    return trace;
  }
  const curveMode = () => (changes.length <= 30 ? "lines+markers" : "lines");
  const thinMode = changes.length === 1 ? "markers" : "lines"; // one point has no line
  const ends = (list) => list.flatMap((layer) => extent(drawable(curve(layer))) ?? []);
  // Of all cards of clusters. What is in none may be so far off that they would be flat: its card has a range of its own.
  function clusterNumbers() {
    const chosen = (view.members ? [...layers.name.keys()] : view.layer === null ? [] : [view.layer]).filter((layer) => layers.cluster[layer] >= 0);
    return [...clusters.flatMap((cluster) => [...cluster.low, ...cluster.high, ...cluster.median]), ...ends(chosen)];
  }
  function curveLayout(div, range, strip) {
    const x = stepAxis(div, "training step after the change", report.endTitle(roomFor(div)));
    return layout(div, { height: HEIGHT, margin: { l: 70, r: 20, t: 14, b: 50 }, xaxis: x, shapes: phaseLines(scaled()),
      yaxis: axis(valueTitle(210), { domain: strip.domain, ...valueAxis(zoomOf(div) ?? range) }), ...strip.axes });
  }
  const otherMedian = (cluster) => ({ type: "scatter", mode: thinMode, x: places(), y: drawable(cluster.median), meta: { cluster: cluster.id }, text: `cluster ${cluster.id}`, hoverinfo: "text", line: { color: colour("faint"), width: 1.2 }, marker: { color: colour("faint"), size: 6 } });
  function bandAndMedian(cluster) {
    const ink = clusterColour(cluster.id);
    const x = places();
    const band = { type: "scatter", mode: "lines", ...outlineBand(x, drawable(cluster.low), drawable(cluster.high)), fill: "toself", fillcolor: withAlpha(ink, 0.16), line: { width: changes.length === 1 ? 14 : 0, color: withAlpha(ink, 0.16) }, hoverinfo: "skip" };
    const text = cluster.median.map((value, change) => value === null ? "" :
      `<b>cluster ${cluster.id}</b>, ${plain(cluster.summary)}<br>${spans[change]}<br>median ${number(value)}${unit}, 10th to 90th percentile ${number(cluster.low[change])} to ${number(cluster.high[change])}`);
    const median = { type: "scatter", mode: curveMode(), x, y: drawable(cluster.median), text, hovertemplate: "%{text}<extra></extra>", meta: { cluster: cluster.id },
      line: { color: ink, width: 2.4 }, marker: { symbol: SYMBOLS[cluster.id % SYMBOLS.length], size: 6, color: ink } };
    return [band, median];
  }
  // The layer that is selected, above all others: a dark line with a light edge.
  function chosenCurve(layer) {
    const style = { mode: curveMode(), line: { color: colour("text"), width: 2.6 }, marker: { symbol: "circle-open", size: 8, color: colour("text"), line: { width: 2 } } };
    return [{ ...layerCurves([layer], { mode: "lines", line: { color: colour("paper"), width: 5 } }), hoverinfo: "skip", hovertemplate: undefined }, layerCurves([layer], style)];
  }
  function stripFor(div, list) {
    const its = new Set(list);
    return eventStrip(HEIGHT - 58, roomFor(div) - 90, { isScaled: scaled(), concerns: (event) => event.layer === null || its.has(event.layer) });
  }
  function drawCluster(div, cluster, range) {
    const its = members.get(cluster.id);
    const mate = (other) => other.id !== cluster.id && other.kind === cluster.kind;
    const [band, median] = bandAndMedian(cluster);
    const thin = view.members ? [layerCurves(some(its, MOST_CURVES), { mode: thinMode, marker: { color: withAlpha(clusterColour(cluster.id), 0.5), size: 4 }, line: { color: withAlpha(clusterColour(cluster.id), 0.5), width: 1 } })] : [];
    const chosen = its.includes(view.layer) ? chosenCurve(view.layer) : [];
    const strip = stripFor(div, its);
    const plot = curveLayout(div, range, strip);
    Plotly.react(div, report.answering([...clusters.filter(mate).map(otherMedian), band, ...thin, median, ...chosen, ...strip.traces], plot), plot, report.CONFIG);
  }
  function drawAlone(div, range) {
    const ink = colour("alone");
    const shown = some(alone.filter((layer) => curve(layer).some((value) => !Number.isNaN(value))), MOST_CURVES);
    const curves = shown.length <= DASHES.length
      ? shown.map((layer, index) => layerCurves([layer], { mode: curveMode(), line: { color: ink, width: 1.6, dash: DASHES[index] }, marker: { symbol: "asterisk-open", size: 6, color: ink } }))
      : [layerCurves(shown, { mode: thinMode, marker: { color: withAlpha(ink, 0.7), size: 5 }, line: { color: withAlpha(ink, 0.7), width: 1 } })];
    const chosen = alone.includes(view.layer) ? chosenCurve(view.layer) : [];
    const strip = stripFor(div, alone);
    const own = paddedRange([...clusterNumbers(), ...ends([...shown, ...(chosen.length ? [view.layer] : [])])]);
    // What is nearly the scale of the clusters is theirs: the air beside curves is wider than that.
    const isApart = Boolean(own && range) && Math.abs(own[0] - range[0]) + Math.abs(own[1] - range[1]) > 0.05 * Math.abs(range[1] - range[0]);
    byId("alone-scale").textContent = isApart ? "On a scale of their own. " : "";
    const plot = curveLayout(div, isApart ? own : range ?? own, strip);
    const unseen = alone.filter((layer) => !drawable(curve(layer)).some((value) => value !== null));
    const lost = unseen.filter((layer) => !extent(curve(layer))).length;
    const hidden = [[lost, "a number"], [unseen.length - lost, "a value above 0"]].filter(([many]) => many).map(([many, what]) => `${count(many, data.noun)} without ${what}`).join(", ");
    byId("alone-hidden").textContent = hidden ? ` Not drawn: ${hidden}.` : "";
    Plotly.react(div, report.answering([...clusters.map(otherMedian), ...curves, ...chosen, ...strip.traces], plot), plot, report.CONFIG);
  }
  function listen(div) {
    followZoom(div, { isScaled: scaled() });
    div.removeAllListeners("plotly_click");
    div.on("plotly_click", ({ points: [{ customdata, data: { meta } }] }) => {
      if (Number.isInteger(customdata)) report.click(() => report.selectLayer(customdata));
      else if (meta?.cluster !== undefined) report.click(() => report.select({ cluster: meta.cluster }));
    });
  }
  function drawCurves() {
    const range = paddedRange(clusterNumbers());
    for (const cluster of clusters) {
      const div = byId(`cluster-${cluster.id}`);
      if (!div) continue;
      drawCluster(div, cluster, range);
      listen(div);
    }
    const rest = byId("alone");
    if (rest) { drawAlone(rest, range); listen(rest); }
    emphasise();
    const crowded = view.members && clusters.some(({ id }) => members.get(id).length > MOST_CURVES);
    const note = byId("members-note");
    if (note) note.textContent = crowded ? `${MOST_CURVES} of each cluster's ${data.noun}s are drawn, evenly taken.` : "";
  }
  // The card of what is selected has a frame and a word.
  function emphasise() {
    const id = view.cluster ?? (view.layer === null ? null : Math.max(-1, layers.cluster[view.layer]));
    for (const card of document.querySelectorAll("[data-card]")) card.classList.toggle("selected", id !== null && Number(card.dataset.card) === id);
  }
  report.onChange(["layer", "cluster", "steps", "spacing", "members"], (changed) => {
    emphasise();
    if (["steps", "spacing", "members"].some((name) => changed.has(name))) drawCurves();
    else if (changed.has("layer")) report.soon("curves", drawCurves);
  });
  Object.assign(report, { drawCurves, bandAndMedian, chosenCurve, layerCurves, curveMode });
})();
