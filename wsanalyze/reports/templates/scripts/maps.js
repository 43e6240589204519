"use strict";
// The map of the layers by their components, and the heatmap of their changes over depth.
(() => {
  const { byId, data, layers, numChanges, clusters, SYMBOLS, plain, shorten, number, count, unit, spans, layerText, some, colour, clusterColour,
    view, axis, layout, roomFor, endTitle, endTicks, evenRange, eventStrip, followZoom } = report;
  const scatter = byId("scatter-plot");
  const depth = byId("depth-plot");
  const MOST_POINTS = 3000;
  const NAME_ROOM = 15; // in pixels, of a map that is 362 high

  // --- map
  const placed = (layer) => data.points[layer].length > 0 && data.points[layer][0] !== null;
  function drawScatter() {
    if (!scatter) return;
    const width = roomFor(scatter);
    const kind = data.kinds.length ? data.kinds[view.map] : null;
    const all = [...layers.name.keys()].filter((layer) => placed(layer) && (kind === null || layers.kind[layer] === kind));
    const known = new Set(all);
    const chosen = report.selectedMembers().filter((layer) => known.has(layer));
    const kept = new Set([...some(all, MOST_POINTS), ...all.filter((layer) => layers.outlier[layer]), ...(view.layer === null ? [] : chosen)]);
    const shown = all.filter((layer) => kept.has(layer));
    // One component, or a second that is but rounding: the depth of a layer takes its place.
    const flat = all.every((layer) => (data.points[layer][1] ?? null) === null) || data.explained[1] < 1e-9;
    const x = (layer) => data.points[layer][0];
    const y = (layer) => (flat ? layer : data.points[layer][1]);
    const groups = [...clusters.map((cluster) => ({ id: cluster.id, name: `cluster ${cluster.id}${kind === null ? "" : ` of ${kind}`}: ${cluster.summary}`, test: (layer) => layers.cluster[layer] === cluster.id })),
      { id: -1, name: "outlier", test: (layer) => layers.cluster[layer] < 0 && layers.outlier[layer] },
      { id: -2, name: "in no cluster", test: (layer) => layers.cluster[layer] < 0 && !layers.outlier[layer] }];
    const traces = groups.flatMap(({ id, name, test }) => {
      const its = shown.filter(test);
      if (!its.length) return [];
      const lines = id === -1 ? { width: 2, color: clusterColour(id) } : { width: 1, color: colour("paper") };
      const symbol = id === -1 ? "asterisk-open" : id === -2 ? "circle-open" : SYMBOLS[id % SYMBOLS.length];
      return [{ type: "scatter", mode: "markers", name: plain(shorten(name, width < 640 ? 32 : 60)), x: its.map(x), y: its.map(y), customdata: its,
        text: its.map((layer) => `${layerText(layer)}${layers.confidence[layer] === null ? "" : `, confidence ${layers.confidence[layer].toFixed(2)}`}`),
        opacity: view.cluster === null || Math.max(-1, id) === view.cluster ? 1 : 0.35,
        hovertemplate: "%{text}<extra></extra>", marker: { symbol, size: id === -1 ? 11 : 9, color: clusterColour(id), line: lines } }];
    });
    const ringed = chosen.filter((layer) => kept.has(layer));
    const ring = { type: "scatter", mode: "markers", name: "selected", showlegend: false, x: ringed.map(x), y: ringed.map(y), hoverinfo: "skip",
      marker: { symbol: "circle-open", size: view.layer === null ? 15 : 20, color: colour("text"), line: { width: view.layer === null ? 1.2 : 2.4 } } };
    const share = (index) => {
      const said = [...(width < 480 ? [] : ["no unit"]), ...(kind === null ? [`${Math.round(100 * data.explained[index])} % of the variance`] : [])];
      return `component ${index + 1}${said.length ? ` (${said.join("; ")})` : ""}`;
    };
    const [left, right, bottom, top] = view.area ?? [];
    const ticks = flat ? nameTicks(shown, view.area ? [top, bottom] : null, width) : {};
    const shownPart = (range, autorange = true) => (view.area ? { range } : { autorange });
    const legendRows = width < 900 ? traces.length : Math.ceil(traces.length / 3);
    Plotly.react(scatter, [...traces, ...(ringed.length ? [ring] : [])], layout(scatter, {
      height: 440 + legendRows * 20, showlegend: true, margin: { l: flat ? 40 + report.widthOf(ticks.ticktext, "12px sans-serif") : 68, r: 16, t: 26 + legendRows * 20, b: 52 },
      legend: { orientation: width < 900 ? "v" : "h", x: 0, y: 1.01, yanchor: "bottom", font: { size: 12 } },
      xaxis: axis(share(0), shownPart([left, right])), yaxis: axis(flat ? `${plain(data.noun)}, first on top` : share(1), { ...ticks, ...shownPart([bottom, top], flat ? "reversed" : true) }),
    }), report.CONFIG);
    for (const name of ["plotly_click", "plotly_doubleclick", "plotly_relayout"]) scatter.removeAllListeners(name);
    scatter.on("plotly_relayout", (change) => {
      if (!Object.keys(change).some((name) => name.includes(".range["))) return;
      const { xaxis, yaxis } = scatter._fullLayout;
      report.update({ area: [...xaxis.range, ...yaxis.range] });
    });
    scatter.on("plotly_click", ({ points: [{ customdata }] }) => { if (Number.isInteger(customdata)) report.click(() => report.selectLayer(customdata)); });
    scatter.on("plotly_doubleclick", () => { if (!report.update({ area: null })) report.redraw(scatter); report.forgetClick(); });
    const notes = [...(data.kinds.length > 1 ? [`The map of ${kind}, one of ${data.kinds.length} kinds that have one each.`] : []),
      ...(shown.length < all.length ? [`${count(shown.length, "point")} of ${all.length.toLocaleString("en")} are drawn: every outlier, the others evenly taken.`] : [])];
    byId("scatter-note").textContent = notes.join(" ");
    const ones = `${data.noun[0].toUpperCase()}${data.noun.slice(1)}s`;
    byId("map-lead").textContent = !flat ? `${ones} that lie close together change alike.`
      : `Only one component stood out: the farther apart ${data.noun}s lie from left to right, the less alike they change; from top to bottom is their order.`;
  }

  // Where the place of a layer is an axis: the names of those that have room for theirs.
  function nameTicks(shown, range, width) {
    const [low, high] = range ?? [shown[0], shown.at(-1)];
    const apart = (NAME_ROOM / 362) * Math.max(1, high - low);
    const named = [];
    for (const layer of shown) if (layer >= low && layer <= high && !(layer - named.at(-1) < apart)) named.push(layer);
    const most = Math.round(Math.min(24, Math.max(16, width / 26)));
    return { tickmode: "array", tickvals: named, ticktext: named.map((layer) => plain(report.shortenName(layers.name[layer], most))) };
  }

  // --- depth
  let cells = null;
  let unmoved = null;
  // By group of depths and change: half of its layers at least are unchanged, so that their median is 0. A metric may be 0
  // by itself as well.
  function findUnmoved({ first, last }) {
    const stood = cells.map((value) => (value === 0 ? 0 : NaN));
    const groupOf = new Map(first.flatMap((start, group) => Array.from({ length: last[group] - start + 1 }, (_, more) => [start + more, group])));
    layers.depth.forEach((place, layer) => {
      const group = groupOf.get(place);
      if (group === undefined) return;
      for (let change = 0; change < numChanges; change += 1) {
        const at = group * numChanges + change;
        if (stood[at] === 0 && report.stateAt(layer, change) === "unchanged") stood[at] = 1;
      }
    });
    return stood;
  }
  function drawDepth() {
    if (!depth) return;
    const { first, last, centre } = data.depth;
    cells ??= report.unpack(data.depth.values);
    unmoved ??= findUnmoved(data.depth);
    byId("depth-unchanged").hidden = !unmoved.includes(1);
    byId("depth-lost").hidden = !cells.some(Number.isNaN);
    const isUnmoved = (index, change) => unmoved[index * numChanges + change] === 1;
    const at = first.map((start, index) => (start + last[index]) / 2);
    const rows = at.map((_, index) => Array.from(cells.subarray(index * numChanges, (index + 1) * numChanges), (value) => (Number.isNaN(value) ? null : value)));
    const width = roomFor(depth);
    const plotHeight = Math.min(420, Math.max(160, at.length * 14));
    const wide = width >= 640;
    const right = wide ? report.BAR_ROOM : 12;
    const inner = width - 62 - right;
    const bounds = report.shadeBounds(cells);
    const shade = report.shader(bounds);
    const words = (value, stood) => (value === null ? "no number" : stood ? "unchanged (the median)" : `median ${number(value)}${unit}`);
    const name = (index) => (first[index] === last[index] ? `depth ${first[index]}` : `depths ${first[index]} to ${last[index]}`);
    const strip = eventStrip(plotHeight, inner, { isScaled: false });
    const shared = { type: "heatmap", y: at, hoverongaps: false, hovertemplate: "%{text}<extra></extra>",
      text: rows.map((row, index) => row.map((value, change) => `${name(index)}<br>${spans[change]}<br>${words(value, isUnmoved(index, change))}`)) };
    const greys = !unmoved.includes(1) ? [] : [{ ...shared, z: rows.map((row, index) => row.map((_, change) => (isUnmoved(index, change) ? 1 : null))),
      zmin: 0, zmax: 1, colorscale: [[0, colour("unchanged")], [1, colour("unchanged")]], showscale: false }];
    const heat = { ...shared, z: rows.map((row, index) => row.map((value, change) => (value === null || isUnmoved(index, change) ? null : shade(value)))), ...report.colouring(bounds, wide, wide ? plotHeight : inner, strip.domain[1]) };
    const [top, bottom] = [first[0], last.at(-1)];
    const line = { type: "scatter", mode: numChanges === 1 ? "markers" : "lines", x: centre.map((_, change) => change),
      y: centre.map((place) => (place === null ? null : top + place * (bottom - top))), hoverinfo: "skip" };
    const x = evenRange();
    const barLines = report.barLines(inner);
    const range = [at.at(-1) + (at.at(-1) - at.at(-2)) / 2, at[0] - (at[1] - at[0]) / 2];
    const marks = depthMarks(at, range);
    Plotly.react(depth, [heat, ...greys, { ...line, line: { color: "#000000", width: 5 }, marker: { color: "#000000", size: 10 } }, { ...line, line: { color: "#ffffff", width: 2.4 }, marker: { color: "#ffffff", size: 7 } }, ...strip.traces], layout(depth, {
      height: plotHeight + (wide ? 84 : 120 + barLines), margin: { l: 62, r: right, t: wide ? 18 : 68 + barLines, b: 52 },
      annotations: [...report.barTitle(bounds, wide, inner), ...marks.annotations],
      shapes: [{ type: "rect", xref: "paper", yref: "paper", x0: 0, x1: 1, y0: 0, y1: strip.domain[1], layer: "below", line: { width: 0 }, fillcolor: colour("state") }, ...marks.shapes],
      xaxis: axis(endTitle(width), { ...endTicks(inner, x), range: x, showgrid: false }),
      yaxis: axis("depth, first layer on top", { range: report.zoomOf(depth, false) ?? range, domain: strip.domain, showgrid: false, ticks: "outside" }), ...strip.axes,
    }), report.CONFIG);
    report.settleTitle(depth);
    followZoom(depth, { isScaled: false });
    depth.removeAllListeners("plotly_click");
    depth.on("plotly_click", ({ points: [{ customdata }] }) => { if (Number.isInteger(customdata)) report.click(() => report.selectLayer(customdata)); });
  }
  // Bars beside the depths of what is selected, and an arrow at that of a layer.
  function depthMarks(at, range) {
    const depths = [...new Set(report.selectedMembers().map((layer) => layers.depth[layer]))].sort((a, b) => a - b);
    const half = Math.max(0.5, Math.abs(range[0] - range[1]) / at.length / 2);
    const bars = [];
    for (const place of depths) {
      if (bars.length && place - half <= bars.at(-1).end) bars.at(-1).end = place + half;
      else bars.push({ start: place - half, end: place + half });
    }
    const shapes = bars.map(({ start, end }) => ({ type: "rect", xref: "paper", x0: 1.003, x1: 1.009, y0: start, y1: end, line: { width: 0.5, color: colour("text") }, fillcolor: colour("text") }));
    const annotations = view.layer === null ? [] : [{ text: "◂", xref: "paper", x: 1, xanchor: "left", xshift: 4, y: layers.depth[view.layer], yanchor: "middle", showarrow: false, font: { size: 16, color: colour("text") } }];
    return { shapes, annotations };
  }
  report.onChange(["layer", "cluster"], () => { report.soon("scatter-plot", drawScatter); report.soon("depth-plot", drawDepth); });
  report.onChange(["map", "area"], () => report.soon("scatter-plot", drawScatter));
  report.onChange(["steps"], drawDepth);
  Object.assign(report, { drawScatter, drawDepth });
})();
