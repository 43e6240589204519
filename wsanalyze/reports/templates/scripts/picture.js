"use strict";
// A plot as a picture: away from its page it needs its heading, what its lines are, and of which run it is.
(() => {
  const { byId, plain, widthOf } = report;
  const [SIZE, SMALL, AIR, MOST_LINES] = [14, 12, 14, 4];
  const LINE = 1.3 * SIZE; // as plotly.js sets lines
  // The last part of each source: where it lies is not for everybody.
  const run = document.querySelector("h1").textContent.split(/,\s*/).map((source) => source.trim().replace(/\/+$/, "").split("/").at(-1)).join(", ");
  // Lines that are not wider than the room; of a very long text, the first of them.
  function fold(text, room, font) {
    const lines = [""];
    for (let word of text.split(/\s+/).filter(Boolean)) {
      if (lines.at(-1) && widthOf([`${lines.at(-1)} ${word}`], font) > room) lines.push("");
      while (widthOf([word], font) > room) {
        const most = Math.max(1, Math.floor(([...word].length * room) / widthOf([word], font)));
        lines.splice(-1, 1, [...word].slice(0, most).join(""), "");
        word = [...word].slice(most).join("");
      }
      lines[lines.length - 1] = `${lines.at(-1)} ${word}`.trim();
    }
    return lines.length <= MOST_LINES ? lines : [...lines.slice(0, MOST_LINES - 1), `${lines[MOST_LINES - 1]} …`];
  }
  function pictureOf(div, heading, note) {
    const { layout } = div;
    const room = layout.width - 40;
    const { family } = layout.font;
    const lines = [...fold(heading, room, `bold ${SIZE}px ${family}`).map((line) => `<b>${plain(line)}</b>`),
      ...[note, `${run}, by wsanalyze`].flatMap((text) => (text ? fold(text, room, `${SMALL}px ${family}`) : [])).map((line) => `<span style="font-size: ${SMALL}px">${plain(line)}</span>`)];
    const more = Math.ceil(lines.length * LINE) + AIR;
    const height = layout.height + more;
    const title = { text: lines.join("<br>"), xref: "container", yref: "container", x: 16 / layout.width, y: 1 - (AIR + 0.7 * SIZE) / height, xanchor: "left", yanchor: "top", font: { size: SIZE } };
    const xaxis = div.dataset.alone ? { ...layout.xaxis, title: { ...layout.xaxis.title, text: div.dataset.alone } } : layout.xaxis;
    return { data: div.data, layout: { ...layout, xaxis, title, height, margin: { ...layout.margin, t: layout.margin.t + more } }, config: report.CONFIG };
  }
  // In characters that any system takes.
  function fileName(id) {
    const safe = [...run.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[.-]+|[.-]+$/g, "")].slice(0, 60).join("");
    return ["wsanalyze", safe, id.replace(/-plot$/, "")].filter(Boolean).join("-");
  }
  for (const button of document.querySelectorAll("[data-save]")) {
    const div = byId(button.dataset.save);
    if (!div) continue;
    button.hidden = false;
    button.addEventListener("click", () => {
      const heading = button.closest(".title").querySelector("h2, h3").textContent.replace(/\s+/g, " ").trim();
      const picture = pictureOf(div, heading, button.dataset.note);
      Plotly.downloadImage(picture, { format: "png", scale: 2, filename: fileName(div.id), width: picture.layout.width, height: picture.layout.height });
    });
  }
})();
