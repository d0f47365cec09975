// views/graph.js - what the flame graph and the callers have in common: a Flame that says what is under
// the pointer.
import { shorten } from "../dom.js";
import { Flame } from "../flame.js";
import { format, percent, plural } from "../format.js";
import { hideTip, showTip } from "../tip.js";

/** The lines about a box of a flame graph. */
export function describe(flame, box) {
  const { tree, unit, signed, whole } = flame, share = (v) => `${percent(v, whole)} of all`;

  if (box.rest)
    return [["name", plural(box.rest.count, "smaller function")],
      `together ${format(box.rest.total, unit, signed)}, ${share(box.rest.total)}`,
      ["soft", box.wide ? "click to go back" : "click to look into them"]];
  const { node } = box, frame = flame.frame(node), self = tree.self[node];
  const lines = [["name", shorten(flame.name(node), 1000)],
    `${format(tree.total[node], unit, signed)}, ${share(tree.total[node])}`];
  if (self && node && self !== tree.total[node])
    lines.push(`itself ${format(self, unit, signed)}, ${share(self)}`);
  if (frame && frame.inlined)
    lines.push(["soft", "inlined into its caller"]);
  if (frame && frame.file)
    lines.push(["soft", shorten(frame.file) + (frame.line ? `:${frame.line}` : "")]);
  if (frame && frame.module)
    lines.push(["soft", shorten(frame.module)]);
  return lines;
}

/** A Flame in `place`. on: choose(node), zoom(node, from). */
export function graph(place, { label, up, bare, on }) {
  const flame = new Flame(place, { label, up, bare, on: {
    ...on,
    hover: (box, event) => (box ? showTip(describe(flame, box), event) : hideTip()),
  } });
  return flame;
}

/** The id by which the state knows the function of a node. */
export function idOf(flame, node) {
  return node > 0 ? flame.selection.ids[flame.tree.key[node]] : "";
}
