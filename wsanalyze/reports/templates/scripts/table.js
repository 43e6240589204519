"use strict";
// The table of layers: search, filters, sorting, pages, curves in place of the text that stands for them.
(() => {
  const { byId, data, layers, metric, numLayers, numChanges, clusters, curve, stateAt, aligned, markOf, idOf, count, view, update } = report;
  const table = byId("layer-table");
  const PAGE = 500;
  // --- what is said of each layer
  const known = new Map();
  const clusterOf = (layer) => (idOf(layer) >= 0 ? String(idOf(layer)) : layers.outlier[layer] ? "outlier" : "none");
  function facts(layer) {
    if (!known.has(layer)) known.set(layer, findFacts(layer));
    return known.get(layer);
  }
  function findFacts(layer) {
    const numbers = curve(layer).filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
    const middle = (numbers.length - 1) / 2;
    const states = new Map();
    for (let change = 0; change < numChanges; change += 1) {
      const word = stateAt(layer, change);
      if (word !== null) states.set(word, (states.get(word) ?? 0) + 1);
    }
    const end = numChanges ? curve(layer)[numChanges - 1] : NaN;
    const lastState = numChanges ? stateAt(layer, numChanges - 1) : null;
    return { name: layers.name[layer], kind: layers.kind[layer], depth: layers.depth[layer], shape: layers.numel[layer],
      cluster: clusterOf(layer), confidence: layers.confidence[layer],
      median: numbers.length ? numbers[Math.floor(middle)] / 2 + numbers[Math.ceil(middle)] / 2 : null,
      last: Number.isNaN(end) ? null : end, lastText: lastState ?? (Number.isNaN(end) ? "-" : aligned(end)),
      states: [...states.values()].reduce((sum, times) => sum + times, 0), words: states, stateText: [...states].map(([word, times]) => `${times} ${word}`).join(", ") };
  }
  report.facts = facts;
  if (!table) return;
  const body = table.tBodies[0];
  const box = table.closest(".scroll");
  const COLUMNS = ["name", "kind", "depth", "shape", "cluster", "confidence", "median", "last", null, "states"];
  const NUMERIC = new Set(["depth", "shape", "confidence", "median", "last", "states"]);

  // --- rows
  const rows = new Map([...body.rows].map((row) => [Number(row.dataset.layer), row]));
  function cell(row, text, className = "") {
    const made = row.insertCell();
    made.textContent = text;
    made.className = className;
    return made;
  }
  function makeRow(layer) {
    const its = facts(layer);
    const row = document.createElement("tr");
    row.dataset.layer = layer;
    const head = row.appendChild(document.createElement("th"));
    head.scope = "row";
    const code = head.appendChild(document.createElement("code"));
    code.className = "name";
    code.append(...report.breakable(its.name));
    cell(row, its.kind);
    cell(row, String(its.depth), "num");
    cell(row, layers.shape[layer], "num");
    const chip = cell(row, "").appendChild(document.createElement("span"));
    chip.className = `chip ${idOf(layer) < 0 ? "alone" : `c${idOf(layer) % report.NUM_COLOURS}`}`;
    const mark = chip.appendChild(document.createElement("span"));
    mark.className = "mark";
    mark.setAttribute("aria-hidden", "true");
    mark.textContent = markOf(layer);
    chip.append(` ${its.cluster}`);
    cell(row, its.confidence === null ? "-" : its.confidence.toFixed(2), "num");
    cell(row, aligned(its.median), "num");
    cell(row, its.lastText, "num words");
    cell(row, "", "curve");
    cell(row, its.stateText, "states");
    return row;
  }
  // A row with its name as a button and its curve as a picture.
  function rowOf(layer) {
    const row = rows.get(layer) ?? makeRow(layer);
    rows.set(layer, row);
    if (row.dataset.ready) return row;
    row.dataset.ready = "yes";
    const code = row.cells[0].firstElementChild;
    report.makeButton(code, { layer });
    return row;
  }
  // Pictures of curves are made some at a time.
  function drawSparks(most = 100) {
    const found = [...body.rows].filter((row) => row.dataset.ready === "yes");
    for (const row of found.slice(0, most)) {
      row.dataset.ready = "all";
      const svg = report.drawSpark(curve(Number(row.dataset.layer)), metric.linear);
      if (svg) row.querySelector(".curve").replaceChildren(svg);
    }
    if (found.length > most) report.soon("sparks", drawSparks);
  }

  // --- which rows, in which order
  const texts = layers.name.map((name, layer) => `${name} ${layers.kind[layer]} cluster ${clusterOf(layer)}`.toLowerCase());
  let shown = [];
  let page = 0;
  function findShown() {
    const wanted = [];
    const rest = view.search.toLowerCase().replace(/(?:^|\s)cluster\s+(\S+)/g, (_, cluster) => { wanted.push(cluster); return " "; });
    const parts = rest.split(/\s+/).filter(Boolean);
    shown = [...layers.name.keys()].filter((layer) => {
      const its = clusterOf(layer);
      return parts.every((word) => texts[layer].includes(word)) && wanted.every((cluster) => its === cluster) && (!view.kind || layers.kind[layer] === view.kind)
        && (!view.trend || its === view.trend) && (!view.state || (view.state === "any" ? facts(layer).states > 0 : facts(layer).words.has(view.state)));
    });
    if (view.sort) shown.sort(compare(view.sort.replace(/^-/, ""), view.sort.startsWith("-") ? -1 : 1));
  }
  // Numbers by value, words by the order of the reader's language; a layer without a number comes last either way.
  function compare(column, sign) {
    const language = new Intl.Collator(undefined, { numeric: true });
    return (first, second) => {
      const [a, b] = [facts(first)[column], facts(second)[column]];
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (NUMERIC.has(column) ? a - b : language.compare(a, b));
    };
  }
  function showPage(number) {
    page = Math.max(0, Math.min(number, Math.ceil(shown.length / PAGE) - 1));
    const its = shown.slice(page * PAGE, (page + 1) * PAGE);
    const made = its.map(rowOf);
    const present = [...body.rows];
    if (made.length !== present.length || made.some((row, place) => row !== present[place])) body.replaceChildren(...made);
    report.soon("sparks", drawSparks);
    if (view.page !== null) view.page = page;
    byId("matches").textContent = `${shown.length.toLocaleString("en")} of ${numLayers.toLocaleString("en")}`;
    byId("pager").hidden = shown.length <= PAGE;
    byId("page-text").textContent = `Rows ${(page * PAGE + 1).toLocaleString("en")} to ${(page * PAGE + its.length).toLocaleString("en")} of ${shown.length.toLocaleString("en")}`;
    byId("page-before").disabled = page === 0;
    byId("page-after").disabled = (page + 1) * PAGE >= shown.length;
    mark();
  }
  function mark() {
    const chosen = new Set(report.selectedMembers());
    for (const row of body.rows) {
      const selected = chosen.has(Number(row.dataset.layer));
      row.classList.toggle("selected", selected);
      if (selected) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }
  // Where the layer that is selected is among the rows, or the first of a cluster.
  const selectedPlace = () => view.layer !== null ? shown.indexOf(view.layer) : view.cluster !== null ? shown.findIndex((layer) => Math.max(-1, idOf(layer)) === view.cluster) : -1;
  // The page that is shown where none was chosen.
  const homePage = () => Math.max(0, Math.floor(selectedPlace() / PAGE));
  // The row of what is selected moves into sight inside of the table.
  function bringSelected() {
    const place = selectedPlace();
    if (place < 0 || Math.floor(place / PAGE) !== page) return;
    const row = rows.get(shown[place]);
    const head = table.tHead.offsetHeight;
    if (row.offsetTop < box.scrollTop + head || row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = row.offsetTop - head - box.clientHeight / 3;
  }

  // --- controls
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, index) => {
    const column = COLUMNS[index];
    if (!column) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.replaceChildren(button);
    button.addEventListener("click", () => update({ sort: view.sort === column ? `-${column}` : column }));
  });
  function addOptions(select, options) {
    select.append(...options.map(([value, text]) => new Option(text, value)));
  }
  const FILTERS = { kind: [...new Set(layers.kind)].sort().map((kind) => [kind, kind]),
    trend: [...clusters.map(({ id }) => [String(id), `${report.MARKS[id % report.MARKS.length]} ${id}`]), ["outlier", "✳ outlier"], ["none", "- none"]],
    state: [["any", "any state"], ...[...new Set(report.words.map(([state]) => state).filter(Boolean))].map((word) => [word, word])] };
  for (const [name, options] of Object.entries(FILTERS)) {
    addOptions(byId(`filter-${name}`), options);
    byId(`filter-${name}`).addEventListener("change", (event) => update({ [name]: event.target.value }));
  }
  byId("search").addEventListener("input", (event) => update({ search: event.target.value.slice(0, 200) }));
  byId("page-before").addEventListener("click", () => update({ page: page - 1 }));
  byId("page-after").addEventListener("click", () => update({ page: page + 1 }));
  let isDrawn = false;
  function draw() {
    isDrawn = true;
    for (const name of ["kind", "trend", "state"]) byId(`filter-${name}`).value = view[name];
    if (byId("search").value !== view.search) byId("search").value = view.search;
    headers.forEach((header, index) => {
      const sorted = COLUMNS[index] !== null && view.sort.replace(/^-/, "") === COLUMNS[index];
      if (sorted) header.setAttribute("aria-sort", view.sort.startsWith("-") ? "descending" : "ascending");
      else header.removeAttribute("aria-sort");
    });
    findShown();
    showPage(view.page ?? homePage());
    report.soon("row", bringSelected);
  }
  // Other rows, or another selection, begin at their own page; what is no longer selected leaves it as it is.
  function follow(changed) {
    if (!isDrawn) return;
    const others = ["search", "kind", "trend", "state", "sort"].some((name) => changed.has(name));
    if (!changed.has("page")) view.page = !others && view.layer === null && view.cluster === null ? page : null;
    if (others) draw();
    else {
      const wanted = view.page ?? homePage();
      if (wanted !== page) showPage(wanted);
      else mark();
      if (!changed.has("page")) report.soon("row", bringSelected);
    }
  }
  report.onChange(["search", "kind", "trend", "state", "sort", "layer", "cluster", "page"], follow);
  Object.assign(report, { PAGE, FILTERS, COLUMNS, homePage, drawTable: draw, drawSparks, shownLayers: () => shown, describeShown: () => count(shown.length, data.noun) });
})();
