"use strict";
// The table of layers: search, sorting by any column, and curves in place of the text that stands for them.
(() => {
  const table = document.getElementById("layer-table");
  for (const element of document.querySelectorAll("[data-script]")) element.hidden = false;
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const data = JSON.parse(document.getElementById("report-data").textContent);

  function searchRows() {
    const clusters = [];
    const rest = search.value.toLowerCase().replace(/(?:^|\s)cluster\s+(\S+)/g, (_, cluster) => { clusters.push(cluster); return " "; });
    const words = rest.split(/\s+/).filter(Boolean);
    let matches = 0;
    for (const row of rows) {
      const shown = words.every((word) => row.searchText.includes(word)) && clusters.every((cluster) => row.cluster === cluster);
      row.hidden = !shown;
      matches += shown;
    }
    output.textContent = `${matches} of ${rows.length}`;
  }

  const search = document.getElementById("search");
  const output = document.getElementById("matches");
  for (const row of rows) {
    const [name, kind, , , cluster] = row.cells;
    row.cluster = cluster.dataset.sort;
    row.searchText = `${name.textContent} ${kind.textContent} cluster ${row.cluster}`.toLowerCase();
  }
  search.addEventListener("input", searchRows);
  searchRows();

  // Numbers by value, words by the order of the reader's language; a cell without a number comes last either way.
  function compareCells(column, numeric, sign) {
    const language = new Intl.Collator(undefined, { numeric: true });
    const keys = new Map(rows.map((row) => {
      const cell = row.cells[column];
      const key = cell.dataset.sort ?? cell.textContent;
      return [row, numeric ? (key === "" ? null : Number(key)) : key];
    }));
    return (first, second) => {
      const [a, b] = [keys.get(first), keys.get(second)];
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (numeric ? a - b : language.compare(a, b));
    };
  }

  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    if (header.dataset.type === "none") return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = header.getAttribute("aria-sort") === "ascending";
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      body.append(...rows.toSorted(compareCells(column, header.dataset.type === "number", descending ? -1 : 1)));
    });
  });

  // Like the text: a logarithmic scale of its own that spans a factor of 4 at least, so that noise looks flat.
  const [WIDTH, HEIGHT, SMALLEST_RANGE] = [120, 24, Math.log(4)];
  function drawCurve(values) {
    const signed = data.metric.linear || values.some((value) => value !== null && value < 0);
    const heights = values.map((value) => (value === null ? null : signed ? value : value > 0 ? Math.log(value) : null));
    const finite = heights.filter((height) => height !== null);
    if (!finite.length) return null;
    const [low, high] = [finite.reduce((a, b) => Math.min(a, b)), finite.reduce((a, b) => Math.max(a, b))];
    const middle = (low + high) / 2;
    const reach = Math.max(high - low, signed ? (data.metric.linear ? 0.5 : 0) : SMALLEST_RANGE) || 1;
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
  for (const row of rows) {
    const svg = drawCurve(data.values[Number(row.dataset.layer)]);
    if (svg) row.querySelector(".curve").replaceChildren(svg);
  }
})();
