// flame.js - a tree on a canvas: which boxes there are, pointer and keys. flame_draw.js paints them.
//
// Only what is in view is drawn, and children too narrow to be seen are one box, "12 smaller", that can
// be looked into like any other. So the size of the profile does not matter much, and nothing vanishes
// without a word. The canvas stays in place while an empty element of the full height scrolls beside
// it.
import { make } from "./dom.js";
import { paint } from "./flame_draw.js";

const LEAST = 3; // pixels of width worth a box of its own
const REST = 1; // pixels of width worth a box for many
const MORE = 90; // pixels of the box that leads on, when many are looked into
const TOUCH = matchMedia("(pointer: coarse)");

/** Several children of a node, in one box. */
function restOf(tree, parent, from) {
  let total = 0, weight = 0;
  const list = tree.children(parent);
  for (let i = from; i < list.length; i++) {
    total += tree.total[list[i]];
    weight += tree.weight[list[i]];
  }
  return { parent, from, count: list.length - from, total, weight };
}

export class Flame {
  /**
   * In `place`, an element. options: label, for those who cannot see it; up: the root is at the bottom;
   * bare: the root of the tree, "all", is not shown; on: { hover(box or null, event), choose(node),
   * zoom(node, from) }: what is pointed at, chosen, wanted as the widest box (of its children only
   * those from the from'th on, if from > 0).
   */
  constructor(place, options) {
    this.on = options.on;
    this.up = Boolean(options.up);
    this.bare = Boolean(options.bare);
    this.canvas = make("canvas", { tabindex: 0, role: "application", "aria-label": options.label });
    this.space = make("div", { class: "flame-space" });
    this.scroll = make("div", { class: "flame-scroll" }, this.canvas, this.space);
    place.append(this.scroll);
    this.marked = this.root = this.from = 0;
    this.boxes = []; // what can be seen or pointed at
    this.chosen = -1; // key whose boxes are outlined
    this.waiting = false;

    this.away = 0; // pixels scrolled away from the root
    this.scroll.addEventListener("scroll", () => {
      this.away = this.up ? this.scroll.scrollHeight - this.scroll.clientHeight -
        this.scroll.scrollTop : this.scroll.scrollTop;
      this.on.hover(null);
      this.later();
    });
    new ResizeObserver(() => this.layout()).observe(this.scroll);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.later());
    TOUCH.addEventListener("change", () => this.layout());
    const { canvas } = this;
    canvas.addEventListener("mousemove", (e) => this.point(e));
    canvas.addEventListener("mouseleave", () => this.point(null));
    canvas.addEventListener("click", (e) => this.click(e));
    canvas.addEventListener("keydown", (e) => this.key(e));
    canvas.addEventListener("focus", () => this.later());
    canvas.addEventListener("blur", () => this.later());
  }

  get row() { // pixels: fingers are wider than pointers
    return TOUCH.matches ? 32 : 21;
  }

  /** Show another tree of a selection. whole: what shares are of. */
  show(selection, tree, { unit, whole, signed = selection.isSigned }) {
    this.selection = selection;
    this.tree = tree;
    this.unit = unit;
    this.whole = whole;
    this.signed = signed;
    this.marked = this.root = this.from = 0;
    this.matches = null;
    this.hovered = null;
    this.most = 0; // the largest change, for the shade of others
    if (signed)
      for (let node = 1; node < tree.size; node++)
        this.most = Math.max(this.most, Math.abs(tree.total[node]));
    this.layout();
    this.toRoot();
  }

  toRoot() {
    this.away = 0;
    this.keepPlace();
  }

  keepPlace() {
    this.scroll.scrollTop = this.up ? this.scroll.scrollHeight - this.scroll.clientHeight - this.away
      : this.away;
  }

  turn(up) {
    if (up !== this.up) {
      this.up = up;
      this.layout();
      this.toRoot();
    }
  }

  /** Mark every box for whose key matches[key] is true; null: none. */
  search(matches) {
    this.matches = matches;
    this.later();
  }

  /** Outline every box of a key; -1: none. */
  choose(key) {
    this.chosen = key;
    this.later();
  }

  zoom(node, from = 0) {
    if (node === this.root && from === this.from)
      return;
    this.root = node;
    this.from = from;
    this.layout();
  }

  mark(node) {
    this.marked = node;
    this.later();
  }

  name(node) {
    return node === 0 ? "all" : this.selection.keys[this.tree.key[node]];
  }

  frame(node) {
    return node === 0 ? null : this.selection.frame[this.tree.key[node]];
  }

  // --- layout ----------------------------------------------------------------------------------------

  layout() {
    if (!this.tree || !this.scroll.clientWidth)
      return;
    const { tree } = this, path = [];

    for (let node = this.root; node > 0; node = tree.parent[node])
      if (!this.bare || tree.parent[node] > 0)
        path.unshift(tree.parent[node]);
    this.width = this.scroll.clientWidth;
    this.boxes = [];
    this.boxOf = new Map();
    this.byRow = [];
    const add = (box) => {
      this.boxes.push(box);
      (this.byRow[box.row] ||= []).push(box);
      if (!box.rest)
        this.boxOf.set(box.node, box);
    };
    path.forEach((node, row) => add({ node, x: 0, width: this.width, row, above: true }));
    const first = this.boxes.length;
    add({ node: this.root, x: 0, width: this.width, row: first, above: this.from > 0 });
    if (this.from > 0)
      add({ node: this.root, rest: restOf(tree, this.root, this.from), x: 0, width: this.width,
        row: first + 1, wide: true });
    // Breadth first: this.boxes grows while it is walked.
    for (let i = first + (this.from > 0 ? 1 : 0); i < this.boxes.length; i++)
      this.addChildren(this.boxes[i], add);
    this.space.style.height = `${Math.max(this.byRow.length * this.row,
      this.scroll.clientHeight)}px`;
    this.keepPlace();
    this.later();
  }

  addChildren(box, add) {
    if (box.rest && !box.wide)
      return;
    if (box.wide) {
      this.addPart(box, add);
      return;
    }
    const { tree } = this, list = tree.children(box.node), row = box.row + 1;
    const weight = tree.weight[box.node];
    let x = box.x, i = 0;

    for (; i < list.length; i++) {
      const width = box.width * tree.weight[list[i]] / weight;
      if (!(width >= LEAST))
        break; // they are sorted: the others are narrower still
      add({ node: list[i], x, width, row });
      x += width;
    }
    if (i === list.length)
      return;
    const rest = restOf(tree, box.node, i), width = box.width * rest.weight / weight;
    if (width < REST)
      return;
    if (rest.count === 1)
      add({ node: list[i], x, width, row });
    else
      add({ node: box.node, rest, x, width, row });
  }

  /** The children in a box for many, as many as can be seen; the rest of them in another, which has a
   *  width of its own. */
  addPart(box, add) {
    const { tree } = this, list = tree.children(box.node), row = box.row + 1;
    const { from, weight } = box.rest, room = box.width - MORE;
    let end = from, sum = 0, x = box.x;

    while (end < list.length && tree.weight[list[end]] * room >= LEAST * (sum + tree.weight[list[end]]))
      sum += tree.weight[list[end++]];
    const all = end === list.length || end === from, width = all ? box.width : room;
    if (end === from) { // not one: they weigh nothing
      end = list.length;
      sum = weight;
    }
    for (let i = from; i < end; i++) {
      const one = sum ? width * tree.weight[list[i]] / sum : 0;
      if (one >= REST)
        add({ node: list[i], x, width: one, row });
      x += one;
    }
    if (!all)
      add({ node: box.node, rest: restOf(tree, box.node, end), x: box.x + room, width: MORE, row });
  }

  top(row) {
    return this.up ? this.space.offsetHeight - (row + 1) * this.row : row * this.row;
  }

  later() {
    if (!this.waiting) {
      this.waiting = true;
      requestAnimationFrame(() => {
        this.waiting = false;
        this.draw();
      });
    }
  }

  draw() {
    if (this.tree && this.scroll.clientWidth)
      paint(this);
  }

  // --- pointer and keys ------------------------------------------------------------------------------

  boxAt(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const x = event.clientX - bounds.left;
    const y = event.clientY - bounds.top + this.scroll.scrollTop;
    const row = Math.floor((this.up ? this.space.offsetHeight - y : y) / this.row);
    return (this.byRow?.[row] || []).find((b) => x >= b.x && x < b.x + b.width) || null;
  }

  point(event) {
    const box = event && this.tree ? this.boxAt(event) : null;
    if (box !== this.hovered) {
      this.hovered = box;
      this.later();
    }
    this.on.hover(box, event);
  }

  /** With a mouse a click zooms; a finger shows first what it is, and zooms the second time. */
  click(event) {
    const box = this.tree ? this.boxAt(event) : null;
    if (!box)
      return;
    if (event.pointerType === "touch" && this.touched !== box) {
      this.touched = box;
      this.hovered = box;
      this.on.hover(box, event);
      this.later();
      return;
    }
    this.touched = null;
    this.on.hover(null);
    if (box.rest)
      this.on.zoom(box.rest.parent, box.wide ? 0 : box.rest.from);
    else
      this.on.zoom(box.node, 0);
  }

  key(event) {
    if (!this.tree || event.ctrlKey || event.metaKey || event.altKey)
      return;
    const { tree, marked } = this;
    const siblings = marked ? tree.children(tree.parent[marked]) : [0];
    const at = siblings.indexOf(marked);
    const deeper = this.up ? "ArrowUp" : "ArrowDown";
    let to = -1;

    switch (event.key) {
    case "ArrowUp":
    case "ArrowDown":
      to = event.key === deeper ? tree.children(marked)[0] : marked ? tree.parent[marked] : -1;
      break;
    case "ArrowLeft":
      to = siblings[at - 1];
      break;
    case "ArrowRight":
      to = siblings[at + 1];
      break;
    case "Home":
      to = 0;
      break;
    case "Enter":
      this.on.zoom(marked, 0);
      break;
    case "Escape":
    case "Backspace":
      this.on.zoom(this.from ? this.root : this.root ? tree.parent[this.root] : 0, 0);
      break;
    default:
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    if (to !== undefined && to >= 0 && this.boxOf.has(to)) {
      this.mark(to);
      this.reveal(to);
      this.on.choose(to);
    }
  }

  /** Bring a node into view, zooming out as far as it takes to have a box for it. */
  reveal(node) {
    while (!this.boxOf.has(node) && this.root) {
      this.root = this.from ? this.root : this.tree.parent[this.root];
      this.from = 0;
      this.layout();
    }
    const box = this.boxOf.get(node), { scroll } = this;
    if (!box)
      return false;
    const y = this.top(box.row);
    if (y < scroll.scrollTop)
      scroll.scrollTop = y;
    else if (y + this.row > scroll.scrollTop + scroll.clientHeight)
      scroll.scrollTop = y + this.row - scroll.clientHeight;
    return true;
  }
}
