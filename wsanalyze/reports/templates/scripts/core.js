"use strict";
// What all scripts of the page share: its data, words, numbers and colours. Every text that comes from a file passes
// `plain` before plotly.js sees it, which reads tags and entities; elsewhere it is only ever put in as text.
const report = {};
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("report-data").textContent);
  const { layers, changes, clusters, metric } = data;
  const [numLayers, numChanges] = [layers.name.length, changes.length];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star"];
  const MARKS = ["●", "■", "◆", "▲", "▼", "✚", "✖", "★"];
  const NUM_COLOURS = 7;
  const CONFIG = { displayModeBar: false, displaylogo: false, plotlyServerURL: "", showTips: false, typesetMath: false, doubleClick: false };

  // --- texts
  const plain = (text) => text.replace(/[&<>$]/g, (character) => `&#${character.codePointAt(0)};`); // $ begins a formula
  function shorten(text, width) {
    const characters = [...text];
    if (characters.length <= width) return text;
    const tail = Math.floor((width - 1) / 2);
    return `${characters.slice(0, width - 1 - tail).join("")}…${characters.slice(characters.length - tail).join("")}`;
  }
  function wrap(text, width = 48) {
    const characters = [...text];
    const lines = [];
    for (let start = 0; start < characters.length; start += width) lines.push(plain(characters.slice(start, start + width).join("")));
    return lines.join("<br>");
  }
  // As `shorten_names`: what all names share goes first, then words from the left; numbers and the last part stay.
  let shared = null;
  // An end that all names share, as "weight", goes from all of them where one of them is too long, else from none.
  let sharedEnd = null;
  function findSharedEnd() {
    const parted = layers.name.map((name) => name.split("."));
    let size = 0;
    while (parted.length > 1 && parted.every((parts) => parts.length > size + 1 && parts.at(-1 - size) === parted[0].at(-1 - size))) size += 1;
    return { text: size ? `.${parted[0].slice(-size).join(".")}` : "", longest: Math.max(...layers.name.map((name) => [...name].length)) };
  }
  function endWithout(width) {
    sharedEnd ??= findSharedEnd();
    return sharedEnd.longest > width ? sharedEnd.text : "";
  }
  function shortenName(whole, width, most = width) {
    const end = endWithout(most);
    const name = end ? whole.slice(0, -end.length) : whole;
    if ([...name].length <= width) return name;
    const parts = name.split(".");
    if (/[/ ]/.test(name) || parts.length > 200) return shorten(name, width);
    shared ??= layers.name.map((one) => new Set(one.split("."))).reduce((all, one) => new Set([...all].filter((part) => one.has(part))));
    const words = [...parts.keys()].slice(0, -1).filter((index) => shared.has(parts[index]) || !/\d/.test(parts[index]));
    const dropped = new Set();
    let shown = parts.join(".");
    for (const index of words.sort((a, b) => shared.has(parts[b]) - shared.has(parts[a]))) {
      if ([...shown].length <= width) break;
      dropped.add(index);
      shown = parts.reduce((text, part, at) => dropped.has(at) ? (dropped.has(at - 1) ? text : `${text}…`) : `${text}${at && !dropped.has(at - 1) ? "." : ""}${part}`, "");
    }
    return shorten(shown, width);
  }
  // As `split_names`: a name may be broken where its parts end.
  const BREAK = /(?<=[\p{L}_]\.)(?=[\p{L}\p{N}_])|(?<=[\p{L}\p{N}_]\.)(?=[\p{L}_])|(?<=[\p{L}\p{N}]_)(?=[\p{L}\p{N}])/u;
  const breakable = (text) => text.split(BREAK).flatMap((part, place) => (place ? [document.createElement("wbr"), part] : [part]));
  // What an address holds may be from anybody: what cannot be seen is made visible, and it is not long.
  const visible = (text) => shorten(text.replace(/[^\P{C}]|[\p{Zl}\p{Zp}]/gu, (character) => `\\u${character.codePointAt(0).toString(16).padStart(4, "0")}`), 80);
  function number(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(3))) : value.toExponential(2).replace("e+", "e");
  }
  // As `format_number` writes it, for columns: zeros at the end are kept.
  function aligned(value) {
    if (value === null) return "-";
    if (value === 0) return "0";
    const [mantissa, power] = value.toExponential(2).split("e").map(Number);
    const size = Math.abs(mantissa * 10 ** power);
    return size >= 1e-3 * (1 - 1e-9) && size < 1e5 ? value.toFixed(Math.max(0, 2 - power)) : `${mantissa.toFixed(2)}e${power}`;
  }
  const count = (amount, noun) => `${amount.toLocaleString("en")} ${noun}${amount === 1 ? "" : "s"}`;
  const rawUnit = metric.unit === "ratio" || metric.unit === "share" ? "" : ` ${metric.unit}`;
  const unit = plain(rawUnit);
  const withUnit = ({ title, unit: its }) => `${title}${its && !title.includes(its) ? ` (${its})` : ""}`;
  // The lines of a title beside an axis or a colour bar that is so long: what does not fit would be cut off.
  function titleLines(room, measure = metric) {
    const lines = [""];
    for (const word of withUnit(measure).split(" ")) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (longer.length * 6.5 <= room || !lines.at(-1)) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    return lines.map(plain);
  }
  const valueTitle = (room, measure) => titleLines(room, measure).join("<br>");

  // --- numbers
  // As `pack_numbers` packs them: NaN where there is no number.
  function unpack(packed) {
    const bytes = unpackBytes(packed.data);
    if (packed.as === "f32") return new Float32Array(bytes.buffer);
    if (packed.as === "f64") return new Float64Array(bytes.buffer);
    const [low, high] = [Math.log(packed.low), Math.log(packed.high)];
    const numLevels = packed.signed ? 32767 : 65534;
    const levels = new Float64Array(65536);
    for (let level = 0; level < numLevels; level += 1) {
      const share = level / (numLevels - 1);
      levels[2 + level] = Math.exp(low * (1 - share) + high * share);
      if (packed.signed) levels[2 + numLevels + level] = -levels[2 + level];
    }
    levels[0] = NaN;
    const found = new Uint16Array(bytes.buffer);
    const numbers = new Float64Array(found.length);
    for (let index = 0; index < found.length; index += 1) numbers[index] = levels[found[index]];
    return numbers;
  }
  function unpackBytes(text) {
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let index = 0; index < binary.length; index += 1) bytes[index] = binary.charCodeAt(index);
    return bytes;
  }
  // As many digits as packed numbers surely have, 6 at most: half of the last one is not less than their error.
  function digitsOf({ as, signed, low, high }) {
    if (as !== "u16") return 6;
    const error = Math.expm1(Math.log(high / low) / ((signed ? 32767 : 65534) - 1) / 2);
    return Math.max(1, Math.min(6, Math.floor(-Math.log10(2 * error) + 1e-9)));
  }
  const values = unpack(data.values);
  const digits = digitsOf(data.values);
  const codes = unpackBytes(data.marks.codes);
  const words = data.marks.words;
  const absolute = new Map(data.absolute.map(([layer, change, value]) => [layer * numChanges + change, value]));
  const curve = (layer) => values.subarray(layer * numChanges, (layer + 1) * numChanges);
  const stateAt = (layer, change) => words[codes[layer * numChanges + change]][0];
  const others = data.metrics.map((its) => ({ ...its, cells: null }));
  function otherCurve(its, layer) {
    its.cells ??= unpack(its.values);
    return its.cells.subarray(layer * numChanges, (layer + 1) * numChanges);
  }
  function extent(list) {
    let [low, high] = [Infinity, -Infinity];
    for (const value of list) if (value !== null && !Number.isNaN(value)) { low = Math.min(low, value); high = Math.max(high, value); }
    return low <= high ? [low, high] : null;
  }
  const isSigned = metric.linear || metric.signed;
  const drawable = (list, signed = isSigned) => Array.from(list, (value) => (value !== null && !Number.isNaN(value) && (signed || value > 0) ? value : null));

  // --- cells and layers in words
  const spans = changes.map((change) => `${wrap(change.from)} → ${wrap(change.to)}`);
  const idOf = (layer) => layers.cluster[layer];
  const clusterWord = (layer) => idOf(layer) < 0 ? (layers.outlier[layer] ? "outlier, in no cluster" : "in no cluster") : `cluster ${idOf(layer)}`;
  const layerText = (layer) => `<b>${wrap(layers.name[layer])}</b><br>${plain(layers.kind[layer])}, ${clusterWord(layer)}`;
  const markOf = (layer) => idOf(layer) < 0 ? (layers.outlier[layer] ? "✳" : "-") : MARKS[idOf(layer) % MARKS.length];
  function cellText(layer, change) {
    const cell = layer * numChanges + change;
    const [state, touch] = words[codes[cell]];
    let text = Number.isNaN(values[cell]) ? "no number" : `${number(values[cell])}${rawUnit}`;
    if (state) text = absolute.has(cell) ? `${state}, absolute change ${number(absolute.get(cell))}` : state;
    if (touch === "spike") text += " (a spike, tamed for clustering)";
    else if (touch === "gap" && values[cell] === 0) text += " (0 has no logarithm: clustered by another number)";
    else if (touch === "gap") text += " (a gap, filled for clustering)";
    else if (touch) text += ` (${touch})`;
    return text;
  }
  const cellWord = (layer, change) => plain(cellText(layer, change));
  const members = new Map(clusters.map(({ id }) => [id, []]));
  const alone = [];
  layers.cluster.forEach((id, layer) => (members.get(id) ?? alone).push(layer));
  // As many of a list as can be drawn, evenly taken.
  const some = (list, most) => list.length <= most ? list : Array.from({ length: most }, (_, place) => list[Math.floor((place * list.length) / most)]);

  // --- colours
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const clusterColour = (id) => colour(id < 0 ? "alone" : `c${id % NUM_COLOURS}`);
  const withAlpha = (hex, alpha) => `rgba(${[1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).join(",")},${alpha})`;

  Object.assign(report, { byId, unpack, NUM_COLOURS, data, layers, changes, clusters, metric, numLayers, numChanges, SYMBOLS, MARKS, CONFIG, plain, shorten, wrap, shortenName, breakable, endWithout,
    visible, number, aligned, count, digits, unit, withUnit, titleLines, valueTitle, values, codes, words, curve, stateAt, others, otherCurve, extent, isSigned,
    drawable, spans, idOf, clusterWord, layerText, markOf, cellText, cellWord, members, alone, some, colour, clusterColour, withAlpha });
})();
