// views/callers.js - one function between its callers, above, and what it calls, below: as a graph, and
// as two tables.
import { make, shorten } from "../dom.js";
import { peek } from "../tables.js";
import { calleesOf, callersOf } from "../tree.js";
import { nameCell, note, shareCell, valueCell } from "./cells.js";
import { graph, idOf } from "./graph.js";
import { SOON } from "../state.js";

let page = null, parts = null, shown = {};

function build(panel) {
  const pane = (id, text) => make("div", { class: "pane", id },
    make("h2", { class: "pane-title" }, text));
  const above = pane("callers-graph", "Called by"), below = pane("callees-graph", "Calls");
  const tables = make("div", { id: "peek-tables" });
  const choose = (flame) => ({
    choose: (node) => page.go({ key: idOf(flame(), node) || page.state.key }, SOON),
    zoom: (node) => node > 1 && page.go({ key: idOf(flame(), node) }),
  });

  panel.replaceChildren(make("div", { id: "sandwich" }, above, below), tables);
  parts = {
    tables,
    above: graph(above, { label: "Callers, the function at the bottom", up: true, bare: true,
      on: choose(() => parts.above) }),
    below: graph(below, { label: "What it calls, the function at the top", bare: true,
      on: choose(() => parts.below) }),
  };
}

function table(id, rows) {
  return make("table", { id }, make("tbody", {}, ...rows.map((row) =>
    make("tr", {}, valueCell(page, row.value), shareCell(page, row.value),
      nameCell(page, row.key, () => page.go({ key: page.selection.ids[row.key] }))))));
}

export const callersView = {
  id: "callers",
  title: "Callers",
  applies: () => true,
  of: () => "Callers",

  show(panel, now) {
    page = now;
    if (!parts)
      build(panel);
    const key = page.main(), { selection } = page;
    if (shown.selection !== selection || shown.key !== key) {
      shown = { selection, key };
      for (const [name, part] of [["above", callersOf(key)], ["below", calleesOf(key)]]) {
        const tree = page.tree(`${name} ${key}`, part);
        parts[name].show(selection, tree, { unit: page.unit, whole: page.whole.weight });
        parts[name].zoom(tree.children(0)[0] || 0);
      }
      const p = peek(selection, key);
      parts.tables.replaceChildren(
        make("h2", { id: "peek-name" }, shorten(selection.keys[key])),
        make("table", { id: "peek-self" }, make("tbody", {},
          make("tr", {}, valueCell(page, p.flat), shareCell(page, p.flat), make("td", {}, "itself")),
          make("tr", {}, valueCell(page, p.cum), shareCell(page, p.cum),
            make("td", {}, "with all it calls")))),
        make("h2", {}, "Called by"),
        p.callers.length ? table("callers-table", p.callers)
          : note("Nobody: stacks begin here."),
        make("h2", {}, "Calls"),
        p.callees.length ? table("callees-table", p.callees)
          : note(selection.charged && page.state.mine !== false
            ? "Nothing of the program's own: what libraries did for it is charged to it." : "Nothing.")
      );
    }
    parts.above.search(page.matches());
    parts.below.search(page.matches());
  },

  keys: {},
  focus: () => parts && parts.below.canvas.focus(),
};
