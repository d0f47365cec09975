// views/source.js - a source file with values beside its lines. The program reads the file, and only if
// it was told to; without that the lines that have values are listed all the same.
import { $, fill, make, shorten } from "../dom.js";
import { cleanPath } from "../pprof.js";
import { byLine, top } from "../tables.js";
import * as server from "../server.js";
import { heading, note, valueCell } from "./cells.js";

const texts = new Map(); // of files, by address and depth
let turn = 0; // the last one asked for is shown
let scrolled = ""; // file and function that were scrolled to

/** The files of the selection with what passes through them, the program's own first. */
function filesOf(page) {
  if (page.selection.files)
    return page.selection.files;
  const rows = new Map(), s = page.selectAs({ group: "function" });
  for (const row of top(s)) {
    const frame = s.frame[row.key];
    if (!frame.file)
      continue;
    const one = rows.get(frame.file) || { file: frame.file, frame, value: 0,
      foreign: s.foreign[row.key] };
    if (Math.abs(row.flat) >= one.value) {
      one.value = Math.abs(row.flat);
      one.frame = frame;
    }
    rows.set(frame.file, one);
  }
  page.selection.files = [...rows.values()].sort((a, b) => a.foreign - b.foreign ||
    b.value - a.value || (a.file < b.file ? -1 : 1));
  return page.selection.files;
}

/** The frame whose file shows: of the chosen function if it has one, else of the program's own. */
function frameOf(page) {
  const key = page.main(), frame = key >= 0 ? page.selection.frame[key] : null;
  return frame && frame.file ? frame : filesOf(page)[0]?.frame || null;
}

/** The line that holds most of what is charged to this file. */
function hottestLine(page, frame) {
  const lines = byLine(page.selectAs({ group: "line", mine: true }), frame.file);
  const by = (field) => [...lines].filter(([, row]) => row[field]).sort(
    (a, b) => Math.abs(b[1][field]) - Math.abs(a[1][field]))[0];
  return (by("flat") || by("cum") || [frame.line])[0];
}

async function textOf(frame) {
  const id = `${frame.address} ${frame.depth}`;
  if (!texts.has(id))
    texts.set(id, server.source(frame));
  try {
    return await texts.get(id);
  } catch (error) {
    texts.delete(id); // it may be allowed later
    throw error;
  }
}

function lineRow(page, number, text, row, hottest) {
  const empty = () => make("td", { class: "number" });
  const share = (v) => (page.whole.weight ? Math.abs(v) / page.whole.weight : 0);
  return make("tr", { id: `line-${number}`,
    class: [row ? "hot" : "", number === hottest ? "hottest" : ""].join(" ").trim() || null },
  row && row.flat ? valueCell(page, row.flat, { bar: share(row.flat) }) : empty(),
  row ? valueCell(page, row.cum) : empty(),
  make("td", { class: "number line" }, String(number)), make("td", { class: "code" }, text));
}

function table(page, lines, texts_, hottest) {
  const numbers = texts_ ? texts_.map((_, i) => i + 1) : [...lines.keys()].sort((a, b) => a - b);
  return make("table", { id: "source-table" }, make("thead", {}, make("tr", {},
    ...["flat", "cum", "line"].map((text) => heading(text, { class: "number" })), heading(""))),
  make("tbody", {}, ...numbers.map((n) =>
    lineRow(page, n, texts_ ? texts_[n - 1] : "", lines.get(n), hottest))));
}

export const sourceView = {
  id: "source",
  title: "Source",
  of: (frame) => (frame.file ? "Source" : ""),
  applies: (page) => !page.shown.file || filesOf(page).length > 0,

  async show(panel, page) {
    const frame = frameOf(page), mine = ++turn;
    if (!frame) {
      panel.replaceChildren(note("No source file is known for any of these functions."));
      return;
    }
    const lines = byLine(page.selectAs({ group: "line" }), frame.file);
    const hottest = hottestLine(page, frame);
    let text = null, why = "";
    if (!page.isHere()) {
      why = page.shown.file ? "Its text is read by the process that the profile is of, " +
        "and this one was opened from a file."
        : "Its text is read by the process that the profile is of, and that has ended.";
    } else {
      try {
        text = await textOf(frame);
      } catch (error) {
        why = error.message;
      }
    }
    if (mine !== turn)
      return;
    const files = filesOf(page);
    const select = make("select", { id: "source-file", "aria-label": "File",
      onchange: (event) => {
        const one = files[event.target.selectedIndex].frame;
        page.go({ key: `${one.name}\n${one.file}`, group: "function" });
      } });
    fill(select, files.map((f) => [shorten(f.file), f.file]), frame.file);
    panel.replaceChildren(make("div", { id: "source-head" }, select,
      text && cleanPath(text.file) !== frame.file
        ? make("span", { class: "where" }, shorten(text.file)) : null,
      why ? make("p", { class: "why" }, shorten(why)) : null),
    table(page, lines, text && text.lines, hottest));
    panel.style.setProperty("--head", `${$("source-head").offsetHeight}px`);
    const place = `${page.shown.at} ${frame.file} ${frame.name}`;
    if (scrolled !== place) {
      scrolled = place;
      document.getElementById(`line-${hottest}`)?.scrollIntoView({ block: "center" });
    }
  },

  find(page) {
    const test = page.matchText();
    const rows = test ? [...document.querySelectorAll("#source-table tbody tr")].filter(
      (row) => test(row.lastElementChild.textContent)) : [];
    return { count: rows.length, go(i) {
      document.querySelector("#source-table tr.at")?.classList.remove("at");
      rows[i].classList.add("at");
      rows[i].scrollIntoView({ block: "center" });
    } };
  },

  keys: {},
};
