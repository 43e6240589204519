"use strict";
// The rows that the table shows, for a spreadsheet: copied, or as a file.
(() => {
  const { byId, data, layers, facts, withUnit, metric, digits } = report;
  // As csv_file.py: what a spreadsheet would run as a formula gets an apostrophe in front.
  const FORMULA = /^\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/u;
  const harmless = (text) => (FORMULA.test(text) ? `'${text}` : text);
  const precise = (value, most = digits) => (value === null ? "" : String(Number(value.toPrecision(most))));
  // A page of many numbers holds them to some digits, and says so wherever they leave it.
  const [inHead, inWords] = digits < 6 ? [` (${digits} digits)`, `, numbers to ${digits} digits (--csv: all)`] : ["", ""];
  function collect() {
    const title = withUnit(metric);
    const head = [data.noun, "kind", "depth", "shape", "cluster", "confidence", `median ${title}${inHead}`, `last ${title}${inHead}`, "states"].map(harmless);
    return [head, ...report.shownLayers().map((layer) => {
      const its = facts(layer);
      return [harmless(its.name), harmless(its.kind), String(its.depth), harmless(layers.shape[layer]), its.cluster, precise(its.confidence, 6), precise(its.median), precise(its.last), harmless(its.stateText)];
    })];
  }
  const toTsv = (table) => table.map((line) => line.map((text) => text.replace(/[\t\r\n]/g, " ")).join("\t")).join("\n");
  const toCsv = (table) => table.map((line) => line.map((text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)).join(",")).join("\n") + "\n";

  async function copy(text, what) {
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      done = copyBySelection(text);
    }
    report.say(done ? `Copied: ${what}.` : "The browser does not let this page copy.");
  }
  // Where a page may not write to the clipboard by itself, it may copy what is selected.
  function copyBySelection(text) {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "unseen";
    field.setAttribute("aria-label", "text to copy");
    document.body.append(field);
    const before = document.activeElement;
    field.select();
    let done = false;
    try { done = document.execCommand("copy"); } catch { done = false; }
    field.remove();
    before?.focus?.({ preventScroll: true });
    return done;
  }
  function download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([toCsv(collect())], { type: "text/csv;charset=utf-8" }));
    link.download = `wsanalyze-${data.noun}s.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    report.say(`Downloaded: ${report.describeShown()}${inWords}.`);
  }
  byId("copy-rows")?.addEventListener("click", () => copy(toTsv(collect()), `${report.describeShown()}${inWords}`));
  byId("download-rows")?.addEventListener("click", download);
  for (const id of inWords ? ["copy-rows", "download-rows"] : []) if (byId(id)) byId(id).title = `Numbers to ${digits} digits, which is what this page holds; the CSV report (--csv) has all.`;
  report.copy = copy;
})();
