// views/labels.js - sums by the value of a label: which tenant, which kind of request.
import { button, fill, make, shorten } from "../dom.js";
import { count } from "../format.js";
import { byLabel, labelKeys } from "../tables.js";
import { heading, note, shareCell, valueCell } from "./cells.js";

export function keysOf(page) {
  const profiles = [page.shown, page.base].filter(Boolean).map((c) => c.profile);
  if (!profiles[0].labelKeys || profiles[1])
    profiles[0].labelKeys = labelKeys(profiles);
  return profiles[0].labelKeys;
}

function chosenKey(page) {
  const keys = keysOf(page);
  return (keys.find((k) => k.key === page.state.labelKey) || keys.find((k) => !k.isNumber) ||
    keys[0]).key;
}

export const labelsView = {
  id: "labels",
  title: "Labels",
  applies: (page) => keysOf(page).length > 0,

  show(panel, page) {
    const key = chosenKey(page), { state, selection } = page, found = page.matchText();
    const rows = byLabel(selection, page.shown.profile, page.base && page.base.profile, key)
      .filter((row) => !found || found(row.value === null ? "" : row.value));
    const is = (row) => state.label && state.label.key === key && state.label.value === row.value;

    panel.replaceChildren(rows.length ? make("table", { id: "labels-table" },
      make("thead", {}, make("tr", {}, heading(page.type, { class: "number" }),
        heading("share", { class: "number wide" }), heading("stacks", { class: "number wide" }),
        heading(""), heading(shorten(key)))),
      make("tbody", {}, ...rows.map((row) => make("tr", { class: is(row) ? "chosen" : null },
        valueCell(page, row.sum, { bar: page.whole.weight
          ? Math.abs(row.sum) / page.whole.weight : 0 }),
        shareCell(page, row.sum),
        make("td", { class: "number wide" }, count(row.stacks)),
        make("td", { class: "act" }, is(row)
          ? button("All", () => page.go({ label: null }))
          : button("Only this", () => page.go({ label: { key, value: row.value } }))),
        make("td", { class: "name plain" },
          row.value === null ? make("em", {}, "without it") : shorten(row.value))))))
      : note("Nothing passes the filters."));
  },

  tools(page) {
    const keys = keysOf(page), { state } = page, key = chosenKey(page);
    const select = make("select", { id: "label-key", onchange: (event) => page.go({
      labelKey: keys[event.target.selectedIndex].key }) });
    fill(select, keys.map((k) => [shorten(k.key, 60), k.key]), key);
    return [make("label", {}, "Label ", select),
      make("button", { type: "button", class: "toggle", id: "label-root",
        "aria-pressed": String(page.root() === key),
        title: "Put its values at the root of every stack, so that graphs are grouped by them",
        onclick: () => page.go({ root: page.root() === key ? "-" : key, zoom: [] }) },
      "Group graphs by it")];
  },

  keys: {},
};
