// flame_draw.js - paints the boxes that flame.js has laid out.
//
// Colour tells whose code it is: the program's own is warm, its other modules have hues of their own,
// what is not its own (mycode.js) is pale. Inlined functions are in italics. A difference shows in three
// ways, so that colour is not needed: a sign, hatching where it has shrunk, and red and blue, the
// stronger the larger the change.
import { format, percent } from "./format.js";
import { isPseudo } from "./mycode.js";

const FONT = "12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";
const PAD = 5;

function hash(text) {
  let h = 0;
  for (let i = 0; i < text.length; i++)
    h = (h * 31 + text.charCodeAt(i)) | 0;
  return h >>> 0;
}

/** As much of a name as fits into `room` letters; the end of a C++ name says more than its scopes. */
export function fit(name, room) {
  if (name.length <= room)
    return name;
  if (!/[<( ]/.test(name))
    for (let at = name.indexOf("::"); at >= 0; at = name.indexOf("::", at + 2))
      if (name.length - at + 1 <= room && name.length - at > 4)
        return "…" + name.slice(at);
  return room < 3 ? "" : name.slice(0, room - 1) + "…";
}

function colour(flame, box, dark) {
  const { node, rest } = box;
  if (flame.signed) {
    const total = rest ? rest.total : flame.tree.total[node];
    const much = flame.most ? Math.sqrt(Math.min(Math.abs(total) / flame.most, 1)) : 0;
    if (total === 0 || node === 0)
      return dark ? "#3a3c40" : "#dcdee2";
    return `hsl(${total > 0 ? 8 : 214} ${dark ? 18 + 38 * much : 45 + 40 * much}% ` +
      `${dark ? 23 + 13 * much : 93 - 17 * much}%)`;
  }
  if (rest || node === 0)
    return dark ? "#3a3c40" : "#dcdee2";
  const key = flame.tree.key[node], name = flame.selection.keys[key];
  const frame = flame.selection.frame[key];
  if (frame.label) // a group has a hue, or one could not tell them apart
    return `hsl(${hash(name) % 360} ${dark ? 30 : 45}% ${dark ? 32 : 80}%)`;
  if (isPseudo(name))
    return dark ? "#4a4c50" : "#cbced4";
  const shade = hash(name) % 9;
  if (flame.selection.foreign[key])
    return `hsl(215 ${dark ? 14 : 28}% ${(dark ? 25 : 82) + shade * 0.6}%)`;
  if (!frame.main)
    return `hsl(${90 + hash(frame.module) % 85} ${dark ? 28 : 45}% ${(dark ? 26 : 73) + shade}%)`;
  return `hsl(${24 + hash(name) % 26} ${dark ? 52 : 88}% ${(dark ? 27 : 71) + shade}%)`;
}

function hatch(c, x, y, width, height, dark) {
  c.save();
  c.beginPath();
  c.rect(x, y, width, height);
  c.clip();
  c.beginPath();
  for (let at = x - height; at < x + width; at += 7) {
    c.moveTo(at, y + height);
    c.lineTo(at + height, y);
  }
  c.lineWidth = 1;
  c.strokeStyle = dark ? "#fff3" : "#0002";
  c.stroke();
  c.restore();
}

/** The text of a box: its name, and at the right its value and share if there is room. */
function label(flame, box, room) {
  const total = box.rest ? box.rest.total : flame.tree.total[box.node];
  const value = format(total, flame.unit, flame.signed);
  const long = `${value}  ${percent(total, flame.whole)}`;
  const name = box.rest ? `${box.rest.count} smaller` : flame.name(box.node);

  for (const right of [long, value])
    if (name.length + right.length + 3 <= room)
      return [name, right];
  if (flame.signed && total !== 0) { // the sign at least
    const sign = total > 0 ? "+" : "−";
    return [sign + fit(name, room - 1), ""];
  }
  return [fit(name, room), ""];
}

function drawBox(flame, c, box, y, dark) {
  const { node, x, width } = box, height = flame.row - 1;
  const inner = Math.max(width - 1, 0.5), frame = flame.frame(node);
  const key = flame.tree.key[node];
  const found = flame.matches && !box.rest && node > 0 && flame.matches[key];
  const total = box.rest ? box.rest.total : flame.tree.total[node];

  c.globalAlpha = box.above || (flame.matches && !found) ? 0.4 : 1;
  c.fillStyle = found && !flame.signed ? (dark ? "#a86a00" : "#ffd23e") : colour(flame, box, dark);
  c.fillRect(x, y, inner, height);
  if (flame.signed && total < 0)
    hatch(c, x, y, inner, height, dark);
  if (box === flame.hovered) {
    c.fillStyle = dark ? "#fff2" : "#0001";
    c.fillRect(x, y, inner, height);
  }
  c.globalAlpha = box.above ? 0.75 : flame.matches && !found ? 0.6 : 1;
  const room = Math.floor((width - 2 * PAD) / flame.letter);
  if (room >= 2) {
    const [name, right] = label(flame, box, room);
    const inlined = !box.rest && frame && frame.inlined;
    c.fillStyle = dark ? "#f2f2f2" : "#16181c";
    if (inlined || box.rest)
      c.font = "italic " + FONT;
    c.fillText(name, x + PAD, y + height / 2 + 0.5);
    if (inlined || box.rest)
      c.font = FONT;
    if (right) {
      c.globalAlpha *= 0.8;
      c.fillText(right, x + width - PAD - 1 - right.length * flame.letter, y + height / 2 + 0.5);
    }
  }
  c.globalAlpha = 1;
  if (node > 0 && !box.rest && key === flame.chosen && width > 3) {
    c.lineWidth = 1.5;
    c.strokeStyle = dark ? "#fff" : "#000";
    c.strokeRect(x + 0.75, y + 0.75, Math.max(inner - 1.5, 1), height - 1.5);
  }
}

/** Paint what of the boxes is in view. */
export function paint(flame) {
  const { canvas, scroll } = flame, ratio = devicePixelRatio || 1, height = scroll.clientHeight;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;

  if (canvas.width !== Math.round(flame.width * ratio) ||
      canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(flame.width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${flame.width}px`;
    canvas.style.height = `${height}px`;
  }
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, flame.width, height);
  c.font = FONT;
  c.textBaseline = "middle";
  flame.letter = c.measureText("m").width;
  flame.byRow.forEach((boxes, row) => {
    const y = flame.top(row) - scroll.scrollTop;
    if (y > -flame.row && y < height)
      for (const box of boxes)
        drawBox(flame, c, box, y, dark);
  });
  const marked = flame.boxOf.get(flame.marked);
  if (marked && document.activeElement === canvas) {
    c.lineWidth = 2.5;
    c.strokeStyle = dark ? "#8ab4f8" : "#0b57d0";
    c.strokeRect(marked.x + 1.25, flame.top(marked.row) - scroll.scrollTop + 1.25,
      Math.max(marked.width - 3.5, 1), flame.row - 3.5);
  }
}
