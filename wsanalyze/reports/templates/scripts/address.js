"use strict";
// The address holds the view, so that a link opens what its sender saw. What an address asks for may be from anybody:
// it is compared with what the report holds, and what it does not hold is told as text.
(() => {
  const { byId, data, layers, numChanges, clusters, steps, canScale, DEFAULTS, view, visible, FILTERS, COLUMNS } = report;
  const filters = FILTERS ?? { kind: [], trend: [], state: [] };
  const stepName = (change) => String(canScale ? steps[change] : change + 1);
  const NAMES = { search: "q", kind: "kind", trend: "in", state: "state", sort: "sort", order: "order", spacing: "spacing" };

  function write() {
    const parts = new URLSearchParams();
    if (view.layer !== null) parts.set("layer", layers.name[view.layer]);
    if (view.layer !== null && !view.open) parts.set("page", "closed");
    if (view.cluster !== null) parts.set("cluster", view.cluster < 0 ? "none" : String(view.cluster));
    if (view.steps) { parts.set("from", stepName(view.steps[0])); parts.set("to", stepName(view.steps[1])); }
    for (const [name, short] of Object.entries(NAMES)) if (view[name] !== DEFAULTS[name]) parts.set(short, view[name]);
    if (view.members) parts.set("members", "1");
    if (view.map) parts.set("map", data.kinds[view.map]);
    const text = parts.toString();
    return view.at && text ? `at=${encodeURIComponent(view.at)}&${text}` : view.at || text;
  }
  let waiting = 0;
  function save() {
    clearTimeout(waiting);
    waiting = 0;
    const hash = write();
    if (hash === location.hash.slice(1)) return;
    // Where a page may not touch its history (in some frames), only the address stays as it was.
    try { history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search); } catch { /* as above */ }
  }
  // Browsers bear no more than some changes a second.
  function saveSoon() {
    if (!waiting) waiting = setTimeout(save, 200);
  }

  // What an address asks for, and what of it there is not.
  function read(hash) {
    const found = { ...DEFAULTS };
    const missed = [];
    if (!hash.includes("=")) return { found: { ...found, at: sectionOf(hash) }, missed };
    const parts = new URLSearchParams(hash);
    const take = (name, use) => {
      const text = parts.get(name);
      if (text !== null && use(text) === false) missed.push(`${name} “${visible(text)}”`);
    };
    take("layer", (text) => {
      const layer = layers.name.indexOf(text);
      if (layer < 0) return false;
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
    if (numChanges && places.some((place) => place !== null)) found.steps = rangeOf(places);
    take("order", (text) => pick(text, Object.keys(data.orders), "order"));
    take("spacing", (text) => pick(text, canScale ? ["steps", "even"] : ["even"], "spacing"));
    take("members", (text) => pick(text === "1", [true], "members"));
    take("map", (text) => pick(data.kinds.indexOf(text), [...data.kinds.keys()], "map"));
    take("q", (text) => { found.search = text.slice(0, 200); });
    for (const [name, short] of [["kind", "kind"], ["trend", "in"], ["state", "state"]]) take(short, (text) => pick(text, filters[name].map(([value]) => value), name));
    take("sort", (text) => pick(text, (COLUMNS ?? []).filter(Boolean).flatMap((column) => [column, `-${column}`]), "sort"));
    take("at", (text) => { found.at = sectionOf(text); });
    return { found, missed };
    function pick(value, allowed, name) {
      if (!allowed.includes(value)) return false;
      found[name] = value;
      return true;
    }
  }
  const sectionOf = (text) => (document.getElementById(text)?.matches("main > section") ? text : "");
  function placeOf(text) {
    if (!/^-?\d{1,15}$/.test(text)) return null;
    const place = canScale ? steps.indexOf(Number(text)) : Number(text) - 1;
    return place >= 0 && place < numChanges ? place : null;
  }
  function rangeOf([from, to]) {
    const range = [from ?? 0, to ?? numChanges - 1].sort((a, b) => a - b);
    return range[0] === 0 && range[1] === numChanges - 1 ? null : range;
  }
  function tell(missed) {
    const note = byId("link-note");
    note.hidden = !missed.length;
    note.textContent = missed.length ? `This link asks for what this report does not hold: ${missed.slice(0, 6).join(", ")}.` : "";
  }
  function open() {
    const { found, missed } = read(location.hash.slice(1));
    tell(missed);
    report.update(found);
    if (found.at) byId(found.at).scrollIntoView();
  }
  // A link to a section keeps the view that the address held.
  window.addEventListener("hashchange", () => {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) { if (sectionOf(hash)) { view.at = hash; save(); } } else open();
  });
  report.onChange(Object.keys(DEFAULTS).filter((name) => name !== "rows"), saveSoon);
  byId("copy-link").addEventListener("click", () => { save(); report.copy(location.href, "a link to this view"); });
  Object.assign(report, { readAddress: () => read(location.hash.slice(1)), tellMissed: tell });
})();
