"use strict";
// What is selected, in words and with a way out of it; names and chips that can be clicked, or reached by keyboard.
(() => {
  const { byId, view, update, describe, describeSteps, clearSelection } = report;
  let saying = 0;
  // Said aloud by screen readers, and shown for a moment.
  function say(text) {
    byId("said").textContent = text;
    clearTimeout(saying);
    saying = setTimeout(() => { byId("said").textContent = ""; }, 4000);
  }
  function follow(changed) {
    const [what] = view.layer !== null || view.cluster !== null ? describe() : [""];
    byId("selected-text").textContent = what;
    byId("selected").hidden = !what;
    byId("selected-open").hidden = view.layer === null || view.open;
    byId("steps-chip").hidden = !view.steps;
    byId("steps-text").textContent = view.steps ? describeSteps() : "";
    byId("nothing-selected").hidden = Boolean(what || view.steps);
    if (["layer", "cluster", "steps"].some((name) => changed.has(name))) byId("announced").textContent = what || view.steps ? `Selected: ${describe().join("; ")}` : "Nothing is selected.";
  }
  report.onChange(["layer", "cluster", "steps", "open"], follow);
  byId("clear-selection").addEventListener("click", clearSelection);
  byId("clear-steps").addEventListener("click", () => update({ steps: null }));
  byId("selected-open").addEventListener("click", () => update({ open: true }));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || (event.target.matches?.("input[type=search]") && event.target.value)) return;
    if (view.open && view.layer !== null) update({ open: false });
    else if (view.layer !== null || view.cluster !== null) clearSelection();
    else update({ steps: null });
  });

  // Turns an element that names a layer or a cluster into a button that selects it.
  function makeButton(element, { layer = null, cluster = null }) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "pick";
    if (layer !== null) button.dataset.layer = layer;
    else button.dataset.pick = cluster;
    element.replaceWith(button);
    button.append(element);
  }
  function makeButtons() {
    for (const code of document.querySelectorAll("main code[data-layer]")) makeButton(code, { layer: Number(code.dataset.layer) });
    for (const chip of document.querySelectorAll("h3 .chip[data-cluster]")) makeButton(chip, { cluster: Number(chip.dataset.cluster) });
    document.addEventListener("click", ({ target }) => {
      const button = target.closest("button.pick, button[data-filter]");
      if (!button) return;
      if (button.dataset.layer !== undefined) report.selectLayer(Number(button.dataset.layer));
      else if (button.dataset.filter !== undefined) {
        update({ trend: button.dataset.filter, search: "", kind: "", state: "" });
        byId("layers").scrollIntoView();
      } else report.selectCluster(Number(button.dataset.pick));
    });
  }
  Object.assign(report, { say, followBar: follow, makeButton, makeButtons });
})();
