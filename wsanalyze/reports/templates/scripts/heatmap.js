"use strict";
// Layers by changes. Where there are more layers than lines, neighbours in the present order share one, until one zooms.
(() => {
  const { byId, data, layers, changes, numLayers, numChanges, plain, wrap, shortenName, number, count, unit, values, codes, words, spans, markOf, layerText,
    clusterColour, cellWord, colour, view, axis, layout, roomFor, endTitle, endTicks, indexTicks, evenRange, eventStrip, followZoom, widthOf, BAR_ROOM } = report;
  const div = byId("heatmap-plot");
  const MOST_LINES = 400;
  const NAME_FONT = { size: 11, family: "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" };
  const SMALL_FONT = { ...NAME_FONT, size: 9 };
  const [LINE, LEAST_LINE] = [13, 10]; // pixels that names take, and small names
  const stateOf = words.map(([state]) => state);
  const hasLog = data.log !== null;
  const hasRate = hasLog && data.log.curves.length > 1 && data.log.curves.at(-1).name === "learning_rate"; // it has an axis on the right

  // --- lines
  let known = { key: "", lines: null };
  // The lines shown: each of the places [first, last] of the order, its values and its greys (1 unchanged, 0 no number).
  function findLines() {
    const order = data.orders[view.order];
    const [top, bottom] = view.rows ?? [0, numLayers - 1];
    const key = `${view.order} ${top} ${bottom}`;
    if (known.key === key) return known.lines;
    const size = Math.ceil((bottom - top + 1) / MOST_LINES);
    const lines = [];
    for (let first = top; first <= bottom; first += size) {
      const last = Math.min(bottom, first + size - 1);
      lines.push({ first, last, ...(first === last ? single(order[first]) : together(order.slice(first, last + 1))) });
    }
    known = { key, lines };
    return lines;
  }
  function single(layer) {
    const cells = new Array(numChanges).fill(null);
    const greys = new Array(numChanges).fill(null);
    for (let change = 0; change < numChanges; change += 1) {
      const cell = layer * numChanges + change;
      const state = stateOf[codes[cell]];
      if (state || Number.isNaN(values[cell])) greys[change] = state === "unchanged" ? 1 : 0;
      else cells[change] = values[cell];
    }
    return { layer, cells, greys };
  }
  // The median of those that have a number and no state.
  function together(list) {
    const cells = new Array(numChanges).fill(null);
    const greys = new Array(numChanges).fill(null);
    const found = new Float64Array(list.length);
    for (let change = 0; change < numChanges; change += 1) {
      let [known_, unchanged] = [0, 0];
      for (const layer of list) {
        const cell = layer * numChanges + change;
        const state = stateOf[codes[cell]];
        if (state === "unchanged") unchanged += 1;
        else if (!state && !Number.isNaN(values[cell])) found[known_++] = values[cell];
      }
      if (!known_) { greys[change] = unchanged ? 1 : 0; continue; }
      const sorted = found.subarray(0, known_).sort();
      cells[change] = known_ % 2 ? sorted[(known_ - 1) / 2] : (sorted[known_ / 2 - 1] + sorted[known_ / 2]) / 2;
    }
    return { layer: null, cells, greys };
  }
  function describeLine(line, order) {
    if (line.layer !== null) return layerText(line.layer);
    return `<b>${count(line.last - line.first + 1, data.noun)}</b><br>${wrap(layers.name[order[line.first]])}<br>to ${wrap(layers.name[order[line.last]])}`;
  }
  const describeCell = (line, change) => line.layer !== null ? cellWord(line.layer, change)
    : line.cells[change] === null ? "no number" : `median ${number(line.cells[change])}${unit}`;
  // Names, each with the coloured mark of its cluster; those that would be the same have their depths, as in the table.
  function labelsOf(lines, order, width) {
    const labels = lines.map((line) => ({ layer: line.layer ?? order[line.first], end: line.layer === null ? ` +${line.last - line.first}` : "" }));
    const name = (layer, end) => `${shortenName(layers.name[layer], width - end.length, width)}${end}`;
    const known = new Map();
    for (const label of labels) {
      label.name = name(label.layer, label.end);
      known.set(label.name, (known.get(label.name) ?? 0) + 1);
    }
    for (const label of labels) {
      label.hasDepth = known.get(label.name) > 1;
      if (label.hasDepth) label.name = name(label.layer, ` (${layers.depth[label.layer]})${label.end}`);
      label.text = `${plain(label.name)} <span style="color:${clusterColour(layers.cluster[label.layer])}">${markOf(label.layer)}</span>`;
    }
    return labels;
  }

  // --- what is selected
  function groupShapes(order, top, bottom) {
    if (view.order === "depth") return [];
    const groupOf = (layer) => (view.order === "cluster" ? layers.cluster[layer] : layers.kind[layer]);
    const shapes = [];
    for (let place = top + 1; place <= bottom; place += 1) {
      if (groupOf(order[place]) === groupOf(order[place - 1])) continue;
      shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: place - 0.5, y1: place - 0.5, line: { color: colour("text"), width: 1.5 } });
    }
    return shapes;
  }
  // Bars beside the lines of what is selected, with an arrow at a layer; a frame about them where they are so high that it
  // hides none of their cells.
  function selectionMarks(lines, order, lineHeight) {
    const chosen = new Set(report.selectedMembers());
    const bars = [];
    if (!chosen.size) return { shapes: [], annotations: [] };
    const frames = [];
    for (const line of lines) {
      const taken = line.layer !== null ? chosen.has(line.layer) : order.slice(line.first, line.last + 1).some((layer) => chosen.has(layer));
      if (!taken) continue;
      if (bars.at(-1)?.last === line.first - 1) bars.at(-1).last = line.last;
      else bars.push({ first: line.first, last: line.last });
    }
    const place = { type: "rect", layer: "above" };
    for (const { first, last } of lineHeight >= 10 && bars.length <= 60 ? bars : []) {
      const box = { ...place, xref: "paper", x0: 0, x1: 1, y0: first - 0.5, y1: last + 0.5 };
      frames.push({ ...box, line: { color: "#ffffff", width: 4 } }, { ...box, line: { color: "#000000", width: 2 } });
    }
    const strip = { ...place, xref: "paper", xsizemode: "pixel", line: { width: 0 }, fillcolor: colour("text") };
    const strips = bars.flatMap(({ first, last }) => [{ xanchor: 0, x0: -2, x1: 0 }, { xanchor: 1, x0: 3, x1: 8 }].map((side) => ({ ...strip, ...side, y0: first - 0.5, y1: last + 0.5 })));
    const arrow = view.layer === null || !bars.length ? [] : [{ text: "◂", xref: "paper", x: 1, xanchor: "left", xshift: 4, y: (bars[0].first + bars[0].last) / 2, yanchor: "middle", showarrow: false, font: { size: 16, color: colour("text") } }];
    return { shapes: [...frames, ...strips], annotations: arrow };
  }

  // --- on paper
  const [A4, LETTER] = [1028, 960]; // CSS pixels between margins, from top to bottom
  const FRAME = 84;
  const isOnPaper = () => "paper" in document.documentElement.dataset;
  // A plot is in one piece: it takes what A4 has left below what comes before it, else as much as Letter has. Its lines
  // stay high enough for small names; where there are too many for names, it does not become much lower.
  function heightOnPaper(height) {
    const figure = div.closest("figure");
    const { top, bottom } = figure.getBoundingClientRect();
    const around = FRAME + bottom - top - div.offsetHeight;
    const left = A4 - ((top + window.scrollY) % A4) - around;
    const least = Math.min(height, numLayers <= 80 ? numLayers * LEAST_LINE : 320);
    // The heading of the section stays with what comes first in it.
    const heading = figure.previousElementSibling.matches("figure") ? 0 : top - byId("heatmap").getBoundingClientRect().top;
    return Math.floor(Math.min(height, left >= least ? left : LETTER - heading - around));
  }

  // --- the plot
  let drawn = null;
  let bounds = null;
  function draw() {
    if (!div) return;
    const order = data.orders[view.order];
    const lines = findLines();
    const [top, bottom] = [lines[0].first, lines.at(-1).last];
    const width = roomFor(div);
    const nameWidth = Math.round(Math.min(42, Math.max(20, width / 26)));
    // Of many layers, what a line shows.
    bounds ??= report.shadeBounds(lines[0].layer === null ? lines.flatMap((line) => line.cells) : values);
    const shade = report.shader(bounds);
    const texts = lines.map((line) => { const name = describeLine(line, order); return changes.map((_, change) => `${name}<br>${spans[change]}<br>${describeCell(line, change)}`); });
    // Up to some layers, every line has room for its name.
    const highest = Math.min(numLayers <= 80 ? 1120 : 820, Math.max(90, numLayers * Math.min(22, Math.max(14, 240 / numLayers))));
    const wide = width >= 640 && highest >= 200; // else the colour bar lies on top
    const labels = labelsOf(lines, order, nameWidth);
    tell(lines, report.endWithout(nameWidth), labels.some(({ hasDepth }) => hasDepth));
    const plotHeight = wide && isOnPaper() ? heightOnPaper(highest) : highest;
    const lineHeight = plotHeight / lines.length;
    const isSmall = isOnPaper() && lineHeight < LINE && lineHeight >= LEAST_LINE;
    const font = isSmall ? SMALL_FONT : NAME_FONT;
    const picked = indexTicks(labels, [0, lines.length - 1], Math.floor(plotHeight / (isSmall ? LEAST_LINE : LINE)));
    const left = 16 + widthOf(picked.ticktext.map(({ name, layer }) => `${name} ${markOf(layer)}`), `${font.size}px ${font.family}`);
    const bar = bounds.isEmpty ? "" : wide ? "beside" : "on top";
    const right = bar === "beside" ? BAR_ROOM : hasRate ? 58 : 18;
    const inner = width - left - right;
    const strip = eventStrip(plotHeight, inner, { isScaled: false });
    const shared = { type: "heatmap", y: edges(lines), x0: 0, dx: 1, text: texts, hovertemplate: "%{text}<extra></extra>", xgap: numChanges <= width / 12 ? 1 : 0, ygap: lineHeight >= LEAST_LINE ? 1 : 0 };
    const traces = [
      { ...shared, z: lines.map((line) => line.greys), zmin: 0, zmax: 1, colorscale: [[0, colour("state")], [1, colour("unchanged")]], showscale: false },
      { ...shared, z: lines.map((line) => line.cells.map((value) => (value === null ? null : shade(value)))), ...report.colouring(bounds, wide, wide ? plotHeight : inner, strip.domain[1]) },
      ...strip.traces,
    ];
    const x = evenRange();
    const y = { tickmode: "array", tickvals: picked.tickvals.map((index) => (lines[index].first + lines[index].last) / 2), ticktext: picked.ticktext.map(({ text }) => text) };
    const barLines = report.barLines(inner);
    const titles = [...report.barTitle(bounds, wide, inner), { text: `${plain(data.noun)} (by ${view.order})${!wide ? "" : view.order === "cluster" ? " and its mark" : " and the mark of its cluster"}`, xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "bottom", yshift: bar === "on top" ? 46 + barLines : 4, showarrow: false, font: { size: 12 } }];
    drawn = { lines, order, titles, groups: groupShapes(order, top, bottom), lineHeight };
    const marks = selectionMarks(lines, order, drawn.lineHeight);
    // The title of the axis stands on top: there is no room for it beside names of any length.
    Plotly.react(div, traces, layout(div, {
      height: plotHeight + (bar === "on top" ? 134 + barLines : FRAME), shapes: [...drawn.groups, ...marks.shapes], margin: { l: left, r: right, t: bar === "on top" ? 76 + barLines : 26, b: 52 },
      xaxis: axis(endTitle(width), { ...endTicks(inner, x), range: x, showgrid: false, minallowed: -0.5, maxallowed: numChanges - 0.5 }),
      yaxis: axis("", { ...y, title: undefined, // plotly.js leaves room for an empty one
         domain: strip.domain, range: [bottom + 0.5, top - 0.5], showgrid: false, tickfont: font, ticks: "", minallowed: -0.5, maxallowed: numLayers - 0.5 }),
      ...strip.axes, annotations: [...titles, ...marks.annotations],
    }), report.CONFIG);
    report.settleTitle(div);
    listen();
  }
  function edges(lines) {
    if (lines.length === 1 || lines[0].layer !== null) return lines.map((line) => (line.first + line.last) / 2);
    return [lines[0].first - 0.5, ...lines.map((line) => line.last + 0.5)];
  }
  function mark() {
    if (!drawn) return;
    const marks = selectionMarks(drawn.lines, drawn.order, drawn.lineHeight);
    Plotly.relayout(div, { shapes: [...drawn.groups, ...marks.shapes], annotations: [...drawn.titles, ...marks.annotations] });
  }
  function listen() {
    followZoom(div, { isScaled: false, onRows: (range) => report.placesIn(range, numLayers) });
    div.removeAllListeners("plotly_click");
    div.on("plotly_click", ({ points: [point] }) => {
      if (point.data.type === "scatter") return report.click(() => point.customdata !== null && report.selectLayer(point.customdata));
      const line = drawn.lines[point.pointIndex[0]];
      return report.click(() => (line.layer !== null ? report.selectLayer(line.layer) : report.update({ rows: [line.first, line.last] })));
    });
  }
  const ends = () => [bounds.low, bounds.high].map((end) => (report.isSigned ? end : 10 ** end));
  function tell(lines, sharedEnd, haveDepths) {
    const size = lines[0].last - lines[0].first + 1;
    const shown = lines.at(-1).last - lines[0].first + 1;
    byId("all-rows").hidden = shown === numLayers;
    byId("heatmap-note").textContent = [
      shown < numLayers ? `${count(shown, data.noun)} of ${numLayers.toLocaleString("en")} shown.` : "",
      numLayers > MOST_LINES ? `Colours end at ${number(ends()[0])} and ${number(ends()[1])}.` : "",
      sharedEnd ? `Names are shown without “${report.shorten(sharedEnd, 40)}”, in which all end.` : "",
      haveDepths ? `A number in brackets is the depth of a ${data.noun} whose short name others have, too.` : "",
      size > 1 ? `Each line is the median of ${size} neighbouring ${data.noun}s in this order; zoom in, or click on a line, to see them one by one.` : "",
    ].filter(Boolean).join(" ");
  }
  // A layer that is selected from elsewhere is brought into what is shown.
  function follow(changed) {
    if (!div) return;
    const place = view.layer === null || !view.rows ? null : data.orders[view.order].indexOf(view.layer);
    if (place !== null && (place < view.rows[0] || place > view.rows[1])) {
      const reach = Math.floor((view.rows[1] - view.rows[0]) / 2);
      const first = Math.max(0, Math.min(place - reach, numLayers - 1 - (view.rows[1] - view.rows[0])));
      report.update({ rows: [first, Math.min(numLayers - 1, first + view.rows[1] - view.rows[0])] });
    } else if (["order", "steps", "rows"].some((name) => changed.has(name))) draw();
    else report.soon("heatmap", mark);
  }
  report.onChange(["order", "steps", "rows", "layer", "cluster"], follow);
  Object.assign(report, { drawHeatmap: draw, heatmapGeometry: () => (div?._fullLayout ? div._fullLayout._size : null) });
})();
