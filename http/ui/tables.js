// tables.js - sums over a selection: by function, by caller and callee, by line, by label, by size.
import { labelValue, typeIndex } from "./model.js";

/** Values by key: [{key, flat, cum}], unsorted. Recursion counts once in cum, as in pprof. */
export function top(s) {
  const flat = new Float64Array(s.keys.length), cum = new Float64Array(s.keys.length);
  const seen = new Int32Array(s.keys.length).fill(-1);

  for (let i = 0; i < s.count; i++) {
    const value = s.values[i];
    for (let p = s.at[i]; p < s.at[i + 1]; p++) {
      const k = s.path[p];
      if (seen[k] !== i) {
        seen[k] = i;
        cum[k] += value;
      }
    }
    flat[s.path[s.at[i + 1] - 1]] += value;
  }
  const rows = [];
  for (let key = 0; key < s.keys.length; key++)
    if (seen[key] >= 0)
      rows.push({ key, flat: flat[key], cum: cum[key] });
  return rows;
}

/** Is `key` in stack i? */
export function holds(s, i, key) {
  for (let p = s.at[i]; p < s.at[i + 1]; p++)
    if (s.path[p] === key)
      return true;
  return false;
}

/** Who calls `key` and whom it calls: { flat, cum, callers, callees }, of {key, value}, largest
 *  first. An edge counts once in a stack. */
export function peek(s, key) {
  const callers = new Map(), callees = new Map();
  let flat = 0, cum = 0;

  for (let i = 0; i < s.count; i++) {
    const value = s.values[i], from = new Set(), to = new Set();
    let is = false;
    for (let p = s.at[i]; p < s.at[i + 1]; p++) {
      if (s.path[p] !== key)
        continue;
      is = true;
      if (p > s.at[i])
        from.add(s.path[p - 1]);
      if (p < s.at[i + 1] - 1)
        to.add(s.path[p + 1]);
    }
    if (!is)
      continue;
    cum += value;
    if (s.path[s.at[i + 1] - 1] === key)
      flat += value;
    for (const k of from)
      callers.set(k, (callers.get(k) || 0) + value);
    for (const k of to)
      callees.set(k, (callees.get(k) || 0) + value);
  }
  const rows = (map) => [...map].map(([k, value]) => ({ key: k, value }))
    .sort((a, b) => Math.abs(b.value) - Math.abs(a.value) || a.key - b.key);
  return { flat, cum, callers: rows(callers), callees: rows(callees) };
}

/** Values by line of one file: Map of line -> {flat, cum}. `s` is grouped by line. */
export function byLine(s, file) {
  const lines = new Map();
  const rowOf = (line) => {
    if (!lines.has(line))
      lines.set(line, { flat: 0, cum: 0 });
    return lines.get(line);
  };

  for (let i = 0; i < s.count; i++) {
    const seen = new Set(), last = s.at[i + 1] - 1;
    for (let p = s.at[i]; p <= last; p++) {
      const frame = s.frame[s.path[p]];
      if (frame.file !== file || !frame.line || seen.has(frame.line))
        continue;
      seen.add(frame.line);
      rowOf(frame.line).cum += s.values[i];
    }
    const leaf = s.frame[s.path[last]];
    if (leaf.file === file && leaf.line)
      rowOf(leaf.line).flat += s.values[i];
  }
  return lines;
}

/** All keys of labels: [{key, isNumber}], by name. */
export function labelKeys(profiles) {
  const keys = new Map();
  for (const profile of profiles)
    for (const list of profile.labels)
      for (const { key, text } of list)
        if (!keys.has(key))
          keys.set(key, { key, isNumber: text === null });
  return [...keys.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** Sums by the value of one label, largest first: [{value, sum, stacks}]; null: without it. */
export function byLabel(s, profile, base, key) {
  const rows = new Map();
  for (let i = 0; i < s.count; i++) {
    const at = s.sample[i], labels = at < 0 ? base.labels[~at] : profile.labels[at];
    const value = labelValue(labels, key);
    const row = rows.get(value) || { value, sum: 0, stacks: 0 };
    row.sum += s.values[i];
    row.stacks++;
    rows.set(value, row);
  }
  return [...rows.values()].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
}

/**
 * Blocks by their size, the numeric label `bytes`: [{from, to, sizes, values}], smallest first, one row
 * for each power of two, those between that have none included. values: one sum for each of `types`.
 * key < 0: of all stacks.
 */
export function bySize(s, profile, base, key, types) {
  const rows = new Map();
  for (let i = 0; i < s.count; i++) {
    const at = s.sample[i], from = at < 0 ? base : profile, index = at < 0 ? ~at : at;
    const label = from.labels[index].find((l) => l.key === "bytes" && l.text === null);
    if (!label || (key >= 0 && !holds(s, i, key)))
      continue;
    const power = label.number < 1 ? 0 : Math.floor(Math.log2(label.number));
    const row = rows.get(power) || { sizes: new Set(), values: types.map(() => 0) };
    row.sizes.add(label.number);
    types.forEach((type, k) => {
      row.values[k] += (at < 0 ? -1 : 1) * from.values[typeIndex(from, type)][index];
    });
    rows.set(power, row);
  }
  if (!rows.size)
    return [];
  const powers = [...rows.keys()], out = [];
  for (let p = Math.min(...powers); p <= Math.max(...powers); p++)
    out.push({ from: 2 ** p, to: 2 ** (p + 1) - 1, sizes: new Set(), values: types.map(() => 0),
      ...rows.get(p) });
  return out;
}

/** The selection as folded stacks, equal ones added up, largest first. */
export function folded(s) {
  const rows = new Map();
  for (let i = 0; i < s.count; i++) {
    const stack = [];
    for (let p = s.at[i]; p < s.at[i + 1]; p++)
      stack.push(s.keys[s.path[p]].replace(/;/g, ":").replace(/[\r\n]/g, "?"));
    const text = stack.join(";");
    rows.set(text, (rows.get(text) || 0) + s.values[i]);
  }
  return [...rows].filter(([, value]) => value !== 0)
    .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))
    .map(([stack, value]) => `${stack} ${value}\n`).join("");
}
