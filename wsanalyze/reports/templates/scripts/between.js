"use strict";
// plotly.js answers near points only, which lie far apart where there are few changes. So that the whole of a line
// answers, points that are not drawn lie along it, and say what the nearest real one says.
(() => {
  const APART = 12; // in pixels
  // Traces and, for each line that can be pointed at, one more: what lies between its points.
  function answering(traces, plot) {
    const { width, height, margin, xaxis } = plot;
    return [...traces, ...traces.flatMap((trace) => {
      if (!trace.mode?.includes("lines") || trace.hoverinfo === "skip" || !xaxis.range) return [];
      const yaxis = plot[(trace.yaxis ?? "y").replace("y", "yaxis")];
      const isLog = yaxis.type === "log";
      const heights = isLog ? trace.y.map((value) => (value > 0 ? Math.log10(value) : null)) : trace.y;
      const [low, high] = yaxis.range ?? report.extent(heights) ?? [0, 1];
      const [bottom, top] = yaxis.domain ?? [0, 1];
      const across = { start: xaxis.range[0], end: xaxis.range[1], room: width - margin.l - margin.r };
      const up = { start: low, end: high, room: (height - margin.t - margin.b) * (top - bottom) };
      const points = pointsBetween(trace.x, heights, across, up);
      if (!points.length) return [];
      const pick = (list) => (Array.isArray(list) ? points.map(({ nearest }) => list[nearest]) : list);
      const { name, meta, hoverinfo, hovertemplate } = trace;
      return [{ type: "scatter", mode: "none", showlegend: false, name, meta, ...(hoverinfo ? { hoverinfo } : { hovertemplate }), ...(trace.yaxis ? { yaxis: trace.yaxis } : {}),
        x: points.map(({ x }) => x), y: points.map(({ height: its }) => (isLog ? 10 ** its : its)), text: pick(trace.text), customdata: pick(trace.customdata) }];
    })];
  }
  function pointsBetween(x, heights, across, up) {
    const points = [];
    for (let next = 1; next < x.length; next += 1) {
      const ends = [[x[next - 1], x[next]], [heights[next - 1], heights[next]]];
      if (ends.flat().some((value) => value === null || Number.isNaN(value))) continue;
      const [wide, high] = [across, up].map(({ start, end, room }, at) => Math.abs(((ends[at][1] - ends[at][0]) / (end - start)) * room));
      const [from, to] = shownPart(ends, [across, up]);
      if (!(to > from)) continue;
      // Lines that lie on one another have theirs at the same places, and a steep one some between those: of lines that are
      // near, the one that is pointed at has the nearest point.
      const parts = Math.ceil(wide / APART) * Math.ceil(Math.hypot(wide, high) / Math.max(APART, wide));
      for (let place = Math.max(1, Math.ceil(from * parts)); place < parts && place <= to * parts; place += 1) {
        const share = place / parts;
        const [at, height] = ends.map(([start, end]) => start + share * (end - start));
        points.push({ x: at, height, nearest: share < 0.5 ? next - 1 : next });
      }
    }
    return points;
  }
  // From which to which share of its way a line between two points is inside of the plot: one that was zoomed into may
  // be endless.
  function shownPart(ends, axes) {
    let [from, to] = [0, 1];
    ends.forEach(([start, end], at) => {
      const [low, high] = [Math.min(axes[at].start, axes[at].end), Math.max(axes[at].start, axes[at].end)];
      if (start === end) { if (start < low || start > high) to = from; return; }
      const shares = [(low - start) / (end - start), (high - start) / (end - start)];
      from = Math.max(from, Math.min(...shares));
      to = Math.min(to, Math.max(...shares));
    });
    return [from, to];
  }
  report.answering = answering;
})();
