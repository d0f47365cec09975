// model.js - from profiles to what is shown: filters, the tree of calls, tables, differences.
//
//   profiles -> select() -> a selection: stacks of keys, each with one value -> tree(), top(), peek()
//
// A key is what frames are grouped by: a function, line, file or module. A difference is a selection
// like any other: the stacks of the profile and, with their values negated, those of its base; equal
// stacks meet in the tree. Nothing here touches the page.
import { demangle } from "./demangle.js";

/** Every frame of a profile once: per location, outermost line first. Made on first use. */
function framesOf(profile) {
  if (!profile.frames)
    profile.frames = profile.locations.map((location) =>
      location.lines.map((line, i) => ({
        name: demangle(line.name),
        file: line.file,
        line: line.line,
        module: location.module,
        inlined: i < location.lines.length - 1, // all but the outermost
        address: location.address,
        depth: i,
      })).reverse());
  return profile.frames;
}

function keyText(frame, group) {
  switch (group) {
  case "line":
    return frame.file ? `${frame.name} ${frame.file}:${frame.line}` : frame.name;
  case "file":
    return frame.file || frame.module;
  case "module":
    return frame.module;
  default:
    return frame.name;
  }
}

/** A test for names: a regular expression, or plain text where it is none. "" gives null. */
export function matcher(pattern) {
  if (!pattern)
    return null;
  let test;
  try {
    const expression = new RegExp(pattern, /[A-Z]/.test(pattern) ? "" : "i");
    test = (text) => expression.test(text);
  } catch {
    test = (text) => text.includes(pattern);
  }
  return (frame) => test(frame.name) || test(frame.file) || test(frame.module);
}

/** All text labels: [{key, text}], sorted, at most `most`. */
export function labelsOf(profiles, most = 500) {
  const seen = new Map();
  for (const profile of profiles)
    for (const list of profile.labels)
      for (const { key, text } of list)
        if (text !== null && seen.size < most)
          seen.set(JSON.stringify([key, text]), { key, text });
  return [...seen.entries()].sort((a, b) => (a[0] < b[0] ? -1 : 1)).map((entry) => entry[1]);
}

/** The index in `profile` of a type by name; -1: it has none. */
export function typeIndex(profile, type) {
  return profile.types.findIndex((t) => t.type === type);
}

/**
 * The stacks that pass, of `profile` less those of `base` (may be null).
 *
 * options: type, group, focus, ignore, hide (patterns), label ({key, text} or null).
 * -> { keys: [text], frame: [one for each key], stacks: [Int32Array of keys, root first],
 *      values, isDifference, total: of the absolute values of the merged stacks }
 */
export function select(profile, base, options) {
  const s = {
    keys: [], frame: [], stacks: [], values: [], isDifference: Boolean(base),
  };
  const keyOf = new Map();
  const focus = matcher(options.focus), ignore = matcher(options.ignore);
  const hide = matcher(options.hide);

  const add = (from, sign) => {
    const column = from.values[typeIndex(from, options.type)];
    // What the patterns say of each location, found out once.
    const locations = framesOf(from).map((frames) => ({
      focused: focus && frames.some(focus),
      ignored: ignore && frames.some(ignore),
      keys: frames.filter((frame) => !(hide && hide(frame))).map((frame) => {
        const text = keyText(frame, options.group);
        let key = keyOf.get(text);
        if (key === undefined) {
          key = s.keys.length;
          keyOf.set(text, key);
          s.keys.push(text);
          s.frame.push(frame);
        } else if (!frame.inlined && s.frame[key].inlined) {
          s.frame[key] = frame; // inlined is what never shows as a call of its own
        }
        return key;
      }),
    }));
    if (!column)
      return;
    for (let i = 0; i < from.stacks.length; i++) {
      const value = column[i], stack = from.stacks[i];
      if (value === 0)
        continue;
      if (focus && !stack.some((l) => locations[l].focused))
        continue;
      if (ignore && stack.some((l) => locations[l].ignored))
        continue;
      if (options.label && !from.labels[i].some(
        (l) => l.key === options.label.key && l.text === options.label.text))
        continue;
      const keys = [];
      for (let k = stack.length - 1; k >= 0; k--)
        for (const key of locations[stack[k]].keys)
          keys.push(key);
      if (!keys.length)
        continue;
      s.stacks.push(keys);
      s.values.push(sign * value);
    }
  };
  add(profile, 1);
  if (base)
    add(base, -1);
  s.isSigned = s.isDifference || s.values.some((v) => v < 0);
  return s;
}

/**
 * The tree of calls, as columns: node 0 is the root, a parent comes before its children.
 *
 * self, total: values; weight: how wide, the sum of the absolute self values below. So a node whose
 * parts grew and shrank alike has a total of 0 and is still there to be looked into.
 */
