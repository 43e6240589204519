"use strict";
// The address holds the view, so that a link opens what its sender saw. What an address asks for may be from anybody:
// it is compared with what the report holds, and what it does not hold is told as text.
(() => {
  const { byId, data, layers, numLayers, numChanges, clusters, stepNames, canScale, DEFAULTS, view, visible, FILTERS, COLUMNS } = report;
  const filters = FILTERS ?? { kind: [], trend: [], state: [] };
  const stepName = (change) => (canScale ? stepNames[change] : String(change + 1));
  // A layer has an address that no other has, also where their names look alike: "NAME", "NAME (2)".
  const layerNames = [];
  const byName = new Map(layers.name.map((name) => [name, null]));
  const copies = new Map();
  layers.name.forEach((name, layer) => {
    let [free, copy] = [name, copies.get(name) ?? 1];
    while (copy > 1 && byName.has(free)) free = `${name} (${copy++})`;
    copies.set(name, Math.max(2, copy));
    byName.set(free, layer);
    layerNames.push(free);
  });
  // Plots whose axis of values can be zoomed; the other two have rows and an area.
  const ZOOMED = [...[...document.querySelectorAll("main .plot[id]")].map(({ id }) => id).filter((id) => id !== "heatmap-plot" && id !== "scatter-plot"), "layer-curve", ...report.others.map(({ name }) => `layer-${name}`)];
  const digits = (value) => String(Number(value.toPrecision(6)));
  const NAMES = { search: "q", kind: "kind", trend: "in", state: "state", sort: "sort", order: "order", spacing: "spacing" };

  const KEYS = new Set(["layer", "page", "cluster", "from", "to", "members", "map", "top", "bottom", "zoom", "area", "tablepage", "at", ...Object.values(NAMES)]);

  function write() {
    const parts = new URLSearchParams();
    if (view.layer !== null) parts.set("layer", layerNames[view.layer]);
    if (view.layer !== null && !view.open) parts.set("page", "closed");
    if (view.cluster !== null) parts.set("cluster", view.cluster < 0 ? "none" : String(view.cluster));
    if (view.steps) { parts.set("from", stepName(view.steps[0])); parts.set("to", stepName(view.steps[1])); }
    for (const [name, short] of Object.entries(NAMES)) if (view[name] !== DEFAULTS[name]) parts.set(short, view[name]);
    if (view.members) parts.set("members", "1");
    if (view.map !== impliedMap(view)) parts.set("map", data.kinds[view.map]);
    if (view.rows) {
      const order = data.orders[view.order];
      parts.set("top", layerNames[order[view.rows[0]]]);
      parts.set("bottom", layerNames[order[view.rows[1]]]);
    }
    for (const [id, range] of Object.entries(view.zooms)) parts.append("zoom", [id, ...range.map(digits)].join(" "));
    if (view.area) parts.set("area", view.area.map(digits).join(" "));
    if (view.page !== null && view.page !== report.homePage()) parts.set("tablepage", String(view.page + 1));
    const text = parts.toString();
    return view.at && text ? `at=${encodeURIComponent(view.at)}&${text}` : view.at || text;
  }
  const impliedMap = (its) => (report.hasMap(its) ? report.mapOf(its) : data.map);
  let isAwaited = false;
  function save() {
    report.cancel("address");
    isAwaited = false;
    const hash = write();
    if (hash === location.hash.slice(1)) return;
    // Where a page may not touch its history (in some frames), only the address stays as it was.
    try { history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search); } catch { /* as above */ }
  }
  // Browsers bear no more than some changes a second.
  function saveSoon() {
    if (!isAwaited) report.later("address", 200, save);
    isAwaited = true;
  }

  // What an address asks for, and what of it there is not.
  function read(hash) {
    const found = { ...DEFAULTS };
    const missed = [];
    if (!hash.includes("=")) return { found: { ...found, at: sectionOf(hash) }, missed: unknownPlace(hash) };
    const parts = new URLSearchParams(hash);
    for (const name of new Set(parts.keys())) if (!KEYS.has(name)) missed.push(`“${visible(name)}”`);
    const take = (name, use) => {
      const text = parts.get(name);
      if (text !== null && use(text) === false) missed.push(`${name} “${visible(text)}”`);
    };
    take("layer", (text) => {
      const layer = layerOf(text);
      if (layer === null) return false;
      Object.assign(found, { layer, open: parts.get("page") !== "closed" });
    });
    if (found.layer === null) take("cluster", (text) => {
      const id = text === "none" ? -1 : clusters.find((cluster) => String(cluster.id) === text)?.id;
      if (id === undefined || (id < 0 && !report.alone.length)) return false;
      found.cluster = id;
    });
    const places = ["from", "to"].map((name) => {
      let place = null;
      take(name, (text) => { place = placeOf(text); return place !== null; });
      return place;
    });
    if (isTurned(places)) missed.push(`from “${visible(parts.get("from"))}” back to “${visible(parts.get("to"))}”`);
    else if (numChanges && places.some((place) => place !== null)) found.steps = rangeOf(places);
    take("order", (text) => pick(text, Object.keys(data.orders), "order"));
    take("spacing", (text) => pick(text, canScale ? ["steps", "even"] : ["even"], "spacing"));
    take("members", (text) => pick(text === "1", [true], "members"));
    found.map = impliedMap(found);
    const ends = ["top", "bottom"].map((name) => {
      let layer = null;
      take(name, (text) => { layer = layerOf(text); return layer !== null; });
      return layer;
    });
    const rows = ends.map((layer) => layer === null ? null : data.orders[found.order].indexOf(layer));
    if (isTurned(rows)) missed.push(`top “${visible(parts.get("top"))}” below “${visible(parts.get("bottom"))}”`);
    else if (rows.some((row) => row !== null)) found.rows = rowsOf(rows);
    for (const text of parts.getAll("zoom").slice(0, 500)) if (!readZoom(text, found)) missed.push(`zoom “${visible(text)}”`);
    take("area", (text) => {
      const area = text.split(" ").map(numberOf);
      if (area.length !== 4 || area[0] > area[1] || !isRange(area.slice(0, 2)) || !isRange(area.slice(2))) return false;
      found.area = area;
    });
    take("tablepage", (text) => {
      if (!/^[1-9]\d{0,5}$/.test(text) || (Number(text) - 1) * report.PAGE >= numLayers) return false;
      found.page = Number(text) - 1;
    });
    take("map", (text) => pick(data.kinds.indexOf(text), [...data.kinds.keys()], "map"));
    take("q", (text) => { found.search = text.slice(0, 200); });
    for (const [name, short] of [["kind", "kind"], ["trend", "in"], ["state", "state"]]) take(short, (text) => pick(text, filters[name].map(([value]) => value), name));
    take("sort", (text) => pick(text, (COLUMNS ?? []).filter(Boolean).flatMap((column) => [column, `-${column}`]), "sort"));
    take("page", (text) => text === "closed");
    take("at", (text) => { found.at = sectionOf(text); return found.at !== ""; });
    return { found, missed };
    function pick(value, allowed, name) {
      if (!allowed.includes(value)) return false;
      found[name] = value;
      return true;
    }
  }
  const sectionOf = (text) => (document.getElementById(text)?.matches("main > section") ? text : "");
  const unknownPlace = (text) => (text && !document.getElementById(text) ? [`“${visible(text)}”`] : []);
  const isTurned = ([from, to]) => from !== null && to !== null && from > to;
  const layerOf = (text) => byName.get(text) ?? null;
  function placeOf(text) {
    for (let change = 0; change < numChanges; change += 1) if (stepName(change) === text) return change;
    return null;
  }
  const numberOf = (text) => (/^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(text) ? Number(text) : NaN);
  // From one number to another, as far apart as a plot can show.
  const isRange = ([from, to]) => Number.isFinite(from) && Number.isFinite(to) && Math.abs(to - from) > 1e-6 * Math.max(Math.abs(from), Math.abs(to));
  function readZoom(text, found) {
    const [id, ...range] = text.split(" ");
    const ends = range.map(numberOf);
    if (!ZOOMED.includes(id) || ends.length !== 2 || !isRange(ends) || (ends[0] > ends[1]) !== (id === "depth-plot")) return false; // its first depth is on top
    found.zooms = { ...found.zooms, [id]: ends };
    return true;
  }
  function rowsOf(places) {
    const range = [places[0] ?? 0, places[1] ?? numLayers - 1];
    return range[0] === 0 && range[1] === numLayers - 1 ? null : range;
  }
  function rangeOf([from, to]) {
    const range = [from ?? 0, to ?? numChanges - 1];
    return range[0] === 0 && range[1] === numChanges - 1 ? null : range;
  }
  function tell(missed) {
    const note = byId("link-note");
    note.hidden = !missed.length;
    note.textContent = missed.length ? `This link asks for what this report does not hold: ${missed.slice(0, 6).join(", ")}.` : "";
  }
  function open(hash) {
    const { found, missed } = read(hash);
    tell(missed);
    report.update(found);
    if (found.at) byId(found.at).scrollIntoView();
  }
  // A link to a section keeps the view that the address held.
  window.addEventListener("hashchange", ({ newURL }) => {
    const hash = new URL(newURL).hash.slice(1); // the address may hold the view again, if that was to be saved
    if (hash && !hash.includes("=")) { tell(unknownPlace(hash)); if (sectionOf(hash)) { view.at = hash; save(); } } else open(hash);
  });
  report.onChange(Object.keys(DEFAULTS), saveSoon);
  byId("copy-link").addEventListener("click", () => { save(); report.copy(location.href, "a link to this view"); });
  Object.assign(report, { readAddress: () => read(location.hash.slice(1)), tellMissed: tell });
})();
