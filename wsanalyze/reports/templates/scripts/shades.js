"use strict";
// Colours of heatmaps, their bar and its title.
(() => {
  const { tickTexts, extent, isSigned, titleLines, valueTitle } = report;
  // Viridis and not cividis: the middle of cividis is a grey that could be taken for the grey of a state.
  const COLOURS = "Viridis";
  // Beside a plot: space, bar, numbers and a title of one line.
  const BAR_ROOM = 130;
  // Of a range, since the logarithm keeps the order: the smallest positive value and the largest.
  function shadeBounds(list) {
    if (isSigned) return extent(list) ?? [-1, 0];
    let [low, high] = [Infinity, 0];
    for (const value of list) if (value > 0) { low = Math.min(low, value); high = Math.max(high, value); }
    return high > 0 ? [Math.log10(low), Math.log10(high)] : [-1, 0];
  }
  // A value of 0 that has no state (no weight flips its sign) is the lowest colour there is.
  const shader = (bounds) => (value) => (isSigned ? value : value > 0 ? Math.log10(value) : bounds[0]);
  function colouring(bounds, wide, room, length = 1) {
    return { zmin: bounds[0], zmax: bounds[1] > bounds[0] ? bounds[1] : bounds[0] + 1, colorscale: COLOURS,
      colorbar: { ...colourTicks(bounds, wide ? 12 : 4), tickangle: 0, ...(wide ? { title: { text: valueTitle(room), side: "right", font: { size: 12 } } } : {}), outlinewidth: 0, ticklen: 4,
        ...(wide ? { thickness: 12, len: length, lenmode: "fraction", y: 0, yanchor: "bottom", ypad: 0, xpad: 18 } : { orientation: "h", thickness: 10, y: 1, yanchor: "bottom", x: 0.5, ypad: 8 }) } };
  }
  // Where the colour bar lies on top, its title is a note of its own: with two lines, plotly.js would misplace the others.
  const barTitle = (wide, room) => wide ? [] : [{ text: valueTitle(room), xref: "paper", yref: "paper", x: 0.5, y: 1, yanchor: "bottom", yshift: 44, showarrow: false, font: { size: 12 } }];
  const barLines = (room) => 16 * titleLines(room).length;
  // Round numbers on the bar: powers of ten, with 2 and 5 between them where the range is short.
  function colourTicks([low, high], most) {
    if (isSigned) return {};
    const digits = high - low > 2 ? [1] : [1, 2, 5];
    const tickvals = [];
    for (let power = Math.floor(low); power <= high; power += 1) {
      for (const digit of digits) tickvals.push(power + Math.log10(digit));
    }
    const inside = tickvals.filter((tick) => tick >= low - 1e-9 && tick <= high + 1e-9);
    const stride = Math.ceil(inside.length / most);
    const shown = inside.length ? inside.filter((_, index) => index % stride === 0) : [low, high];
    return { tickmode: "array", tickvals: shown, ticktext: tickTexts(shown.map((tick) => 10 ** tick)) };
  }
  Object.assign(report, { BAR_ROOM, shadeBounds, shader, colouring, barTitle, barLines });
})();
