// views/top.js - the table of functions: what ends in each (flat) and what passes through it (cum).
import { button, make } from "../dom.js";
import { format, percent } from "../format.js";
import { typeIndex } from "../model.js";
import { top } from "../tables.js";
import { heading, nameCell, shareCell, valueCell } from "./cells.js";
import { SOON } from "../state.js";

const ROWS = 200; // before "show all"
let all = null; // the selection of which every row is shown
let chosenRow = -1; // of those that the search has found
let rows = [];
let rates = { of: null, rows: null };

/** In memory profiles: what each function allocated, and what of it was freed again; by id of its key. */
function freedOf(page) {
  const { profile } = page.shown, bytes = !page.type.endsWith("_objects");
  const types = bytes ? ["alloc_space", "inuse_space"] : ["alloc_objects", "inuse_objects"];

  if (types.some((type) => typeIndex(profile, type) < 0))
    return null;
  if (rates.of === page.selection)
    return rates.rows;
  const out = new Map();
  types.forEach((type, i) => {
    const s = page.selectAs({ type });
    for (const row of top(s)) {
      const one = out.get(s.ids[row.key]) || { allocated: 0, freed: 0 };
      one.allocated += i === 0 ? row.flat : 0;
      one.freed += i === 0 ? row.flat : -row.flat;
      out.set(s.ids[row.key], one);
    }
  });
  rates = { of: page.selection, rows: out };
  return out;
}

/** A column by the name that the state has for it, and which way round. */
function order(state) {
  const up = state.sort[0] === "-";
  return { by: (up ? state.sort.slice(1) : state.sort) || "flat", up };
}

function sorted(page, freed) {
  const { keys, ids } = page.selection, { by, up } = order(page.state);
  const value = (row) => (by === "freed" ? (freed?.get(ids[row.key]) || { freed: 0 }).freed
    : Math.abs(row[by]));
  const way = up ? 1 : -1, name = (row) => keys[row.key];

  return [...page.top()].sort(by === "name"
    ? (a, b) => -way * (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0)
    : (a, b) => way * (value(a) - value(b)) || Math.abs(b.cum) - Math.abs(a.cum) ||
      (name(a) < name(b) ? -1 : 1));
}

function head(page, by, text, title) {
  const now = order(page.state), is = now.by === by;
  const up = by === "name" ? !now.up : now.up; // names begin with a
  return heading(button(text + (is ? up ? " ↑" : " ↓" : ""), () =>
    page.go({ sort: is && !now.up ? "-" + by : by === "flat" ? "" : by }), { title }),
  { "aria-sort": is ? up ? "ascending" : "descending" : "none" });
}

export const topView = {
  id: "top",
  title: "Top",
  applies: () => true,

  show(panel, page) {
    const { selection, state, whole } = page, found = page.matches(), freed = freedOf(page);
    const chosen = page.chosen();
    rows = sorted(page, freed).filter((row) => !found || found[row.key]);
    const shown = all === selection ? rows : rows.slice(0, ROWS);
    const share = (value) => (whole.weight ? Math.abs(value) / whole.weight : 0);
    const freedCell = (row) => {
      const one = freed.get(selection.ids[row.key]);
      return make("td", { class: "number wide", "data-value": one ? one.freed : 0 },
        one && one.allocated > 0 ? `${format(one.freed, page.unit)} ` +
          `(${percent(one.freed, one.allocated)})` : "");
    };
    panel.replaceChildren(make("table", { id: "top-table" },
      make("thead", {}, make("tr", {},
        head(page, "flat", "flat", "What ends in the function itself"),
        heading("flat %", { class: "number wide" }),
        head(page, "cum", "cum", "What ends in it or in what it calls"),
        heading("cum %", { class: "number wide" }),
        freed ? make("th", { scope: "col", class: "number wide",
          "aria-sort": head(page, "freed", "freed").getAttribute("aria-sort") },
        ...head(page, "freed", "freed",
          "Allocated by it and freed again since: short-lived where it is nearly all").childNodes)
          : null,
        head(page, "name", state.group, "Name"))),
      make("tbody", {}, ...shown.map((row, i) =>
        make("tr", { class: [found ? "found" : "", row.key === chosen ? "chosen" : "",
          found && i === chosenRow ? "at" : ""].join(" ").trim() || null },
        valueCell(page, row.flat, { bar: share(row.flat) }), shareCell(page, row.flat),
        valueCell(page, row.cum), shareCell(page, row.cum),
        freed ? freedCell(row) : null,
        nameCell(page, row.key, () => page.go({ key: selection.ids[row.key] })))))));
    if (shown.length < rows.length)
      panel.append(make("p", { class: "text" }, button(`Show all ${rows.length}`, () => {
        all = selection;
        topView.show(panel, page);
      })));
  },

  find(page) {
    return { count: page.matches() ? rows.length : 0, go(i) {
      chosenRow = i;
      if (i >= ROWS)
        all = page.selection;
      page.go({ key: page.selection.ids[rows[i].key] }, SOON);
      document.querySelector("#top-table tr.at")?.scrollIntoView({ block: "nearest" });
    } };
  },

  keys: {},
};
