"use strict";
// Draws everything once, and again where the room or the colours change.
(() => {
  const { byId, view, update, soon, DEFAULTS, canScale } = report;
  for (const element of document.querySelectorAll("[data-script]")) element.hidden = false;
  if (!canScale) byId("spacing").closest("label").remove();
  const drawn = new Map([["heatmap-plot", report.drawHeatmap], ["training-log", report.drawLog], ["scatter-plot", report.drawScatter], ["depth-plot", report.drawDepth]]);
  // After a zoom that leaves the state as it was; not at once, since plotly.js is not done with it.
  function redraw(div) {
    if (div.closest("dialog")) report.drawLayer();
    else if (drawn.has(div.id)) soon(div.id, drawn.get(div.id));
    else soon("curves", report.drawCurves);
  }
  // A plot whose range was chosen elsewhere, in an address.
  let drawnZooms = view.zooms;
  report.onChange(["zooms"], () => {
    const before = drawnZooms;
    drawnZooms = view.zooms;
    for (const id of new Set([...Object.keys(before), ...Object.keys(drawnZooms)])) if (before[id] !== drawnZooms[id] && byId(id)) redraw(byId(id));
  });
  // What a mouse can do and what a finger can.
  function tellHow() {
    for (const hint of document.querySelectorAll("[data-by]")) hint.hidden = (hint.dataset.by === "finger") !== report.byFinger.matches;
  }
  let width = 0;
  function drawAll() {
    width = document.documentElement.clientWidth;
    report.drawHeatmap();
    report.drawLog();
    report.drawCurves();
    report.drawScatter();
    report.drawDepth();
    report.drawLayer({ isNow: true });
  }
  Object.assign(report, { redraw, drawAll });

  const { found, missed } = report.readAddress();
  // What the parts follow in a way of their own, once they are drawn.
  const { layer, cluster, open, zooms, page } = found;
  Object.assign(view, found, { layer: null, cluster: null, open: false, zooms: DEFAULTS.zooms, page: null });
  report.tellMissed(missed);
  byId("order").value = view.order;
  const controls = { order: "value", spacing: "value", members: "checked" };
  // The steps by keyboard and by finger, where there is no drag.
  function fillSteps() {
    const names = report.changes.map((change, index) => report.shorten(report.haveSteps ? report.stepNames[index] : change.to, 24));
    const ends = [byId("steps-from"), byId("steps-to")];
    for (const select of ends) {
      select.append(...names.map((name, change) => new Option(name, change)));
      select.addEventListener("change", () => {
        const range = ends.map(({ value }) => Number(value));
        if (range[0] > range[1]) { range.reverse(); report.say("From and to were exchanged."); }
        update({ steps: range[0] === 0 && range[1] === names.length - 1 ? null : range });
      });
    }
  }
  function followControls() {
    const [from, to] = view.steps ?? [0, report.numChanges - 1];
    [byId("steps-from").value, byId("steps-to").value] = [String(from), String(to)];
    for (const [name, property] of Object.entries(controls)) if (byId(name)) byId(name)[property] = view[name];
    if (byId("map-kind")) byId("map-kind").value = String(view.map);
  }
  fillSteps();
  followControls();
  tellHow();
  report.onChange([...Object.keys(controls), "map", "steps"], followControls);
  byId("all-rows").addEventListener("click", () => update({ rows: null }));
  byId("order").addEventListener("change", ({ target }) => update({ order: target.value, rows: null }));
  byId("map-kind")?.addEventListener("change", ({ target }) => update({ map: Number(target.value) }));
  byId("members").addEventListener("change", ({ target }) => update({ members: target.checked }));
  byId("spacing")?.addEventListener("change", ({ target }) => update({ spacing: target.value }));
  // What is seen first comes first; the rest in parts, so that clicks are answered between them.
  report.drawHeatmap();
  report.drawLog();
  report.makeButtons();
  report.followBar(new Set());
  soon("table", () => report.drawTable?.());
  soon("curves", report.drawCurves);
  soon("scatter-plot", report.drawScatter);
  soon("depth-plot", report.drawDepth);
  update({ layer, cluster, open, zooms, page });
  soon("ready", () => {
    if (found.at) byId(found.at).scrollIntoView();
    document.documentElement.dataset.ready = "";
  });

  width = document.documentElement.clientWidth;
  window.addEventListener("resize", () => report.later("resize", 150, () => {
    if (document.documentElement.clientWidth !== width && !("print" in document.documentElement.dataset)) drawAll();
  }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  report.byFinger.addEventListener("change", () => { tellHow(); drawAll(); });
})();
