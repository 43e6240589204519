"use strict";
// The report on paper. The screen's layout still holds when a page is told that it will be printed: its plots are drawn
// as wide as A4 and Letter let them be, in the layout that they will be printed in.
(() => {
  const root = document.documentElement;
  const [FEW_MEMBERS, FEW_CHARACTERS] = [12, 900]; // of a list that has room beside its plot
  const printRules = Array.from(document.styleSheets).flatMap(({ cssRules }) => Array.from(cssRules)).filter(({ media }) => media?.mediaText === "print");
  const lists = Array.from(document.querySelectorAll(".card details")).filter((list) => list.querySelectorAll("li").length <= FEW_MEMBERS && list.textContent.length <= FEW_CHARACTERS);
  let opened = [];
  window.addEventListener("beforeprint", () => {
    report.drawSparks?.(Infinity);
    opened.push(...lists.filter((list) => !list.open));
    for (const list of opened) list.open = true;
    Object.assign(root.dataset, { print: "", paper: "" });
    for (const { media } of printRules) media.mediaText = "all";
    report.drawAll();
    for (const { media } of printRules) media.mediaText = "print";
    delete root.dataset.paper;
  });
  window.addEventListener("afterprint", () => {
    delete root.dataset.print;
    for (const list of opened) list.open = false;
    opened = [];
    report.drawAll();
  });
})();
