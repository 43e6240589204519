"use strict";
// The page of a layer, below the report: what it is, its curve against its cluster, the other metrics, states, events.
(() => {
  const { byId, data, layers, changes, numLayers, numChanges, clusters, others, otherCurve, curve, stateAt, cellText, plain, number, aligned, count, spans, extent, drawable, colour,
    clusterWord, markOf, view, axis, layout, roomFor, valueTitle, valueAxis, paddedRange, scaled, places, stepAxis, phaseLines, followZoom, eventStrip, facts } = report;
  const panel = byId("layer-page");
  const part = (name) => panel.querySelector(`[data-part="${name}"]`);
  const HEIGHT = 260;
  const WHY_NONE = { table: "A table holds this metric only.", size: "They would make this file too large. --metric NAME shows one.", "": "None of them has a number at any layer." };
  const notHad = data.not_had.length ? `Not measured: ${data.not_had.join(", ")}; --metric NAME says why.` : "";
  let opener = null;

  function element(tag, text, className = "") {
    const made = document.createElement(tag);
    made.append(...report.breakable(text));
    if (className) made.className = className;
    return made;
  }
  function fill(layer) {
    const its = facts(layer);
    byId("layer-page-title").replaceChildren(...report.breakable(layers.name[layer]));
    const rows = [["Kind", layers.kind[layer]], ["Depth", String(layers.depth[layer])], ["Shape", layers.shape[layer] === "-" ? "-" : `${layers.shape[layer]} (${count(layers.numel[layer], "number")})`],
      ["Cluster", signOf(layer)], ["Confidence", its.confidence === null ? "-" : its.confidence.toFixed(2)],
      ["Median change", aligned(its.median)], ["Last change", its.lastText]];
    part("facts").replaceChildren(...rows.map(([term, text]) => { const pair = element("div", ""); pair.append(element("dt", term), typeof text === "string" ? element("dd", text) : text); return pair; }));
    const runs = stateRuns(layer);
    part("states").replaceChildren(...(runs.length ? runs : ["Every change has a number."]).map((text) => element("li", text)));
    const told = data.events.filter((event) => event.layer === layer);
    part("events").replaceChildren(...(told.length ? told : [{ kind: "", text: "None names it." }]).map((event) => element("li", event.kind ? `${event.kind}: ${event.text}` : event.text)));
    part("cluster").hidden = layers.cluster[layer] < 0;
    part("cluster").textContent = `Select cluster ${layers.cluster[layer]}`;
    fillNumbers(layer);
    part("place").textContent = `${placeOf(layer) + 1} of ${numLayers.toLocaleString("en")}, by ${view.order}`;
  }
  // The mark of its cluster in the colour that it has everywhere.
  function signOf(layer) {
    const sign = element("dd", "", colourClass(layer));
    sign.append(element("span", markOf(layer), "mark"), ` ${clusterWord(layer)}`);
    return sign;
  }
  const colourClass = (layer) => (layers.cluster[layer] < 0 ? "alone" : `c${layers.cluster[layer] % report.NUM_COLOURS}`);
  // The curve in words, for those who do not point: it may be long, and is made when it is asked for.
  function fillNumbers(layer) {
    const body = part("numbers").tBodies[0];
    if (!part("numbers").parentElement.open) { body.replaceChildren(); return; }
    body.replaceChildren(...changes.map(({ from, to }, change) => {
      const row = element("tr", "");
      const head = element("th", `${from} → ${to}`, "name");
      head.scope = "row";
      row.append(head, element("td", cellText(layer, change), "num"));
      return row;
    }));
  }
  part("numbers").parentElement.addEventListener("toggle", () => { if (view.layer !== null) fillNumbers(view.layer); });
  // States of neighbouring changes as one: "new: step-0 to step-2 (2 changes)".
  function stateRuns(layer) {
    const runs = [];
    for (let change = 0; change < numChanges; change += 1) {
      const word = stateAt(layer, change);
      if (word === null) continue;
      const before = runs.at(-1);
      if (before?.word === word && before.last === change - 1) before.last = change;
      else runs.push({ word, first: change, last: change });
    }
    const said = runs.slice(0, 30).map(({ word, first, last }) => `${word}: ${changes[first].from} to ${changes[last].to} (${count(last - first + 1, "change")})`);
    return runs.length > said.length ? [...said, `and ${runs.length - said.length} more times`] : said;
  }
  const placeOf = (layer) => data.orders[view.order].indexOf(layer);
  function turn(by) {
    const order = data.orders[view.order];
    report.selectLayer(order[(placeOf(view.layer) + by + numLayers) % numLayers]);
  }

  // --- plots
  function whyNoCurve(layer) {
    const list = curve(layer);
    if (drawable(list).some((value) => value !== null)) return "";
    const zeros = [...list.keys()].filter((change) => list[change] === 0);
    if (!zeros.length) return "No change has a number, so there is no curve.";
    if (zeros.some((change) => stateAt(layer, change) !== "unchanged")) return "No change has a number above 0, so there is no curve.";
    return zeros.length === numChanges ? "It never changed, so there is no curve." : "It did not change wherever that can be told, so there is no curve.";
  }
  function drawCurve(layer) {
    const cluster = clusters.find(({ id }) => id === layers.cluster[layer]);
    const shown = report.chosenCurve(layer);
    const context = cluster ? report.bandAndMedian(cluster) : [];
    const div = part("curve");
    const why = whyNoCurve(layer);
    const range = why ? null : paddedRange([...curve(layer), ...(cluster ? [...cluster.low, ...cluster.high, ...cluster.median] : [])]);
    div.hidden = !range;
    part("curve-title").textContent = cluster && range ? "Curve, on its cluster’s band" : "Curve";
    part("curve-note").hidden = Boolean(range);
    part("curve-note").textContent = why;
    part("curve-key").hidden = !cluster || !range;
    if (!range) return;
    for (const key of part("curve-key").querySelectorAll("[data-of-cluster]")) key.className = `key ${colourClass(layer)}`;
    if (cluster) part("curve-key").querySelector("[data-part=median-key]").textContent = `median of cluster ${cluster.id}`;
    const strip = eventStrip(HEIGHT - 58, roomFor(div) - 90, { isScaled: scaled(), concerns: (event) => event.layer === null || event.layer === layer });
    const plot = layout(div, { height: HEIGHT, margin: { l: 70, r: 20, t: 14, b: 50 }, shapes: phaseLines(scaled()),
      xaxis: stepAxis(div, "training step after the change", report.endTitle(roomFor(div))), ...strip.axes,
      yaxis: axis(valueTitle(190), { domain: strip.domain, ...valueAxis(report.zoomOf(div) ?? range) }) });
    Plotly.react(div, report.answering([...context, ...shown, ...strip.traces], plot), plot, report.CONFIG);
    followZoom(div, { isScaled: scaled() });
    div.setAttribute("aria-label", `Curve of ${layers.name[layer]}: ${cluster ? `against the median of cluster ${cluster.id}` : "in no cluster"}.`);
  }
  function drawOthers(layer) {
    const box = part("others");
    if (box.childElementCount !== others.length) box.replaceChildren(...others.map(() => { const holder = document.createElement("div"); holder.append(element("h4", ""), element("div", "", "plot")); return holder; }));
    const [zero, unknown] = [[], []];
    others.forEach((its, index) => {
      const [title, div] = box.children[index].children;
      const list = Array.from(otherCurve(its, layer));
      const signed = its.linear || list.some((value) => value < 0);
      const range = paddedRange(list, signed);
      const known = extent(list);
      title.textContent = `${its.title} (${its.name})`;
      box.children[index].hidden = !range;
      if (!range) { (known ? zero : unknown).push(its.name); return; }
      div.id = `layer-${its.name}`;
      div.setAttribute("role", "img");
      div.setAttribute("aria-label", `${its.title}, from ${number(known[0])} to ${number(known[1])}.`);
      const plot = layout(div, { height: 170, margin: { l: 70, r: 20, t: 8, b: 46 }, xaxis: stepAxis(div, "training step after the change", report.endTitle(roomFor(div))),
        yaxis: axis(plain(its.unit || "ratio"), { ...valueAxis(report.zoomOf(div, !signed) ?? range, signed), nticks: 4 }) });
      Plotly.react(div, report.answering([{ type: "scatter", mode: report.curveMode(), x: places(), y: drawable(list, signed), line: { color: colour("accent"), width: 1.8 }, marker: { size: 5 },
        text: list.map((value, change) => `${spans[change]}<br>${Number.isNaN(value) ? "no number" : number(value)}`), hovertemplate: "%{text}<extra></extra>" }], plot), plot, report.CONFIG);
      followZoom(div, { isScaled: scaled() });
    });
    const told = !others.length ? [WHY_NONE[data.without]]
      : zero.length + unknown.length === others.length ? [zero.length ? "None of them has a number other than 0." : "None of them has a number."]
        : [zero.length ? `0 at every change: ${zero.join(", ")}.` : "", unknown.length ? `Without a number: ${unknown.join(", ")}.` : ""];
    part("others-note").textContent = [...told, notHad].filter(Boolean).join(" ");
  }
  function draw({ isNow = false } = {}) {
    if (!panel.open || view.layer === null) return;
    const still = (act) => () => view.layer !== null && panel.open && act(view.layer);
    for (const [name, act] of [["layer curve", drawCurve], ["others", drawOthers]]) {
      if (isNow) act(view.layer);
      else report.soon(name, still(act));
    }
  }

  // --- opening and closing
  // What was clicked moves above the page of the layer, if that would cover it.
  let clickedAt = null;
  document.addEventListener("pointerup", ({ clientY }) => { clickedAt = clientY; }, true);
  document.addEventListener("keydown", () => { clickedAt = null; }, true);
  function uncover() {
    const at = clickedAt ?? opener?.getBoundingClientRect().bottom ?? 0;
    const beyond = at + 30 - panel.getBoundingClientRect().top;
    if (beyond > 0 && at <= innerHeight && !panel.contains(opener)) scrollBy(0, beyond);
  }
  function follow(changed) {
    const wanted = view.open && view.layer !== null;
    if (changed.has("layer") && !changed.has("zooms")) report.update(report.withoutZoom("layer-curve", ...others.map(({ name }) => `layer-${name}`)));
    if (wanted) fill(view.layer);
    if (wanted && !panel.open) {
      opener = document.activeElement;
      panel.show();
      document.documentElement.dataset.page = "";
      report.soon("uncover", uncover);
      byId("layer-page-title").focus({ preventScroll: true });
    } else if (!wanted && panel.open) {
      const inside = panel.contains(document.activeElement);
      panel.close();
      delete document.documentElement.dataset.page;
      if (inside && opener?.isConnected) opener.focus({ preventScroll: true });
    }
    if (wanted && changed.has("layer")) for (const box of panel.querySelectorAll(".columns, .columns > div")) box.scrollTop = 0;
    if (wanted) draw();
  }
  report.onChange(["layer", "open", "order", "steps", "spacing"], follow);
  panel.addEventListener("click", (event) => {
    const action = event.target.closest("[data-part]")?.dataset.part;
    if (action === "previous") turn(-1);
    else if (action === "next") turn(1);
    else if (action === "close") report.update({ open: false });
    else if (action === "cluster") report.select({ cluster: layers.cluster[view.layer] });
  });
  report.drawLayer = draw;
})();
