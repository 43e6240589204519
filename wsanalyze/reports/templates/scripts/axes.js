"use strict";
// Axes, and what lies on every axis of time: its range, which all plots share, and marks for events.
(() => {
  const { data, changes, numChanges, steps, stepNames, haveSteps, view, colour, plain, shorten, wrap, number, extent, drawable, isSigned } = report;
  const { log } = data;
  const endLabels = changes.map((change, index) => (haveSteps ? stepNames[index] : change.to));
  function endTitle(width) {
    if (width < 400) return haveSteps ? "step (evenly spaced)" : "checkpoint (in order)";
    return haveSteps ? "training step after the change (evenly spaced)" : "checkpoint after the change (in order)";
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
  // The width in which some texts fit. Room that is left for them from the start spares plotly.js to draw all twice.
  const pen = document.createElement("canvas").getContext("2d");
  function widthOf(texts, font) {
    pen.font = font;
    return Math.ceil(Math.max(0, ...texts.map((text) => pen.measureText(text).width)));
  }
  function axis(title, more = {}) {
    return { title: { text: title, standoff: 8, font: { size: 12 } }, gridcolor: colour("rule"), linecolor: colour("rule"),
      zeroline: false, automargin: true, ticklabeloverflow: "allow", ticks: "outside", ticklen: 4, tickcolor: colour("rule"), ...more };
  }
  const byFinger = matchMedia("(pointer: coarse)");
  function layout(div, more) {
    const background = colour(div.closest(".card, dialog") ? "panel" : "paper");
    return { paper_bgcolor: background, plot_bgcolor: background, margin: { l: 56, r: 12, t: 12, b: 48 }, width: roomFor(div),
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("text") }, showlegend: false, hovermode: "closest",
      dragmode: byFinger.matches ? false : "zoom", // so that a finger scrolls the page
      hoverlabel: { align: "left", bgcolor: colour("soft"), bordercolor: colour("rule"), font: { color: colour("text") } }, ...more };
  }
  const valueAxis = (range, signed = isSigned) => ({ tickformat: "~g", nticks: 7, ...(signed ? {} : { type: "log", ...(range ? logTicks(range) : {}) }), ...(range ? { range } : {}) });
  // Positive numbers beside an axis in one style: all in full, or all with their power of ten.
  function tickTexts(ticks) {
    const isPlain = Math.min(...ticks) >= 1e-4 * (1 - 1e-9) && Math.max(...ticks) < 1e6;
    return ticks.map((tick) => (isPlain ? String(Number(tick.toPrecision(3))) : tick.toExponential(2).replace(/\.?0*e\+?/, "e").replace("e0", "")));
  }
  // Round numbers on an axis of logarithms, as few as tell the range: plotly.js would let them overlap.
  function logTicks(range) {
    const [low, high] = [Math.min(...range), Math.max(...range)];
    let found = [];
    for (const digits of [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7], [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9]]) {
      found = [];
      for (let power = Math.floor(low); power <= high; power += 1) for (const digit of digits) found.push(power + Math.log10(digit));
      found = found.filter((tick) => tick >= low && tick <= high);
      if (found.length >= 3) break;
    }
    if (found.length < 2) return {};
    const stride = Math.ceil(found.length / 8);
    const ticks = found.filter((_, index) => index % stride === 0);
    return { tickmode: "array", tickvals: ticks.map((tick) => 10 ** tick), ticktext: tickTexts(ticks.map((tick) => 10 ** tick)) };
  }
  // The range of an axis with some air, in the axis' own numbers (logarithms where it is logarithmic).
  function paddedRange(list, signed = isSigned) {
    const range = extent(drawable(list, signed));
    if (!range) return null;
    const [low, high] = signed ? range : range.map(Math.log10);
    const air = Math.max((high - low) * 0.06, signed ? Math.abs(high) * 0.05 || 1 : 0.15);
    return [low - air, high + air];
  }

  // --- time
  const scaled = () => view.spacing === "steps";
  const places = () => (scaled() ? steps : changes.map((_, index) => index));
  function spread(list) {
    const [low, high] = extent(list);
    const air = (high - low) * 0.03 || 1;
    return [low - air, high + air];
  }
  const evenRange = () => (view.steps ? [view.steps[0] - 0.5, view.steps[1] + 0.5] : [-0.5, numChanges - 0.5]);
  function scaledRange() {
    if (!view.steps) return spread([...steps, ...data.events.filter((event) => event.place !== null).map((event) => toStep(event.place))]);
    const [first, last] = view.steps;
    if (first < last) return spread([steps[first], steps[last]]);
    const gap = Math.min(...[steps[first] - steps[first - 1], steps[first + 1] - steps[first]].filter(Number.isFinite));
    return [steps[first] - gap / 2, steps[first] + gap / 2];
  }
  // Steps are whole numbers, and where one change is shown, its step is all that there is to tell.
  function stepTicks([low, high]) {
    const shown = [...steps.keys()].filter((change) => steps[change] >= low && steps[change] <= high);
    if (shown.length === 1) return { tickmode: "array", tickvals: [steps[shown[0]]], ticktext: [plain(stepNames[shown[0]])] };
    return high - low <= 6 ? { tick0: 0, dtick: 1 } : {};
  }
  // The same for all curves.
  function stepAxis(div, scaledTitle, evenTitle) {
    if (scaled()) {
      const range = scaledRange();
      return axis(scaledTitle, { range, ...(Math.max(...steps) < 1e6 ? { tickformat: "~f" } : {}), ...stepTicks(range) });
    }
    const even = evenRange();
    return axis(evenTitle, { ...endTicks(roomFor(div) - 90, even), range: even });
  }
  // A place between two changes on the axis of steps.
  function toStep(place) {
    const [before, after] = [Math.floor(place), Math.ceil(place)].map((at) => steps[Math.min(numChanges - 1, at)] ?? log?.start ?? steps[0]);
    return before + (after - before) * (place - Math.floor(place));
  }
  // A phase begins at the step where the change before it ends.
  const phaseLines = (isScaled) => data.phases.filter((change) => change > 0).map((change) => {
    const place = isScaled ? steps[change - 1] : change - 0.5;
    return { type: "line", x0: place, x1: place, yref: "paper", y0: 0, y1: 1, line: { color: colour("muted"), width: 1, dash: "dot" }, layer: "below" };
  });
  // The steps that a reader zooms to are those of every plot.
  function followZoom(div, { isScaled, onRows = null }) {
    for (const name of ["plotly_relayout", "plotly_doubleclick"]) div.removeAllListeners(name);
    div.on("plotly_relayout", (change) => {
      const parts = {};
      const [low, high] = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      if (low !== undefined) parts.steps = isScaled ? report.changesIn([low, high]) : report.placesIn([low, high], numChanges);
      const rows = [change["yaxis.range[0]"], change["yaxis.range[1]"]];
      if (rows[0] !== undefined) {
        if (onRows) parts.rows = onRows(rows);
        else parts.zooms = { ...view.zooms, [div.id]: rows };
      }
      // The axis shows whole changes, also where they are the ones that it showed.
      if (Object.keys(parts).length && !report.update(parts)) report.redraw(div);
    });
    div.on("plotly_doubleclick", () => {
      if (!report.update({ steps: null, ...(onRows ? { rows: null } : withoutZoom(div.id)) })) report.redraw(div);
      report.forgetClick(); // last, since drawing takes a while and the second click is told only then
    });
  }
  function withoutZoom(...ids) {
    const kept = Object.entries(view.zooms).filter(([id]) => !ids.includes(id));
    return kept.length < Object.keys(view.zooms).length ? { zooms: Object.fromEntries(kept) } : {};
  }
  // A range of logarithms that someone wrote into an address may be beyond all numbers.
  const zoomOf = (div, isLog = !isSigned) => (view.zooms[div.id]?.some((end) => isLog && Math.abs(end) > 400) ? undefined : view.zooms[div.id]);

  // --- events
  const STRIP = 18;
  const MARK_ROOM = 12; // in pixels: marks that are nearer would lie on one another
  // Marks above a plot as wide as `room`, with their texts under the pointer: one for each place where there are events, or
  // for several that are near.
  function eventStrip(height, room, { isScaled, concerns = () => true }) {
    const known = data.events.filter((event) => event.place !== null && concerns(event));
    const share = known.length ? Math.min(0.2, STRIP / height) : 0;
    if (!share) return { traces: [], domain: [0, 1], axes: {} };
    const groups = gatherMarks(known, isScaled, room);
    const trace = { type: "scatter", mode: "markers", yaxis: "y9", showlegend: false, cliponaxis: false, name: "events", meta: { events: true },
      x: groups.map(({ x }) => x), y: groups.map(() => 0), customdata: groups.map(({ events }) => events.find((event) => event.layer !== null)?.layer ?? null),
      text: groups.map(({ events }) => [...(events.length > 1 ? [`<b>${events.length} events</b>`] : []), ...events.slice(0, 5).map((event) => `<b>${plain(event.kind)}</b><br>${wrap(event.text, 64)}`),
        ...(events.length > 5 ? [`and ${events.length - 5} more, under Events`] : [])].join("<br>")),
      hovertemplate: "%{text}<extra></extra>",
      marker: { size: 9, color: colour("text"), line: { width: 1.4, color: colour("text") }, symbol: groups.map(({ events }) => (new Set(events.map(({ kind, place }) => `${place} ${kind}`)).size > 1 ? "star" : events[0].symbol)) } };
    return { traces: [trace], domain: [0, 1 - share], axes: { yaxis9: { domain: [1 - share, 1], range: [-1, 1], visible: false, fixedrange: true } } };
  }

  // Events by where their marks lie in the range that is shown: neighbours that have no room become one mark between them.
  function gatherMarks(events, isScaled, room) {
    const [low, high] = isScaled ? scaledRange() : evenRange();
    const apart = (MARK_ROOM / Math.max(1, room)) * (high - low);
    const placed = events.map((event) => ({ x: isScaled ? toStep(event.place) : event.place, events: [event] }));
    const groups = [];
    for (const mark of placed.filter(({ x }) => x >= low && x <= high).sort((a, b) => a.x - b.x)) {
      groups.push(mark);
      while (groups.length > 1 && groups.at(-1).x - groups.at(-2).x < apart) {
        const [before, after] = groups.splice(-2);
        const both = [...before.events, ...after.events];
        groups.push({ x: (before.x * before.events.length + after.x * after.events.length) / both.length, events: both });
      }
    }
    return groups;
  }

  Object.assign(report, { byFinger, logTicks, tickTexts, widthOf, endTitle, endTicks, indexTicks, roomFor, axis, layout, valueAxis, paddedRange, scaled, places, evenRange, stepAxis, phaseLines, followZoom, withoutZoom, zoomOf, eventStrip });
})();
