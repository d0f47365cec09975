// model.js - from profiles to a selection: which stacks are shown, as what, and with which values.
//
//   profiles -> select() -> a selection -> tree.js, tables.js -> views
//
// A selection has one value a stack, and its stacks are made of keys. A key is what frames are grouped
// by: a function of a file, a line, a file or a module. A difference is a selection like any other: the
// stacks of the profile and, with their values negated, those of its base; equal stacks meet in the
// tree. Nothing here touches the page.
import { demangle } from "./demangle.js";
import { foreignFrames, isPseudo } from "./mycode.js";

export const GROUPS = ["function", "line", "file", "module"];

const HIDDEN = { name: "[hidden]", file: "", line: 0, module: "", inlined: false, address: 0, depth: 0 };

/**
 * A profile's frames and stacks in the form that select() runs over. Made on first use.
 *
 * frames: of each location, outermost first; stack i is id[at[i] .. at[i + 1]), indexes of frames,
 * root first.
 */
export function prepare(profile) {
  if (profile.flat)
    return profile.flat;
  const frames = [], first = new Int32Array(profile.locations.length + 1);
  const n = profile.stacks.length, at = new Int32Array(n + 1);

  profile.locations.forEach((location, l) => {
    for (let i = location.lines.length - 1; i >= 0; i--) {
      const line = location.lines[i];
      frames.push({
        name: demangle(line.name), file: line.file, line: line.line, module: location.module,
        inlined: i < location.lines.length - 1, // all but the outermost
        address: location.address, depth: i, main: location.module === profile.main,
      });
    }
    first[l + 1] = frames.length;
  });
  profile.stacks.forEach((stack, i) => {
    let size = 0;
    for (const l of stack)
      size += first[l + 1] - first[l];
    at[i + 1] = at[i] + size;
  });
  const id = new Int32Array(at[n]);
  profile.stacks.forEach((stack, i) => {
    let to = at[i];
    for (let k = stack.length - 1; k >= 0; k--)
      for (let f = first[stack[k]]; f < first[stack[k] + 1]; f++)
        id[to++] = f;
  });
  profile.flat = { frames, at, id };
  return profile.flat;
}

/** What a frame is counted under, and what tells it from others with the same text. */
function keyOf(frame, group) {
  switch (group) {
  case "line":
    return frame.file ? `${frame.name} ${frame.file}:${frame.line}` : frame.name;
  case "file":
    return frame.file || frame.module;
  case "module":
    return frame.module;
  default:
    return frame.file ? `${frame.name}\n${frame.file}` : frame.name;
  }
}

/** A regular expression as pprof reads it: a leading (?i), and without that letter case counts only
 *  where the pattern has a capital. Throws SyntaxError. */
export function expression(pattern) {
  const any = pattern.startsWith("(?i)"), text = any ? pattern.slice(4) : pattern;
  return new RegExp(text, any || !/[A-Z]/.test(text.replace(/\\./g, "")) ? "i" : "");
}

/** Why `pattern` is no regular expression, in words; "" if it is one. */
export function complaint(pattern) {
  try {
    expression(pattern);
    return "";
  } catch (error) {
    return "Not a regular expression: " +
      error.message.replace(/^Invalid regular expression: (\/.*\/\w*: )?/, "").toLowerCase() + ".";
  }
}

/** A test for frames: by function, file or module. "" gives null, and so does what is no expression:
 *  the page says so at the field. */
export function matcher(pattern) {
  if (!pattern || complaint(pattern))
    return null;
  const test = expression(pattern);
  return (frame) => test.test(frame.name) || test.test(frame.file) || test.test(frame.module);
}

/** The value of one label of a sample: text, or a number as text; null: it has none. */
export function labelValue(labels, key) {
  const found = labels.find((l) => l.key === key);
  return found ? found.text ?? String(found.number) : null;
}

/** The index in `profile` of a type by name; -1: it has none. */
export function typeIndex(profile, type) {
  return profile.types.findIndex((t) => t.type === type);
}

/** Does it hold what changed in a span of time, rather than what was so at one moment? What a
 *  processor did is always of a span, and no change. */
export function isWindow(profile) {
  return profile.durationS > 0 &&
    !profile.types.some((t) => ["cpu", "samples", "wall"].includes(t.type));
}

/** The part of a stack that is shown of "my code": from its root to the innermost frame that is the
 *  program's own. The answer is the end of that part; the whole stack's where there is none. */
function ownEnd(id, from, to, foreign, pseudo) {
  let end = to;
  if (pseudo[id[to - 1]])
    return to;
  while (end > from && (foreign[id[end - 1]] || pseudo[id[end - 1]]))
    end--;
  return end > from ? end : to;
}

