// perfetto.js - a Perfetto trace as objects: of its format what libprof writes (proto/perfetto.proto).
//
// May come from a stranger's file: what is not understood is left out, what is out of range is an Error
// with a sentence, and whatever a slice is said to be within, none is deeper than DEEPEST.
//
//   decodeTrace(bytes) -> Promise of
//   { from, to: nanoseconds,
//     tracks: [{uuid, parent, name, tid, slices: [slice, by begin], deepest}],
//     counters: [{name, unit, points: [[ns, value]]}],
//     flows: Map of number -> {from: slice, to: slice}, process, pid, notes: [sentence] }
//   slice: {track, name, category, begin, end, depth, notes: [[name, value]], out: [flow], into: [flow],
//           stack: [function, leaf first]}
import { Reader, gunzip } from "./pprof.js";

const DEEPEST = 64;
const MAX_EVENTS = 4000000;
const BEGIN = 1, END = 2, INSTANT = 3, COUNTER = 4;

const utf8 = new TextDecoder();
const text = (r) => utf8.decode(r.bytes.subarray(r.at, Math.min(r.end, r.at + 4096)));

function fixed(r) {
  if (r.at + 8 > r.end)
    throw new Error("This is no trace: a number is cut short.");
  const view = new DataView(r.bytes.buffer, r.bytes.byteOffset + r.at, 8);
  r.at += 8;
  return view.getUint32(4, true) * 4294967296 + view.getUint32(0, true);
}

/** A message as {field number: [values]}: numbers, or readers of parts. */
function message(r) {
  const out = {};
  r.fields((field, wire) => {
    const value = wire === 0 ? r.number() : wire === 1 ? fixed(r) : wire === 2 ? r.part() : undefined;
    if (value !== undefined)
      (out[field] ||= []).push(value);
  });
  return out;
}

const last = (m, field) => (m[field] ? m[field][m[field].length - 1] : undefined);
const number = (m, field) => (typeof last(m, field) === "number" ? last(m, field) : 0);
const string = (m, field) => {
  const r = last(m, field);
  return r && typeof r === "object" ? text(r) : "";
};
const parts = (m, field) => (m[field] || []).filter((v) => typeof v === "object");
const numbers = (m, field) => (m[field] || []).flatMap((v) => {
  if (typeof v === "number")
    return [v];
  const all = [];
  while (v.at < v.end && all.length < 1024)
    all.push(v.number());
  return all;
});

class Tables {
  constructor() {
    this.clear();
  }

  clear() {
    for (const name of ["category", "name", "note", "function", "frame", "stack"])
      this[name] = new Map();
  }

  add(interned) {
    const named = (field, map) => {
      for (const r of parts(interned, field)) {
        const entry = message(r);
        map.set(number(entry, 1), string(entry, 2));
      }
    };
    named(1, this.category);
    named(2, this.name);
    named(3, this.note);
    named(5, this.function);
    for (const r of parts(interned, 6)) {
      const frame = message(r);
      this.frame.set(number(frame, 1), this.function.get(number(frame, 2)) ||
        "0x" + number(frame, 4).toString(16));
    }
    for (const r of parts(interned, 7)) {
      const stack = message(r);
      this.stack.set(number(stack, 1),
        numbers(stack, 2).map((f) => this.frame.get(f) || "?").reverse());
    }
  }
}

class Builder {
  constructor() {
    this.tables = new Tables();
    this.tracks = new Map();
    this.counters = new Map();
    this.flows = new Map();
    this.open = new Map();
    this.events = 0;
    this.out = { from: Infinity, to: -Infinity, process: "", pid: 0, notes: [] };
  }

  track(descriptor) {
    const uuid = number(descriptor, 1), process = last(descriptor, 3), thread = last(descriptor, 4);
    const counter = last(descriptor, 8);
    if (typeof process === "object") {
      const p = message(process);
      this.out.process = string(p, 6);
      this.out.pid = number(p, 1);
      this.out.notes = parts(p, 8).map(text);
    } else if (typeof counter === "object") {
      this.counters.set(uuid, { name: string(descriptor, 2), unit: string(message(counter), 6),
        points: [] });
    } else if (!this.tracks.has(uuid)) {
      const t = typeof thread === "object" ? message(thread) : {};
      this.tracks.set(uuid, { uuid, name: string(t, 5) || string(descriptor, 2) || "unnamed", parent: number(descriptor, 5),
        tid: number(t, 2), slices: [], deepest: 0 });
    }
  }

  note(r) {
    const m = message(r), name = this.tables.note.get(number(m, 1)) || "note";
    const value = m[6] ? string(m, 6) : m[7] ? "0x" + number(m, 7).toString(16)
      : m[2] ? Boolean(number(m, 2)) : number(m, m[3] ? 3 : 4);
    return [name, value];
  }

  event(ns, e) {
    const type = number(e, 9), uuid = number(e, 11), track = this.tracks.get(uuid);

    if (++this.events > MAX_EVENTS)
      throw new Error(`The trace has more than ${MAX_EVENTS} events: too many for this page.`);
    this.out.from = Math.min(this.out.from, ns);
    this.out.to = Math.max(this.out.to, ns);
    if (type === COUNTER) {
      this.counters.get(uuid)?.points.push([ns, number(e, 30)]);
      return;
    }
    if (!track)
      return;
    const open = this.open.get(uuid) || [];
    this.open.set(uuid, open);
    if (type === END) {
      const over = open.pop();
      if (over)
        over.end = ns;
      return;
    }
    if (type !== BEGIN && type !== INSTANT)
      return;
    const slice = {
      track, name: e[10] ? this.tables.name.get(number(e, 10)) || "?" : string(e, 23),
      category: this.tables.category.get(numbers(e, 3)[0]) || "", begin: ns, end: ns,
      depth: Math.min(open.length, DEEPEST), moment: type === INSTANT,
      notes: parts(e, 4).map((r) => this.note(r)), out: numbers(e, 47), into: numbers(e, 48),
      stack: this.tables.stack.get(number(e, 56)) || [],
    };
    for (const flow of slice.out)
      this.flows.set(flow, { ...this.flows.get(flow), from: slice });
    for (const flow of slice.into)
      this.flows.set(flow, { ...this.flows.get(flow), to: slice });
    track.slices.push(slice);
    track.deepest = Math.max(track.deepest, slice.depth + 1);
    if (type === BEGIN)
      open.push(slice);
  }

  packet(r) {
    const p = message(r);
    if (number(p, 13) & 1)
      this.tables.clear();
    if (typeof last(p, 12) === "object")
      this.tables.add(message(last(p, 12)));
    if (typeof last(p, 60) === "object")
      this.track(message(last(p, 60)));
    if (typeof last(p, 11) === "object")
      this.event(number(p, 8), message(last(p, 11)));
  }

  finish() {
    for (const open of this.open.values())
      for (const slice of open)
        slice.end = Math.max(this.out.to, slice.begin);
    for (const [flow, ends] of this.flows)
      if (!ends.from || !ends.to)
        this.flows.delete(flow);
    return { ...this.out, tracks: [...this.tracks.values()],
      counters: [...this.counters.values()].filter((c) => c.points.length), flows: this.flows };
  }
}

export async function decodeTrace(input) {
  const bytes = input[0] === 0x1f && input[1] === 0x8b ? await gunzip(input) : input;
  const r = new Reader(bytes), b = new Builder();

  r.fields((field, wire) => {
    if (field === 1 && wire === 2)
      b.packet(r.part());
  });
  if (!b.tracks.size)
    throw new Error("This is no trace, or an empty one: it has no tracks.");
  return b.finish();
}
