// views/flame.js - the flame graph: all stacks, from the root or, inverted, from the leaves.
import { make } from "../dom.js";
import { inverted, pathTo } from "../tree.js";
import { graph, idOf } from "./graph.js";
import { SOON } from "../state.js";

let flame = null, shownTree = null, page = null;

/** The node of a path of names, and from which of its children on ("…3"). */
function nodeOf(names) {
  const { tree, selection } = flame;
  let node = 0;
  for (const name of names) {
    if (/^…\d+$/.test(name)) {
      const from = Number(name.slice(1));
      return [node, from < tree.children(node).length ? from : 0];
    }
    const child = tree.children(node).find((c) => selection.keys[tree.key[c]] === name);
    if (child === undefined)
      break;
    node = child;
  }
  return [node, 0];
}

function zoom(node, from) {
  const names = pathTo(flame.tree, node).map((key) => flame.selection.keys[key]);
  page.go({ zoom: from ? [...names, `…${from}`] : names,
    key: node ? idOf(flame, node) : page.state.key });
}

function build(panel) {
  flame = graph(panel, {
    label: "Flame graph. Arrows move, Enter zooms, Escape zooms out.",
    on: { choose: (node) => page.go({ key: idOf(flame, node) }, SOON), zoom },
  });
}

/** Boxes that match the search, the largest first, none inside another of them. */
function found() {
  const { tree } = flame, out = [];
  if (!flame.matches)
    return out;
  const inside = new Uint8Array(tree.size);
  for (let node = 1; node < tree.size; node++) { // parents come first
    const is = flame.matches[tree.key[node]] === 1;
    if (is && !inside[tree.parent[node]])
      out.push(node);
    inside[node] = is || inside[tree.parent[node]] ? 1 : 0;
  }
  return out.sort((a, b) => tree.weight[b] - tree.weight[a]);
}

export const flameView = {
  id: "flame",
  title: "Flame graph",
  applies: () => true,

  show(panel, now) {
    page = now;
    if (!flame)
      build(panel);
    const { state, selection, unit, whole } = page;
    const tree = state.inverted ? page.tree("inverted", inverted) : page.tree("calls", null);
    if (tree !== shownTree) {
      flame.show(selection, tree, { unit, whole: whole.weight });
      shownTree = tree;
    }
    flame.turn(state.flipped);
    const [node, from] = nodeOf(state.zoom), moved = node !== flame.root || from !== flame.from;
    flame.zoom(node, from);
    if (moved)
      flame.mark(node);
    flame.choose(page.chosen());
    flame.search(page.matches());
  },

  tools(now) {
    const { state } = now;
    const toggle = (name, text, title) => make("button", { type: "button", class: "toggle", title,
      "aria-pressed": String(state[name]), id: `tool-${name}`,
      onclick: () => now.go({ [name]: !state[name], zoom: name === "inverted" ? [] : state.zoom }) },
    text);
    return [
      state.zoom.length ? make("button", { type: "button", class: "toggle", id: "zoom-out",
        title: "Back to everything (Esc: one step)", onclick: () => now.go({ zoom: [] }) },
      "Zoom out") : null,
      toggle("inverted", "Inverted", "From the functions that hold the values to their callers (i)"),
      toggle("flipped", "Flip", "The root at the top, or at the bottom (f)"),
    ];
  },

  /** What the search found: how many, and how to go to one. */
  find() {
    const nodes = flame ? found() : [];
    return { count: nodes.length, go(i) {
      flame.reveal(nodes[i]);
      flame.mark(nodes[i]);
      page.go({ key: idOf(flame, nodes[i]) }, SOON);
    } };
  },

  keys: {
    i: (now) => now.go({ inverted: !now.state.inverted, zoom: [] }),
    f: (now) => now.go({ flipped: !now.state.flipped }),
    Escape: (now) => now.go({ zoom: now.state.zoom.slice(0, -1) }),
  },

  focus: () => flame && flame.canvas.focus(),
  get flame() { // for tests
    return flame;
  },
};
