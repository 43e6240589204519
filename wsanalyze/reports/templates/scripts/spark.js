"use strict";
// Curves as small pictures, like the text that stands for them: each on a logarithmic scale of its own that spans a
// factor of 4 at least, so that noise looks flat.
(() => {
  const [WIDTH, HEIGHT, SMALLEST_RANGE] = [120, 24, Math.log(4)];
  function drawSpark(values, linear) {
    const signed = linear || values.some((value) => value < 0);
    const heights = Array.from(values, (value) => (Number.isNaN(value) ? null : signed ? value : value > 0 ? Math.log(value) : null));
    const finite = heights.filter((height) => height !== null);
    if (!finite.length) return null;
    const [low, high] = report.extent(finite);
    const middle = (low + high) / 2;
    const reach = Math.max(high - low, signed ? (linear ? 0.5 : 0) : SMALLEST_RANGE) || 1;
    const points = heights.map((height, index) => height === null ? null : [
      (values.length > 1 ? (index / (values.length - 1)) * (WIDTH - 6) : 0) + 3,
      HEIGHT / 2 - ((height - middle) / reach) * (HEIGHT - 6),
    ].map((number) => number.toFixed(1)));
    const path = points.map((point, index) => {
      if (!point) return "";
      if (points[index - 1]) return `L${point}`;
      return points[index + 1] ? `M${point}` : `M${point}h0.01`; // a dot: the round cap of a line of no length
    }).join("");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("aria-hidden", "true");
    const line = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
    const attributes = { d: path, fill: "none", stroke: "currentColor", "stroke-width": 1.5, "stroke-linecap": "round", "stroke-linejoin": "round" };
    for (const [name, value] of Object.entries(attributes)) line.setAttribute(name, value);
    return svg;
  }
  report.drawSpark = drawSpark;
})();
