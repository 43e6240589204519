"use strict";
// Colours of heatmaps, their bar and its title.
(() => {
  const { tickTexts, isSigned, titleLines, valueTitle } = report;
  // Viridis and not cividis: the middle of cividis is a grey that could be taken for the grey of a state.
  const COLOURS = "Viridis";
  // Beside a plot: space, bar, numbers and a title of one line.
  const BAR_ROOM = 130;
  // Of cells, the share at either end that may lie beyond the colours, and of their range what makes them lie so far off
  // that all others would have one colour. The figures follow the same rule.
  const BEYOND = 0.01;
  const FAR = 0.25;
  // Pixels from one number to the next, beside a bar and below one that lies.
  const [APART, APART_LYING] = [34, 54];
  const DIGITS = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7], [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9]];
  const USUAL = 3;
  // The ends of the colours, in the numbers of the shades, and whether values lie beyond them.
  function shadeBounds(list) {
    const shades = Float64Array.from(isSigned ? list : list.filter((value) => value > 0), isSigned ? Number : Math.log10)
      .filter(Number.isFinite).sort();
    if (!shades.length) return { low: -1, high: 0, below: false, above: false, isEmpty: true };
    const [least, most] = [shades[0], shades.at(-1)];
    const few = Math.floor(BEYOND * shades.length);
    const [low, high] = [shades[few], shades[shades.length - 1 - few]];
    const below = high > low && low - least > FAR * (high - low);
    const above = high > low && most - high > FAR * (high - low);
    return { low: below ? low : least, high: above ? high : most, below, above };
  }
  // A value of 0 that has no state (no weight flips its sign) is the lowest colour there is.
  const shader = ({ low }) => (value) => (isSigned ? value : value > 0 ? Math.log10(value) : low);
  function colouring(bounds, wide, room, length = 1) {
    const part = wide ? length : bounds.below || bounds.above ? 0.8 : 1;
    return { zmin: bounds.low, zmax: bounds.high > bounds.low ? bounds.high : bounds.low + 1, colorscale: COLOURS,
      showscale: !bounds.isEmpty, colorbar: { ...colourTicks(bounds, room * part, wide ? APART : APART_LYING), tickangle: 0, ...(wide ? { title: { text: valueTitle(room), side: "right", font: { size: 12 } } } : {}), outlinewidth: 0, ticklen: 4,
        ...(wide ? { thickness: 12, len: part, lenmode: "fraction", y: 0, yanchor: "bottom", ypad: 0, xpad: 18 } : { orientation: "h", thickness: 10, len: part, y: 1, yanchor: "bottom", x: 0.5, ypad: 8 }) } };
  }
  // Where the colour bar lies on top, its title is a note of its own: with two lines, plotly.js would misplace the others.
  const barTitle = (bounds, wide, room) => wide || bounds.isEmpty ? [] : [{ text: valueTitle(room), xref: "paper", yref: "paper", x: 0.5, y: 1, yanchor: "bottom", yshift: 44, showarrow: false, font: { size: 12 } }];
  const barLines = (room) => 16 * titleLines(room).length;
  // For a bar of colours that lies, plotly.js moves the title of the horizontal axis down, and then up to its numbers.
  function settleTitle(div) {
    for (const part of div.querySelectorAll(".g-xtitle, .xtitle")) part.removeAttribute("transform");
  }
  // Round numbers on the bar, as many as there is room for; at an end that values lie beyond, the number of the end.
  function colourTicks({ low, high, below, above }, room, apart) {
    if (isSigned && !below && !above) return {};
    const gap = (apart / Math.max(apart, room)) * (high - low);
    const inside = isSigned ? evenTicks(low, high, gap) : roundTicks(low, high, gap);
    const shown = (inside.length > 1 ? inside : [...new Set([low, high])]).filter((tick) => !(below && tick < low + 0.6 * gap) && !(above && tick > high - 0.6 * gap));
    const texts = (ticks) => (isSigned ? ticks.map((tick) => String(Number(tick.toPrecision(2)))) : tickTexts(ticks.map((tick) => Number((10 ** tick).toPrecision(ticks === shown ? 15 : 2)))));
    const ends = [...(below ? [low] : []), ...(above ? [high] : [])];
    const signs = [...(below ? ["≤ "] : []), ...(above ? ["≥ "] : [])];
    return { tickmode: "array", tickvals: [...shown, ...ends], ticktext: [...texts(shown), ...texts(ends).map((text, index) => signs[index] + text)] };
  }
  // Of logarithms: powers of ten, with 2 and 5 between them where they do not crowd, and more only where three are not had.
  function roundTicks(low, high, gap) {
    let found = [];
    for (const [place, digits] of DIGITS.entries()) {
      if (place >= USUAL && found.length > 2) break;
      const ticks = [];
      for (let power = Math.floor(low); power <= high; power += 1) for (const digit of digits) ticks.push(power + Math.log10(digit));
      const inside = ticks.filter((tick) => tick >= low - 1e-9 && tick <= high + 1e-9);
      if (inside.some((tick, index) => index && tick - inside[index - 1] < gap)) return place ? found : thin(inside, gap);
      found = inside;
    }
    return found;
  }
  const thin = (ticks, gap) => ticks.filter((_, index) => index % Math.ceil(gap) === 0);
  function evenTicks(low, high, gap) {
    const power = 10 ** Math.floor(Math.log10(gap));
    const step = power * [1, 2, 5, 10].find((digit) => digit * power >= gap);
    const found = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) found.push(tick);
    return found;
  }
  Object.assign(report, { BAR_ROOM, shadeBounds, shader, colouring, barTitle, barLines, settleTitle });
})();
