"use strict";
// The plots. Every text that comes from a file passes `plain` before plotly.js sees it, which reads tags and entities.
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const { layers, changes, clusters, metric, log } = data;
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star"];
  const MARKS = ["●", "■", "◆", "▲", "▼", "✚", "✖", "★"];
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
  const NUM_COLOURS = 7;
  // Viridis and not cividis: the middle of cividis is a grey that could be taken for the grey of a state.
  const COLOURS = "Viridis";
  const CONFIG = { displayModeBar: false, displaylogo: false, plotlyServerURL: "", showTips: false, typesetMath: false, doubleClick: "reset" };

  // --- texts
  const plain = (text) => text.replace(/[&<>$]/g, (character) => `&#${character.codePointAt(0)};`); // $ begins a formula
  function shorten(text, width) {
    const characters = [...text];
    if (characters.length <= width) return text;
    const tail = Math.floor((width - 1) / 2);
    return `${characters.slice(0, width - 1 - tail).join("")}…${characters.slice(characters.length - tail).join("")}`;
  }
  function wrap(text, width = 48) {
    const characters = [...text];
    const lines = [];
    for (let start = 0; start < characters.length; start += width) lines.push(plain(characters.slice(start, start + width).join("")));
    return lines.join("<br>");
  }
  // The names of most layers end alike: that end goes first, since the middle tells them apart.
  const shortenName = (name, width) => shorten([...name].length > width ? name.replace(/\.weight$/, "") : name, width);
  function number(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(3))) : value.toExponential(2).replace("e+", "e");
  }
  const unit = metric.unit === "ratio" || metric.unit === "share" ? "" : ` ${plain(metric.unit)}`;
  const valueWords = `${metric.title}${metric.unit && !metric.title.includes(metric.unit) ? ` (${metric.unit})` : ""}`;
  // The lines of a title beside an axis or a colour bar that is so long: what does not fit would be cut off.
  function titleLines(room) {
    const lines = [""];
    for (const word of valueWords.split(" ")) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (longer.length * 6.5 <= room || !lines.at(-1)) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    return lines.map(plain);
  }
  const valueTitle = (room) => titleLines(room).join("<br>");
  const clusterWord = (layer) => layers.cluster[layer] < 0 ? (layers.outlier[layer] ? "outlier, in no cluster" : "in no cluster") : `cluster ${layers.cluster[layer]}`;

  // --- numbers
  const finite = (values) => values.filter((value) => value !== null);
  function extent(values) {
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
    return low <= high ? [low, high] : null;
  }
  const isSigned = metric.linear || data.values.some((curve) => curve.some((value) => value !== null && value < 0));
  const positive = (values) => values.map((value) => (value !== null && (isSigned || value > 0) ? value : null));
  const states = new Map(data.states.map(([layer, change, word, absolute]) => [layer * changes.length + change, { word, absolute }]));
  const touched = new Map(data.touched.map(([layer, change, word]) => [layer * changes.length + change, word]));
  const spans = changes.map((change) => `${wrap(change.from)} → ${wrap(change.to)}`);
  const layerTexts = layers.name.map((name, layer) => `<b>${wrap(name)}</b><br>${plain(layers.kind[layer])}, ${clusterWord(layer)}`);
  function cellWord(layer, change) {
    const state = states.get(layer * changes.length + change);
    const touch = touched.get(layer * changes.length + change);
    const value = data.values[layer][change];
    let text = value === null ? "no number" : `${number(value)}${unit}`;
    if (state) text = state.absolute === null ? plain(state.word) : `${plain(state.word)}, absolute change ${number(state.absolute)}`;
    if (touch === "spike") text += " (a spike, tamed for clustering)";
    else if (touch === "gap") text += " (a gap, filled for clustering)";
    else if (touch) text += ` (${plain(touch)})`;
    return text;
  }

  // --- steps
  const steps = changes.map((change) => change.step);
  const haveSteps = steps.length > 0 && steps.every((step) => step !== null);
  const canScale = haveSteps && steps.every((step, index) => !index || step > steps[index - 1]);
  const endLabels = changes.map((change) => (haveSteps ? String(change.step) : change.to));
  function endTitle(width) {
    if (width < 480) return haveSteps ? "step after the change" : "checkpoint after the change";
    return haveSteps ? "training step after the change (evenly spaced)" : "checkpoint after the change (in order)";
  }
  function prefersScale() {
    const gaps = steps.slice(1).map((step, index) => step - steps[index]);
    return canScale && (!gaps.length || Math.max(...gaps) <= 20 * Math.min(...gaps));
  }
  // `run-epoch-1.pt`, `run-epoch-2.pt`: 1 and 2 are what tells them apart. Numbers are left whole.
  function withoutCommonEnds(labels) {
    const common = (texts) => texts.reduce((start, text) => { let end = 0; while (end < start.length && start[end] === text[end]) end += 1; return start.slice(0, end); });
    const mirrored = (text) => [...text].reverse().join("");
    const start = common(labels).replace(/\d+$/, "").length;
    const rest = labels.map((label) => label.slice(start));
    const end = common(rest.map(mirrored)).replace(/\d+$/, "").length;
    const short = rest.map((label) => label.slice(0, label.length - end));
    return short.every(Boolean) ? short : labels;
  }
  // Labels of places 0, 1, ... inside a range, as many as there is room for.
  function indexTicks(labels, range, most) {
    const first = Math.max(0, Math.ceil(Math.min(...range)));
    const last = Math.min(labels.length - 1, Math.floor(Math.max(...range)));
    const stride = Math.max(1, Math.ceil((last - first + 1) / Math.max(1, most)));
    const tickvals = [];
    for (let place = first; place <= last; place += stride) tickvals.push(place);
    return { tickmode: "array", tickvals, ticktext: tickvals.map((place) => labels[place]) };
  }
  function endTicks(width, range) {
    const room = width < 480 ? 9 : 14;
    const full = endLabels.some((label) => label.length > room) ? withoutCommonEnds(endLabels) : endLabels;
    const labels = full.map((label) => shorten(label, room));
    const longest = Math.max(1, ...labels.map((label) => label.length));
    return indexTicks(labels.map(plain), range, Math.max(2, Math.floor(width / (longest * 7 + 16))));
  }

  // The width inside the parent: an empty plot has none of its own.
  function roomFor(div) {
    const { paddingLeft, paddingRight } = getComputedStyle(div.parentElement);
    return div.parentElement.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  }

  // --- colours
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const clusterColour = (id) => colour(id < 0 ? "alone" : `c${id % NUM_COLOURS}`);
  const withAlpha = (hex, alpha) => `rgba(${[1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).join(",")},${alpha})`;
  function axis(title, more = {}) {
    return { title: { text: title, standoff: 8, font: { size: 12 } }, gridcolor: colour("rule"), linecolor: colour("rule"),
      zeroline: false, automargin: true, ticks: "outside", ticklen: 4, tickcolor: colour("rule"), ...more };
  }
  function layout(div, more) {
    const narrow = matchMedia("(pointer: coarse)").matches || roomFor(div) < 480;
    const background = colour(div.closest(".card") ? "panel" : "paper");
    return { paper_bgcolor: background, plot_bgcolor: background, margin: { l: 56, r: 12, t: 12, b: 48 }, width: roomFor(div),
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("text") }, showlegend: false, hovermode: "closest",
      dragmode: narrow ? false : "zoom", // so that a finger scrolls the page
      hoverlabel: { align: "left", bgcolor: colour("soft"), bordercolor: colour("rule"), font: { color: colour("text") } }, ...more };
  }
  const valueAxis = (range) => ({ tickformat: "~g", nticks: 7, ...(isSigned ? {} : { type: "log" }), ...(range ? { range } : {}) });
  // The range of an axis with some air, in the axis' own numbers (logarithms where it is logarithmic).
  function paddedRange(values) {
    const range = extent(positive(values));
    if (!range) return null;
    const [low, high] = isSigned ? range : range.map(Math.log10);
    const air = Math.max((high - low) * 0.06, isSigned ? Math.abs(high) * 0.05 || 1 : 0.15);
    return [low - air, high + air];
  }

  // --- heatmap
  function drawHeatmap(div) {
    const order = data.orders[document.getElementById("order").value];
    const width = roomFor(div);
    const nameWidth = Math.round(Math.min(42, Math.max(15, width / 26)));
    const labels = order.map((layer) => {
      const id = layers.cluster[layer];
      const mark = id < 0 ? (layers.outlier[layer] ? "✳" : "-") : MARKS[id % MARKS.length];
      return `${plain(shortenName(layers.name[layer], nameWidth))} <span style="color:${clusterColour(id)}">${mark}</span>`;
    });
    const all = finite(data.values.flat());
    const bounds = shadeBounds(all);
    const shade = shader(bounds);
    const stateOf = (layer, change) => states.get(layer * changes.length + change);
    const cells = order.map((layer) => data.values[layer].map((value, change) => (value === null || stateOf(layer, change) ? null : shade(value))));
    const greys = order.map((layer) => data.values[layer].map((value, change) => {
      const state = stateOf(layer, change);
      return state || value === null ? (state?.word === "unchanged" ? 1 : 0) : null;
    }));
    const texts = order.map((layer) => changes.map((_, change) => `${layerTexts[layer]}<br>${spans[change]}<br>${cellWord(layer, change)}`));
    const rowHeight = Math.min(22, Math.max(14, 240 / order.length));
    const plotHeight = Math.min(820, Math.max(90, order.length * rowHeight));
    const wide = width >= 640 && plotHeight >= 200; // else the colour bar lies on top
    const inner = width - nameWidth * 7 - (wide ? 110 : 20);
    const shared = { type: "heatmap", text: texts, hovertemplate: "%{text}<extra></extra>", xgap: changes.length <= width / 12 ? 1 : 0, ygap: plotHeight / order.length >= 10 ? 1 : 0 };
    const traces = [
      { ...shared, z: greys, zmin: 0, zmax: 1, colorscale: [[0, colour("state")], [1, colour("unchanged")]], showscale: false },
      { ...shared, z: cells, ...colouring(bounds, wide, wide ? plotHeight : inner), showscale: all.length > 0 },
    ];
    const limits = { x: [-0.5, changes.length - 0.5], y: [order.length - 0.5, -0.5] };
    const ticks = (x, y) => ({ x: endTicks(inner, x), y: indexTicks(labels, y, Math.floor(plotHeight / 13)) });
    const both = ticks(limits.x, limits.y);
    const shapes = [];
    const value = document.getElementById("order").value;
    const groupOf = (layer) => (value === "cluster" ? layers.cluster[layer] : layers.kind[layer]);
    if (value !== "depth") {
      order.forEach((layer, place) => {
        if (place && groupOf(layer) !== groupOf(order[place - 1])) {
          shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: place - 0.5, y1: place - 0.5, line: { color: colour("text"), width: 1.5 } });
        }
      });
    }
    const barLines = 16 * titleLines(inner).length;
    // The title of the axis stands on top: automargin leaves no room for it beside names of any length.
    const nameFont = { size: 11, family: "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" };
    Plotly.react(div, traces, layout(div, {
      height: plotHeight + (wide ? 84 : 134 + barLines), shapes, margin: { l: 40, r: 8, t: wide ? 26 : 76 + barLines, b: 52 },
      xaxis: axis(endTitle(width), { ...both.x, range: limits.x, showgrid: false, minallowed: limits.x[0], maxallowed: limits.x[1] }),
      yaxis: axis("", { ...both.y, range: limits.y, showgrid: false, tickfont: nameFont, ticks: "", minallowed: limits.y[1], maxallowed: limits.y[0] }),
      annotations: [...barTitle(wide, inner), { text: `layer (by ${value})${wide ? ", with the mark of its cluster" : ""}`, xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "bottom", yshift: wide ? 4 : 46 + barLines, showarrow: false, font: { size: 12 } }],
    }), CONFIG);
    div.removeAllListeners?.("plotly_relayout");
    div.on("plotly_relayout", (change) => {
      if (!Object.keys(change).some((key) => key.includes("axis.range") || key.includes("autorange"))) return;
      const { x, y } = ticks(div.layout.xaxis.range, div.layout.yaxis.range);
      Plotly.relayout(div, { "xaxis.tickvals": x.tickvals, "xaxis.ticktext": x.ticktext, "yaxis.tickvals": y.tickvals, "yaxis.ticktext": y.ticktext });
    });
  }
  function shadeBounds(values) {
    return extent(isSigned ? values : values.filter((value) => value > 0).map(Math.log10)) ?? [-1, 0];
  }
  // A value of 0 that has no state (no weight flips its sign) is the lowest colour there is.
  const shader = (bounds) => (value) => (isSigned ? value : value > 0 ? Math.log10(value) : bounds[0]);
  function colouring(bounds, wide, room) {
    return { zmin: bounds[0], zmax: bounds[1] > bounds[0] ? bounds[1] : bounds[0] + 1, colorscale: COLOURS,
      colorbar: { ...colourTicks(bounds), ...(wide ? { title: { text: valueTitle(room), side: "right", font: { size: 12 } } } : {}), outlinewidth: 0, ticklen: 4,
        ...(wide ? { thickness: 12, len: 1, lenmode: "fraction", xpad: 14 } : { orientation: "h", thickness: 10, y: 1, yanchor: "bottom", x: 0.5, ypad: 8 }) } };
  }
  // Where the colour bar lies on top, its title is a note of its own: with two lines, plotly.js would misplace the others.
  const barTitle = (wide, room) => wide ? [] : [{ text: valueTitle(room), xref: "paper", yref: "paper", x: 0.5, y: 1, yanchor: "bottom", yshift: 44, showarrow: false, font: { size: 12 } }];
  // Round numbers on the bar: powers of ten, with 2 and 5 between them where the range is short.
  function colourTicks([low, high]) {
    if (isSigned) return {};
    const digits = high - low > 2 ? [1] : [1, 2, 5];
    const tickvals = [];
    for (let power = Math.floor(low); power <= high; power += 1) {
      for (const digit of digits) tickvals.push(power + Math.log10(digit));
    }
    const inside = tickvals.filter((tick) => tick >= low - 1e-9 && tick <= high + 1e-9);
    const shown = inside.length ? inside : [low, high];
    return { tickmode: "array", tickvals: shown, ticktext: shown.map((tick) => number(10 ** tick)) };
  }

  // --- curves
  const spacing = document.getElementById("spacing");
  const scaled = () => spacing.value === "steps";
  const places = () => (scaled() ? steps : changes.map((_, index) => index));
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
    const trace = { type: "scatter", x: [], y: [], text: [], hovertemplate: "%{text}<extra></extra>", ...style };
    const x = places();
    for (const layer of indices) {
      trace.x.push(...x, null);
      trace.y.push(...positive(data.values[layer]), null);
      trace.text.push(...changes.map((_, change) => `${layerTexts[layer]}<br>${spans[change]}<br>${cellWord(layer, change)}`), "");
    }
    return trace;
  }
  const curveMode = () => (changes.length <= 30 ? "lines+markers" : "lines");
  const showsMembers = () => document.getElementById("members").checked;
  function curveRange() {
    const alone = layers.cluster.flatMap((id, layer) => (id < 0 ? data.values[layer] : []));
    const members = showsMembers() ? data.values.flat() : [];
    return paddedRange([...clusters.flatMap((cluster) => [...cluster.low, ...cluster.high, ...cluster.median]), ...alone, ...members]);
  }
  function curveLayout(div, range) {
    const x = stepAxis(div, "training step after the change", endTitle(roomFor(div)));
    const shapes = data.phases.filter((change) => change > 0).map((change) => phaseLine(change));
    return layout(div, { height: 280, margin: { l: 62, r: 10, t: 10, b: 48 }, xaxis: x, yaxis: axis(valueTitle(210), valueAxis(range)), shapes });
  }
  // A phase begins at the step where the change before it ends.
  function phaseLine(change) {
    const place = scaled() ? steps[change - 1] : change - 0.5;
    return { type: "line", x0: place, x1: place, yref: "paper", y0: 0, y1: 1, line: { color: colour("muted"), width: 1, dash: "dot" }, layer: "below" };
  }
  // The same for curves and log. Where there is a log, it starts at the first checkpoint, where the first change does.
  function stepAxis(div, scaledTitle, evenTitle) {
    if (scaled()) return axis(scaledTitle, { range: spread(log && log.start !== null ? [log.start, ...steps] : steps) });
    const even = [log ? -1.25 : -0.5, changes.length - 0.5];
    const ticks = endTicks(roomFor(div) - 90, even);
    if (log && log.start !== null && ticks.tickvals[1] === 1) {
      ticks.tickvals.unshift(-1);
      ticks.ticktext.unshift(String(log.start));
    }
    return axis(evenTitle, { ...ticks, range: even });
  }
  function spread(values) {
    const [low, high] = extent(values);
    const air = (high - low) * 0.03 || 1;
    return [low - air, high + air];
  }
  function drawCluster(div, cluster, range) {
    const ink = clusterColour(cluster.id);
    const x = places();
    const others = clusters.filter((other) => other !== cluster && other.kind === cluster.kind).map((other) => ({
      type: "scatter", mode: "lines", x, y: positive(other.median), hoverinfo: "skip", line: { color: colour("faint"), width: 1.2 } }));
    const outline = outlineBand(x, positive(cluster.low), positive(cluster.high));
    const band = { type: "scatter", mode: "lines", ...outline, fill: "toself", fillcolor: withAlpha(ink, 0.2), line: { width: 0 }, hoverinfo: "skip" };
    const members = showsMembers() ? [layerCurves(cluster.members, { mode: "lines", line: { color: withAlpha(ink, 0.45), width: 1 } })] : [];
    const text = cluster.median.map((value, change) => value === null ? "" :
      `<b>cluster ${cluster.id}</b>, ${plain(cluster.summary)}<br>${spans[change]}<br>median ${number(value)}${unit}, 10th to 90th percentile ${number(cluster.low[change])} to ${number(cluster.high[change])}`);
    const median = { type: "scatter", mode: curveMode(), x, y: positive(cluster.median), text, hovertemplate: "%{text}<extra></extra>",
      line: { color: ink, width: 2.4 }, marker: { symbol: SYMBOLS[cluster.id % SYMBOLS.length], size: 6, color: ink } };
    Plotly.react(div, [...others, band, ...members, median], curveLayout(div, range), CONFIG);
  }
  function drawAlone(div, range) {
    const ink = colour("alone");
    const alone = layers.cluster.flatMap((id, layer) => (id < 0 && finite(data.values[layer]).length ? [layer] : []));
    const medians = clusters.map((cluster) => ({ type: "scatter", mode: "lines", x: places(), y: positive(cluster.median), hoverinfo: "skip", line: { color: colour("faint"), width: 1.2 } }));
    const few = alone.length <= DASHES.length;
    const curves = few
      ? alone.map((layer, index) => layerCurves([layer], { mode: curveMode(), line: { color: ink, width: 1.6, dash: DASHES[index] }, marker: { symbol: "asterisk-open", size: 6, color: ink } }))
      : [layerCurves(alone, { mode: "lines", line: { color: withAlpha(ink, 0.7), width: 1 } })];
    Plotly.react(div, [...medians, ...curves], curveLayout(div, range), CONFIG);
  }
  function drawCurves() {
    const range = curveRange();
    for (const cluster of clusters) {
      const div = document.getElementById(`cluster-${cluster.id}`);
      if (div) drawCluster(div, cluster, range);
    }
    const alone = document.getElementById("alone");
    if (alone) drawAlone(alone, range);
    const noted = document.getElementById("training-log");
    if (noted) drawLog(noted);
  }

  // --- log
  function drawLog(div) {
    const rates = log.curves.filter((curve) => curve.name === "learning_rate");
    const losses = log.curves.filter((curve) => curve.name !== "learning_rate");
    const styles = { loss: { line: { color: colour("text"), width: 1.8 } },
      eval_loss: { line: { color: colour("text"), width: 1.4, dash: "dash" }, marker: { symbol: "circle-open", size: 6 } },
      learning_rate: { line: { color: colour("accent"), width: 1.6, dash: "dot" } } };
    const [left, right] = losses.length ? [losses, rates] : [rates, []];
    const traces = [...right, ...left.toReversed()].map((curve) => ({
      type: "scatter", mode: curve.values.length === 1 || (curve.name === "eval_loss" && curve.values.length <= 30) ? "lines+markers" : "lines",
      x: scaled() ? curve.steps : curve.places, y: curve.values, name: plain(curve.title), yaxis: right.includes(curve) ? "y2" : "y",
      text: curve.values.map((value, index) => `${plain(curve.title)} ${number(value)}<br>step ${curve.steps[index]}`),
      hovertemplate: "%{text}<extra></extra>", ...styles[curve.name] }));
    const [low, high] = extent(left.flatMap((curve) => curve.values));
    const name = losses.length ? "loss" : plain(rates[0].title);
    Plotly.react(div, traces, layout(div, { height: 300, margin: { l: 62, r: right.length ? 62 : 10, t: 10, b: 48 }, showlegend: true,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", itemclick: false, itemdoubleclick: false, traceorder: "reversed", bgcolor: "rgba(0,0,0,0)" },
      xaxis: stepAxis(div, "training step", haveSteps ? "training step (checkpoints evenly spaced)" : "checkpoint (in order)"),
      yaxis: axis(name, { nticks: 7, exponentformat: "e", ...(low > 0 && high > 10 * low ? { type: "log", tickformat: "~g" } : {}) }),
      ...(right.length ? { yaxis2: axis(plain(rates[0].title), { overlaying: "y", side: "right", showgrid: false, rangemode: "tozero", tickmode: "auto", nticks: 6, exponentformat: "e" }) } : {}),
    }), CONFIG);
  }

  // --- depth
  function drawDepth(div) {
    const { depths, values, centre } = data.depth;
    const width = roomFor(div);
    const plotHeight = Math.min(420, Math.max(160, depths.length * 14));
    const wide = width >= 640;
    const inner = width - 70 - (wide ? 110 : 20);
    const bounds = shadeBounds(finite(values.flat()));
    const shade = shader(bounds);
    const words = (depth, change) => values[depth][change] === null ? "no number" : `median ${number(values[depth][change])}${unit}`;
    const [first, last] = [depths[0], depths.at(-1)];
    const cells = { type: "heatmap", y: depths, z: values.map((row) => row.map((value) => (value === null ? null : shade(value)))), hoverongaps: false,
      text: depths.map((depth, index) => changes.map((_, change) => `depth ${depth}<br>${spans[change]}<br>${words(index, change)}`)),
      hovertemplate: "%{text}<extra></extra>", ...colouring(bounds, wide, wide ? plotHeight : inner) };
    const line = { type: "scatter", mode: changes.length === 1 ? "markers" : "lines", x: centre.map((_, change) => change),
      y: centre.map((place) => (place === null ? null : first + place * (last - first))), hoverinfo: "skip" };
    const x = [-0.5, changes.length - 0.5];
    const barLines = 16 * titleLines(inner).length;
    Plotly.react(div, [cells, { ...line, line: { color: "#000000", width: 5 }, marker: { color: "#000000", size: 10 } }, { ...line, line: { color: "#ffffff", width: 2.4 }, marker: { color: "#ffffff", size: 7 } }], layout(div, {
      height: plotHeight + (wide ? 84 : 120 + barLines), margin: { l: 56, r: 8, t: wide ? 12 : 62 + barLines, b: 52 }, plot_bgcolor: colour("state"), annotations: barTitle(wide, inner),
      xaxis: axis(endTitle(width), { ...endTicks(inner, x), range: x, showgrid: false }),
      yaxis: axis("depth, first layer on top", { range: [last + (last - depths.at(-2)) / 2, first - (depths[1] - first) / 2], showgrid: false, ticks: "outside" }),
    }), CONFIG);
  }

  // --- map
  function drawScatter(div) {
    const width = roomFor(div);
    const chosen = byId("map-kind");
    const kind = chosen ? data.kinds[Number(chosen.value)] : null;
    const shown = layers.name.flatMap((_, layer) => (data.points[layer].length && data.points[layer][0] !== null && (kind === null || layers.kind[layer] === kind) ? [layer] : []));
    // One component, or a second that is but rounding: the depth of a layer takes its place.
    const flat = shown.every((layer) => (data.points[layer][1] ?? null) === null) || data.explained[1] < 1e-9;
    const groups = [...clusters.map((cluster) => ({ id: cluster.id, name: `cluster ${cluster.id}: ${cluster.summary}`, test: (layer) => layers.cluster[layer] === cluster.id })),
      { id: -1, name: "outlier", test: (layer) => layers.cluster[layer] < 0 && layers.outlier[layer] },
      { id: -2, name: "in no cluster", test: (layer) => layers.cluster[layer] < 0 && !layers.outlier[layer] }];
    const traces = groups.flatMap(({ id, name, test }) => {
      const members = shown.filter(test);
      if (!members.length) return [];
      const lines = id === -1 ? { width: 2, color: clusterColour(id) } : { width: 1, color: colour("paper") };
      const symbol = id === -1 ? "asterisk-open" : id === -2 ? "circle-open" : SYMBOLS[id % SYMBOLS.length];
      return [{ type: "scatter", mode: "markers", name: plain(shorten(name, width < 640 ? 32 : 60)), x: members.map((layer) => data.points[layer][0]),
        y: members.map((layer) => (flat ? layer : data.points[layer][1])),
        text: members.map((layer) => `${layerTexts[layer]}${layers.confidence[layer] === null ? "" : `, confidence ${layers.confidence[layer].toFixed(2)}`}`),
        hovertemplate: "%{text}<extra></extra>", marker: { symbol, size: id === -1 ? 11 : 9, color: clusterColour(id), line: lines } }];
    });
    const share = (index) => {
      const words = [...(width < 480 ? [] : ["no unit"]), ...(kind === null ? [`${Math.round(100 * data.explained[index])} % of the variance`] : [])];
      return `component ${index + 1}${words.length ? ` (${words.join("; ")})` : ""}`;
    };
    const legendRows = width < 900 ? traces.length : Math.ceil(traces.length / 3);
    Plotly.react(div, traces, layout(div, {
      height: 440 + legendRows * 20, showlegend: true, margin: { l: 62, r: 12, t: 16 + legendRows * 20, b: 48 },
      legend: { orientation: width < 900 ? "v" : "h", x: 0, y: 1.01, yanchor: "bottom", font: { size: 12 } },
      xaxis: axis(share(0)), yaxis: axis(flat ? "layer (place in the order of depth)" : share(1)),
    }), CONFIG);
  }

  // --- all of it
  const heatmap = document.getElementById("heatmap-plot");
  const scatter = document.getElementById("scatter-plot");
  const depth = document.getElementById("depth-plot");
  const byId = (id) => document.getElementById(id);
  function drawAll() {
    if (heatmap) drawHeatmap(heatmap);
    drawCurves();
    if (scatter) drawScatter(scatter);
    if (depth) drawDepth(depth);
  }
  if (!canScale) spacing.closest("label").remove();
  spacing.value = prefersScale() ? "steps" : "even";
  byId("order").addEventListener("change", () => heatmap && drawHeatmap(heatmap));
  byId("map-kind")?.addEventListener("change", () => scatter && drawScatter(scatter));
  byId("members").addEventListener("change", drawCurves);
  spacing.addEventListener("change", drawCurves);
  for (const button of document.querySelectorAll("[data-save]")) {
    const div = byId(button.dataset.save);
    if (!div) continue;
    button.hidden = false;
    button.addEventListener("click", () => Plotly.downloadImage(div, { format: "png", scale: 2, filename: `wsanalyze-${div.id}`, width: div.layout.width, height: div.layout.height }));
  }
  drawAll();

  let width = document.documentElement.clientWidth;
  let waiting = 0;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (document.documentElement.clientWidth === width) return;
      width = document.documentElement.clientWidth;
      drawAll();
    }, 150);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  window.addEventListener("beforeprint", () => { document.documentElement.dataset.print = ""; drawAll(); });
  window.addEventListener("afterprint", () => { delete document.documentElement.dataset.print; drawAll(); });
})();
