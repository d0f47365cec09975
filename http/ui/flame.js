// flame.js - the tree of calls drawn on a canvas: icicle (root at the top) or flame (at the bottom).
//
// Only what is in view and at least half a pixel wide is drawn, so the size of the profile does not
// matter much. The canvas stays in place while an empty element of the full height scrolls beside it.
//
// A difference shows in three ways, so that colour is not needed: each label has a sign, what has
// shrunk is hatched, and red and blue.
import { format, percent } from "./model.js";

const ROW = 20; // pixels
const LEAST = 0.5; // pixels of width worth drawing
const FONT = "12px ui-monospace, monospace";
const PAD = 4;

function hash(text) {
  let h = 0;
  for (let i = 0; i < text.length; i++)
    h = (h * 31 + text.charCodeAt(i)) | 0;
  return h >>> 0;
}

/** Is it a frame that stands for something that is no code: "[lost: table full]"? */
function isPseudo(name) {
  return name[0] === "[";
}

export class Flame {
  /** `on` has callbacks: mark(node) when another frame is marked, zoom(node). */
  constructor(canvas, scroll, space, on) {
    this.canvas = canvas;
    this.scroll = scroll;
    this.space = space;
    this.on = on;
    this.flipped = false;
    this.marked = this.root = 0;
    this.boxes = []; // {node, x, width, row}: what can be seen or pointed at
    this.waiting = false;

    scroll.addEventListener("scroll", () => this.later());
    new ResizeObserver(() => this.layout()).observe(scroll);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.later());
    canvas.addEventListener("mousemove", (e) => this.point(e));
    canvas.addEventListener("click", (e) => this.click(e));
    canvas.addEventListener("keydown", (e) => this.key(e));
    canvas.addEventListener("focus", () => this.later());
    canvas.addEventListener("blur", () => this.later());
  }

  /** Show another selection and its tree. The zoom starts anew. */
  show(selection, tree, unit) {
    this.selection = selection;
    this.tree = tree;
    this.unit = unit;
    this.marked = this.root = 0;
    this.matches = null;
    this.layout();
    this.scroll.scrollTop = this.flipped ? this.space.offsetHeight : 0;
  }

  flip() {
    this.flipped = !this.flipped;
    this.layout();
    this.scroll.scrollTop = this.flipped ? this.space.offsetHeight : 0;
  }

  /** Mark every frame for which matches[key] is true; null: none. */
  search(matches) {
    this.matches = matches;
    this.later();
  }

  name(node) {
    return node === 0 ? "all" : this.selection.keys[this.tree.key[node]];
  }

  frame(node) {
    return node === 0 ? null : this.selection.frame[this.tree.key[node]];
  }

  zoom(node) {
    this.root = node;
    this.layout();
    this.on.zoom(node);
    this.mark(node);
  }

  mark(node) {
    if (node === this.marked)
      return;
    this.marked = node;
    this.later();
    this.on.mark(node);
  }

  /** The one line about a frame. */
  describe(node) {
    const { tree, unit } = this, signed = this.selection.isSigned;
    const self = tree.self[node], all = tree.weight[0];
    let text = `${this.name(node)}: ${format(tree.total[node], unit, signed)}`;

    if (all)
      text += ` (${percent(tree.total[node], all)})`;
    if (self && node)
      text += `, itself ${format(self, unit, signed)}`;
    const frame = this.frame(node);
    if (frame) {
      if (frame.inlined)
        text += ", inlined";
      text += `, in ${frame.module}`;
      if (frame.file)
        text += `, ${frame.file}:${frame.line}`;
    }
    return text;
  }

  // --- layout --------------------------------------------------------------------------------------

  layout() {
    if (!this.tree || !this.scroll.clientWidth)
      return;
    const { tree } = this;
    const path = [];
    for (let node = this.root; node > 0; node = tree.parent[node])
      path.unshift(tree.parent[node]);

    this.width = this.scroll.clientWidth;
    this.boxes = [];
    this.boxOf = new Map();
    const add = (node, x, width, row, above) => {
      const box = { node, x, width, row, above };
      this.boxes.push(box);
      this.boxOf.set(node, box);
      return box;
    };
    path.forEach((node, row) => add(node, 0, this.width, row, true));
    let rows = path.length;
    const first = this.boxes.length;
    add(this.root, 0, this.width, rows, false);
    for (let i = first; i < this.boxes.length; i++) {
      const box = this.boxes[i], weight = tree.weight[box.node];
      let x = box.x;
      rows = Math.max(rows, box.row + 1);
      for (const child of tree.children(box.node)) {
        const width = box.width * tree.weight[child] / weight;
        if (!(width >= LEAST))
          break; // they are sorted: the others are narrower still
        add(child, x, width, box.row + 1, false);
        x += width;
      }
    }
    this.rows = rows;
    this.space.style.height = `${Math.max(rows * ROW, this.scroll.clientHeight)}px`;
    this.later();
  }

  top(row) {
    return this.flipped ? this.space.offsetHeight - (row + 1) * ROW : row * ROW;
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

  // --- drawing -------------------------------------------------------------------------------------

  draw() {
    const { canvas, scroll } = this;
    if (!this.tree || !scroll.clientWidth)
      return;
    const ratio = devicePixelRatio || 1, height = scroll.clientHeight;
    if (canvas.width !== Math.round(this.width * ratio) ||
        canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(this.width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${this.width}px`;
      canvas.style.height = `${height}px`;
    }
    const c = canvas.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, this.width, height);
    c.font = FONT;
    c.textBaseline = "middle";
    this.letter = c.measureText("m").width;
    this.dark = matchMedia("(prefers-color-scheme: dark)").matches;
    for (const box of this.boxes) {
      const y = this.top(box.row) - scroll.scrollTop;
      if (y > -ROW && y < height)
        this.drawBox(c, box, y);
    }
    const marked = this.boxOf.get(this.marked);
    if (marked) {
      c.lineWidth = 2;
      c.strokeStyle = this.dark ? "#fff" : "#000";
      c.strokeRect(marked.x + 1, this.top(marked.row) - scroll.scrollTop + 1,
        Math.max(marked.width - 2, 1), ROW - 3);
    }
  }

  colour(node) {
    const { dark, tree } = this;
    if (this.selection.isSigned) {
      const total = tree.total[node];
      const hue = total > 0 ? 8 : 215;
      return total === 0 ? (dark ? "#444" : "#ccc")
        : `hsl(${hue} ${dark ? 45 : 75}% ${dark ? 34 : 78}%)`;
    }
    const frame = this.frame(node);
    if (!frame || isPseudo(this.name(node)))
      return dark ? "#444" : "#ccc";
    const hue = hash(frame.module) % 360, shade = hash(this.name(node)) % 9;
    return `hsl(${hue} ${dark ? 35 : 65}% ${(dark ? 27 : 74) + shade}%)`;
  }

  hatch(c, x, y, width) {
    c.save();
    c.beginPath();
    c.rect(x, y, width, ROW - 1);
    c.clip();
    c.beginPath();
    for (let at = x - ROW; at < x + width; at += 7) {
      c.moveTo(at, y + ROW);
      c.lineTo(at + ROW, y);
    }
    c.lineWidth = 1;
    c.strokeStyle = this.dark ? "#fff4" : "#0003";
    c.stroke();
    c.restore();
  }

  drawBox(c, box, y) {
    const { node, x, width } = box;
    const inner = Math.max(width - 0.5, LEAST);
    const found = this.matches && node > 0 && this.matches[this.tree.key[node]];

    c.globalAlpha = box.above || (this.matches && !found) ? 0.45 : 1;
    c.fillStyle = found ? (this.dark ? "#a60" : "#fc3") : this.colour(node);
    c.fillRect(x, y, inner, ROW - 1);
    if (this.selection.isSigned && this.tree.total[node] < 0)
      this.hatch(c, x, y, inner);
    const frame = this.frame(node);
    if (frame && frame.inlined) {
      // Inlined: a dashed line where the call would be.
      c.beginPath();
      c.setLineDash([3, 3]);
      const edge = this.flipped ? y + ROW - 2 : y + 1;
      c.moveTo(x, edge);
      c.lineTo(x + inner, edge);
      c.lineWidth = 1.5;
      c.strokeStyle = this.dark ? "#fffb" : "#000b";
      c.stroke();
      c.setLineDash([]);
    }
    c.globalAlpha = 1;
    const room = Math.floor((width - 2 * PAD) / this.letter);
    if (room >= 2) {
      c.fillStyle = this.dark ? "#f2f2f2" : "#111";
      c.fillText(this.label(node, room), x + PAD, y + ROW / 2);
    }
  }

  /** What fits into `room` letters. */
  label(node, room) {
    let text = this.name(node);
    const frame = this.frame(node);
    if (frame && frame.inlined)
      text = "↳" + text;
    if (this.selection.isSigned) {
      const total = this.tree.total[node];
      text = (total > 0 ? "+" : total < 0 ? "−" : "=") + text;
      const value = " " + format(total, this.unit, true);
      if (text.length + value.length <= room)
        text += value;
    }
    return text.length <= room ? text : text.slice(0, room - 1) + "…";
  }

  // --- pointer and keys ----------------------------------------------------------------------------

  nodeAt(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const x = event.clientX - bounds.left;
    const y = event.clientY - bounds.top + this.scroll.scrollTop;
    const row = Math.floor((this.flipped ? this.space.offsetHeight - y : y) / ROW);
    const box = this.boxes.find((b) => b.row === row && x >= b.x && x < b.x + b.width);
    return box ? box.node : -1;
  }

  point(event) {
    const node = this.tree ? this.nodeAt(event) : -1;
    if (node >= 0)
      this.mark(node);
  }

  /** With a mouse the frame is marked already; a finger marks first, and zooms the second time. */
  click(event) {
    const node = this.tree ? this.nodeAt(event) : -1;
    if (node < 0)
      return;
    if (event.pointerType === "touch" && this.touched !== node) {
      this.touched = node;
      this.mark(node);
    } else {
      this.zoom(node);
    }
  }

  key(event) {
    if (!this.tree)
      return;
    const { tree, marked } = this;
    const siblings = marked ? tree.children(tree.parent[marked]) : [0];
    const at = siblings.indexOf(marked);
    const deeper = this.flipped ? "ArrowUp" : "ArrowDown";
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
      this.zoom(marked);
      break;
    case "Escape":
    case "Backspace":
      this.zoom(this.root ? tree.parent[this.root] : 0);
      break;
    default:
      return;
    }
    event.preventDefault();
    if (to !== undefined && to >= 0 && this.boxOf.has(to)) {
      this.mark(to);
      this.reveal(to);
    }
  }

  reveal(node) {
    const y = this.top(this.boxOf.get(node).row), { scroll } = this;
    if (y < scroll.scrollTop)
      scroll.scrollTop = y;
    else if (y + ROW > scroll.scrollTop + scroll.clientHeight)
      scroll.scrollTop = y + ROW - scroll.clientHeight;
  }
}
