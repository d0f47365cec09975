// views/sizes.js - how large the blocks are: a histogram of the chosen function, or of all.
import { make, shorten } from "../dom.js";
import { count, format, plural } from "../format.js";
import { typeIndex } from "../model.js";
import { bySize } from "../tables.js";
import { heading, note, valueCell } from "./cells.js";
import { keysOf } from "./labels.js";

/** Objects and bytes that belong to the type that shows. */
function pairOf(page) {
  const kind = page.type.startsWith("alloc") ? "alloc" : "inuse";
  const pair = [`${kind}_objects`, `${kind}_space`];
  return pair.every((type) => typeIndex(page.shown.profile, type) >= 0) ? pair : [page.type];
}

/** A power of two needs no decimals. */
function power(size) {
  return format(size, "bytes").replace(/\.0+ /, " ");
}

function rangeText(row) {
  return `${power(row.from)} – ${power(2 * row.from)}`;
}

export const sizesView = {
  id: "sizes",
  title: "Block sizes",
  of: () => "Sizes",
  applies: (page) => keysOf(page).some((k) => k.key === "bytes" && k.isNumber),

  show(panel, page) {
    const key = page.chosen(), types = pairOf(page), { profile } = page.shown;
    const rows = bySize(page.selection, profile, page.base && page.base.profile, key, types);
    const units = types.map((type) => profile.types[typeIndex(profile, type)].unit);
    const most = types.map((_, k) => Math.max(...rows.map((row) => Math.abs(row.values[k])), 1));
    const hidden = (k) => (k < types.length - 1 ? "wide" : ""); // on a phone: objects
    const bar = (row, k) => make("td", { class: `bar-cell ${hidden(k)}` }, row.values[k] ? make("div", {
      class: `histogram${row.values[k] < 0 ? " shrunk" : ""}` }) : "");

    const body = rows.map((row) => {
      const cells = types.flatMap((_, k) => {
        const drawn = bar(row, k);
        if (drawn.firstElementChild)
          drawn.firstElementChild.style.width = `${100 * Math.abs(row.values[k]) / most[k]}%`;
        const value = valueCell(page, row.values[k], { unit: units[k] });
        value.classList.add(...hidden(k) ? [hidden(k)] : []);
        return [value, drawn];
      });
      return make("tr", { title: row.sizes.size ? plural(row.sizes.size, "size") + ": " +
        [...row.sizes].sort((a, b) => a - b).slice(0, 20).map((n) => count(n))
          .join(", ") + " bytes" : null },
      make("td", { class: "number" }, rangeText(row)), ...cells);
    });
    panel.replaceChildren(make("h2", { class: "text", id: "sizes-of" }, key < 0 ? "All blocks"
      : `Blocks of ${shorten(page.selection.keys[key])} and what it calls`),
    rows.length ? make("table", { id: "sizes-table", class: "narrow" },
      make("thead", {}, make("tr", {}, heading("size of a block", { class: "number" }),
        ...types.flatMap((type, k) => [heading(type, { class: `number ${hidden(k)}` }),
          heading("", { class: hidden(k) })]))),
      make("tbody", {}, ...body)) : note("No blocks pass the filters."),
    rows.length ? note("Sizes as the program asked for them, eight to a doubling, each shown as the " +
      "typical one.") : "");
  },

  keys: {},
};
