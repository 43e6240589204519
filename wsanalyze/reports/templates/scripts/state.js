"use strict";
// One state of the page that every part follows: what is selected, which steps are shown, how things are ordered.
(() => {
  const { data, layers, changes, clusters, numChanges, members, alone, clusterWord, count } = report;
  const steps = changes.map((change) => change.step);
  // A step of more digits than a number of this language holds comes as text as well.
  const stepNames = changes.map((change) => change.exact ?? String(change.step));
  const haveSteps = steps.length > 0 && steps.every((step) => step !== null);
  const canScale = haveSteps && steps.every((step, index) => !index || step > steps[index - 1]);
  function prefersScale() {
    const gaps = steps.slice(1).map((step, index) => step - steps[index]);
    return canScale && (!gaps.length || Math.max(...gaps) <= 20 * Math.min(...gaps));
  }

  // `cluster` is -1 for the layers that are in none; `steps` holds the first and the last change shown, `rows` the first
  // and the last place of the heatmap's order, `zooms` the ranges of values that were chosen, by plot, in the numbers of
  // their axes, `area` what is shown of the map (left, right, bottom, top), `page` that of the table, or null for the one
  // of what is selected.
  const DEFAULTS = Object.freeze({ layer: null, cluster: null, steps: null, rows: null, order: "depth", spacing: prefersScale() ? "steps" : "even", members: false,
    map: data.map, zooms: Object.freeze({}), area: null, search: "", kind: "", trend: "", state: "", sort: "", page: null, open: false, at: "" });
  const view = { ...DEFAULTS };
  const listeners = [];
  const same = (a, b) => a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((value, index) => value === b[index]));
  // Calls `follow` with the set of what has changed, whenever any of the names has.
  const onChange = (names, follow) => listeners.push({ names, follow });
  function update(parts) {
    const changed = new Set(Object.keys(parts).filter((name) => !same(view[name], parts[name])));
    if (!changed.size) return false;
    Object.assign(view, parts);
    for (const { names, follow } of listeners) if (names.some((name) => changed.has(name))) follow(changed);
    return true;
  }
  // Where each kind has a map of its own, the one that shows what is selected; for nothing, the largest.
  function mapOf({ layer = null, cluster = null }) {
    const kind = layer !== null ? layers.kind[layer] : clusters.find(({ id }) => id === cluster)?.kind;
    return Math.max(0, data.kinds.indexOf(kind));
  }
  const hasMap = (selection) => data.kinds.length > 0 && (selection.layer != null || (selection.cluster ?? -1) >= 0);
  function select(selection) {
    const map = hasMap(selection) ? mapOf(selection) : view.map;
    update({ layer: null, cluster: null, open: false, ...selection, map, ...(map === view.map ? {} : { area: null }) });
  }
  const selectLayer = (layer) => select({ layer, open: true });
  // What is to be done after a while, unless it is called for again or cancelled before; only the last of a name.
  const timers = new Map();
  function later(name, milliseconds, act) {
    cancel(name);
    timers.set(name, setTimeout(() => { timers.delete(name); act(); }, milliseconds));
  }
  function cancel(name) {
    clearTimeout(timers.get(name));
    timers.delete(name);
  }
  // A click on a plot may be the first half of a double click, which zooms out.
  let deafUntil = 0;
  function click(act) {
    cancel("click");
    if (performance.now() > deafUntil) later("click", 220, act);
  }
  function forgetClick() {
    cancel("click");
    deafUntil = performance.now() + 300;
  }
  // What need not be there at once waits until the page has shown what is, and a click has been answered: one thing
  // after each frame, and only the last of a name.
  const waiting = new Map();
  let isAwaited = false;
  function soon(name, act) {
    waiting.set(name, act);
    awaitFrame();
  }
  function awaitFrame() {
    if (isAwaited || !waiting.size) return;
    isAwaited = true;
    // A page that nobody sees has no frames.
    if (document.hidden) setTimeout(doNext);
    else requestAnimationFrame(() => setTimeout(doNext));
  }
  function doNext() {
    const [name, act] = waiting.entries().next().value;
    waiting.delete(name);
    isAwaited = false;
    awaitFrame();
    act();
  }
  // Whether nothing is left of what follows from what was done to the page.
  const isSettled = () => !waiting.size && !timers.size;
  const selectCluster = (cluster) => select(cluster === view.cluster ? {} : { cluster });
  const clearSelection = () => update({ layer: null, cluster: null, open: false });
  // First and last of `length` places that lie in the range of an axis, or null for all of them.
  function placesIn(range, length) {
    const [low, high] = [Math.min(...range), Math.max(...range)];
    const first = Math.min(length - 1, Math.max(0, Math.ceil(low - 1e-6)));
    const last = Math.min(length - 1, Math.max(0, Math.floor(high + 1e-6)));
    const nearest = Math.min(length - 1, Math.max(0, Math.round((low + high) / 2)));
    const found = first <= last ? [first, last] : [nearest, nearest];
    return found[0] === 0 && found[1] === length - 1 ? null : found;
  }
  // The same for an axis of steps.
  function changesIn([low, high]) {
    const inside = steps.flatMap((step, change) => (step >= low && step <= high ? [change] : []));
    if (inside.length) return inside.length === numChanges ? null : [inside[0], inside.at(-1)];
    const distance = steps.map((step) => Math.abs(step - (low + high) / 2));
    const nearest = distance.indexOf(Math.min(...distance));
    return [nearest, nearest];
  }
  const selectedMembers = () => view.layer !== null ? [view.layer] : view.cluster === null ? [] : view.cluster < 0 ? alone : members.get(view.cluster);
  const clusterName = (id) => (id < 0 ? `${data.noun}s in no cluster` : `cluster ${id}`);
  function describe() {
    const parts = [];
    if (view.layer !== null) parts.push(`${layers.name[view.layer]}, ${clusterWord(view.layer)}`);
    if (view.cluster !== null) parts.push(`${clusterName(view.cluster)}, ${count(selectedMembers().length, data.noun)}`);
    if (view.steps) parts.push(`${describeSteps()}`);
    return parts;
  }
  function describeSteps() {
    const [first, last] = view.steps;
    if (first === last) return haveSteps ? `the change that ends at step ${stepNames[first]}` : `change ${first + 1}`;
    return haveSteps ? `changes that end at steps ${stepNames[first]} to ${stepNames[last]}` : `changes ${first + 1} to ${last + 1}`;
  }

  Object.assign(report, { soon, later, cancel, isSettled, click, forgetClick, steps, stepNames, mapOf, hasMap, select, haveSteps, canScale, DEFAULTS, view, onChange, update, selectLayer, selectCluster, clearSelection, placesIn, changesIn,
    selectedMembers, clusterName, describe, describeSteps });
})();