export function tree(s) {
  const most = s.stacks.reduce((n, keys) => n + keys.length, 1);
  const key = new Int32Array(most), parent = new Int32Array(most);
  const first = new Int32Array(most), next = new Int32Array(most); // child, sibling; 0: none
  const self = new Float64Array(most);
  // Open addressing: (parent, key) -> node. A power of two, at most half full.
  const mask = 2 ** Math.ceil(Math.log2(most * 2)) - 1, slots = new Int32Array(mask + 1);
  let n = 1;

  key[0] = parent[0] = -1;
  s.stacks.forEach((keys, i) => {
    let node = 0;
    for (const k of keys) {
      let at = (Math.imul(node, 0x9e3779b1) ^ Math.imul(k + 1, 0x85ebca6b)) >>> 7 & mask;
      while (slots[at] && (parent[slots[at]] !== node || key[slots[at]] !== k))
        at = at + 1 & mask;
      if (!slots[at]) {
        slots[at] = n;
        key[n] = k;
        parent[n] = node;
        next[n] = first[node];
        first[node] = n++;
      }
      node = slots[at];
    }
    self[node] += s.values[i];
  });

  const total = self.slice(0, n), weight = self.slice(0, n).map(Math.abs);
  for (let node = n - 1; node > 0; node--) {
    total[parent[node]] += total[node];
    weight[parent[node]] += weight[node];
  }
  const sorted = new Map();
  /** The heaviest first. Sorted when first asked for: most of a tree is never seen. */
  const children = (node) => {
    let list = sorted.get(node);
    if (!list) {
      list = [];
      for (let child = first[node]; child; child = next[child])
        list.push(child);
      list.sort((a, b) => weight[b] - weight[a] || a - b);
      sorted.set(node, list);
    }
    return list;
  };
  return { size: n, key, parent, self, total, weight, children };
}

/** Values by key: [{key, flat, cum}], unsorted. Recursion counts once in cum, as in pprof. */
export function top(s) {
  const flat = new Float64Array(s.keys.length), cum = new Float64Array(s.keys.length);
  const seen = new Int32Array(s.keys.length).fill(-1);

  s.stacks.forEach((keys, i) => {
    const value = s.values[i];
    for (const k of keys)
      if (seen[k] !== i) {
        seen[k] = i;
        cum[k] += value;
      }
    flat[keys[keys.length - 1]] += value;
  });
  const rows = [];
  for (let key = 0; key < s.keys.length; key++)
    if (seen[key] >= 0)
      rows.push({ key, flat: flat[key], cum: cum[key] });
  return rows;
}

/** Who calls `key` and whom it calls: { flat, cum, callers, callees }, of {key, value}, largest
 *  first. An edge counts once in a stack. */
export function peek(s, key) {
  const callers = new Map(), callees = new Map();
  let flat = 0, cum = 0;

  s.stacks.forEach((keys, i) => {
    const value = s.values[i], from = new Set(), to = new Set();
    let is = false;
    keys.forEach((k, at) => {
      if (k !== key)
        return;
      is = true;
      if (at > 0)
        from.add(keys[at - 1]);
      if (at < keys.length - 1)
        to.add(keys[at + 1]);
    });
    if (!is)
      return;
    cum += value;
    if (keys[keys.length - 1] === key)
      flat += value;
    for (const k of from)
      callers.set(k, (callers.get(k) || 0) + value);
    for (const k of to)
      callees.set(k, (callees.get(k) || 0) + value);
  });
  const rows = (map) => [...map].map(([k, value]) => ({ key: k, value }))
    .sort((a, b) => Math.abs(b.value) - Math.abs(a.value) || a.key - b.key);
  return { flat, cum, callers: rows(callers), callees: rows(callees) };
}

/** Values by line of one file: Map of line -> {flat, cum}. `s` is grouped by line. */
export function byLine(s, file) {
  const lines = new Map();
  const seen = new Set();

  s.stacks.forEach((keys, i) => {
    const value = s.values[i], leaf = keys[keys.length - 1];
    seen.clear();
    for (const k of keys) {
      const frame = s.frame[k];
      if (frame.file !== file || !frame.line)
        continue;
      const row = lines.get(frame.line) || { flat: 0, cum: 0 };
      if (!seen.has(frame.line))
        row.cum += value;
      seen.add(frame.line);
      lines.set(frame.line, row);
    }
    const frame = s.frame[leaf];
    if (frame.file === file && frame.line)
      lines.get(frame.line).flat += value;
  });
  return lines;
}

const SCALES = {
  bytes: [[1, "B"], [1024, "KiB"], [1048576, "MiB"], [1073741824, "GiB"], [1099511627776, "TiB"]],
  nanoseconds: [[1, "ns"], [1e3, "µs"], [1e6, "ms"], [1e9, "s"], [60e9, "min"], [3600e9, "h"]],
};

/** A value to read: "1.5 MiB"; with `sign`, "+1.5 MiB" or "−1.5 MiB". */
export function format(value, unit, sign) {
  const size = Math.abs(value);
  let text;
  const scale = SCALES[unit];
  if (scale) {
    const [by, name] = scale.filter((step) => size >= step[0]).pop() || scale[0];
    const n = size / by;
    text = (by === 1 ? String(n) : n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)) + " " + name;
  } else {
    text = size.toLocaleString("en", { maximumFractionDigits: 0 });
  }
  if (value < 0)
    return "−" + text;
  return sign && value > 0 ? "+" + text : text;
}

export function percent(value, total) {
  return total ? (100 * value / total).toFixed(1).replace("-", "−") + " %" : "";
}