/**
 * The stacks that pass, of `profile` less those of `base` (may be null).
 *
 * options: type, group, focus, ignore, hide (patterns), label ({key, value} or null; a value of null
 * is "without that label"), root (a label's key, whose value becomes the outermost frame, or ""),
 * mine (charge the program's own code).
 *
 * -> { keys: [text], ids: [what tells equal texts apart], frame: [one for each key],
 *      foreign: [is a key's code not the program's own],
 *      count, at, path: stack i is path[at[i] .. at[i + 1]), keys, root first, never empty,
 *      values, sample: [index in its profile; those of base are negative: ~index],
 *      isSigned: values may be below 0, and are shown with their sign,
 *      charged: how many stacks "my code" changes, or would change }
 */
export function select(profile, base, options) {
  const s = { keys: [], ids: [], frame: [], foreign: [], count: 0, charged: 0 };
  const keyNumber = new Map(), values = [], sample = [];
  const focus = matcher(options.focus), ignore = matcher(options.ignore);
  const hide = matcher(options.hide), collapse = ["file", "module"].includes(options.group);
  const room = [profile, base].reduce((n, p) => n + (p ? prepare(p).id.length +
    2 * p.stacks.length : 0), 0);
  const path = new Int32Array(room), at = [0];
  let end = 0, negative = false;

  const keyFor = (frame, id, text, foreign) => {
    let key = keyNumber.get(id);
    if (key === undefined) {
      key = s.keys.length;
      keyNumber.set(id, key);
      s.keys.push(text);
      s.ids.push(id);
      s.frame.push(frame);
      s.foreign.push(foreign);
    } else if (!frame.inlined && s.frame[key].inlined) {
      s.frame[key] = frame; // inlined is what never shows as a call of its own
    }
    return key;
  };

  const add = (from, sign) => {
    const column = from.values[typeIndex(from, options.type)], flat = prepare(from);
    const { frames, id } = flat, n = frames.length;
    const foreign = foreignFrames(frames, from.main, flat);
    // What is to be known of each frame, found out once.
    const focused = new Uint8Array(n), ignored = new Uint8Array(n), pseudo = new Uint8Array(n);
    const key = new Int32Array(n);

    if (!column)
      return;
    frames.forEach((frame, f) => {
      focused[f] = focus && focus(frame) ? 1 : 0;
      ignored[f] = ignore && ignore(frame) ? 1 : 0;
      pseudo[f] = isPseudo(frame.name) ? 1 : 0;
      const text = options.group === "function" ? frame.name : keyOf(frame, options.group);
      key[f] = hide && hide(frame) ? -1
        : keyFor(frame, keyOf(frame, options.group), text, foreign[f] === 1);
    });
    const has = (marks, i) => {
      for (let k = flat.at[i]; k < flat.at[i + 1]; k++)
        if (marks[id[k]])
          return true;
      return false;
    };
    for (let i = 0; i < from.stacks.length; i++) {
      const value = column[i], begin = flat.at[i];
      if (value === 0 || begin === flat.at[i + 1] || (focus && !has(focused, i)) ||
          (ignore && has(ignored, i)))
        continue;
      if (options.label &&
          labelValue(from.labels[i], options.label.key) !== options.label.value)
        continue;
      const own = ownEnd(id, begin, flat.at[i + 1], foreign, pseudo);
      if (own < flat.at[i + 1])
        s.charged++;
      const last = options.mine ? own : flat.at[i + 1], before = end;
      if (options.root) {
        const label = labelValue(from.labels[i], options.root);
        const text = label === null ? `[without ${options.root}]` : `[${options.root} ${label}]`;
        path[end++] = keyFor({ ...HIDDEN, name: text, label: true }, `label\n${text}`, text, false);
      }
      const inner = end;
      for (let k = begin; k < last; k++) {
        const number = key[id[k]];
        if (number >= 0 && !(collapse && end > inner && path[end - 1] === number))
          path[end++] = number;
      }
      if (end === inner) // nothing of it is to be seen, but it counts
        path[end++] = keyFor(HIDDEN, "[hidden]", "[hidden]", false);
      if (end > before) {
        at.push(end);
        values.push(sign * value);
        sample.push(sign > 0 ? i : ~i);
        negative ||= value < 0;
      }
    }
  };
  add(profile, 1);
  if (base)
    add(base, -1);
  s.count = values.length;
  s.at = Int32Array.from(at);
  s.path = path;
  s.values = Float64Array.from(values);
  s.sample = sample;
  s.isSigned = Boolean(base) || negative || isWindow(profile);
  return s;
}

/** The text of a function of the profile that the page was told of by name, and file where several
 *  have that name: its key; -1: it is not there. */
export function findKey(s, id) {
  if (!id)
    return -1;
  const exact = s.ids.indexOf(id);
  return exact >= 0 ? exact : s.keys.indexOf(id.split("\n")[0]);
}
