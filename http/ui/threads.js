// threads.js - the text of threads?debug=2 as threads: a block for each, whose lines that begin with
// "#" tell what is known of it besides its stack.
//
//   # deadlock: 2 threads wait for each other, and none can go on
//   #   thread 11 (writer) waits for mutex 0x55, held by thread 12 (reader)
//
//   thread 11 [sleeping in futex, futex_wait_queue]:
//   # name: writer
//   # processor time: 1.250 s
//   # labels: {"queue":"mail"}
//   # waits for mutex 0x55 for 1.250 s, held by thread 12 (reader) for 2.000 s; part of a deadlock
//   pool_wait()
//   	/src/pool.c:118 +0x7f12

import { cleanPath } from "./pprof.js";

const HEAD = /^(?:thread|goroutine) (\d+) \[(.*)\]:$/;
const SINCE = "(?: for ([\\d.]+) s)?";
const WAITS = new RegExp(
  `^waits for (.*?)${SINCE}(?:, held by (.*?)${SINCE})?(; part of a deadlock)?$`);

function place(line) {
  const [, file, number, address] = /^\t(.*):(\d+) \+0x([0-9a-f]+)$/.exec(line) || [];
  return file ? { file: file === "??" ? "" : cleanPath(file), line: Number(number), address } : null;
}

/**
 * -> { deadlocks: [[line]], the first a sentence,
 *      threads: [{ id, state, name, cpuS: NaN if not told, labels: [[key, value]], waits: "" or for
 *        what, waitS, holder, holderS, dead: in a deadlock, frames: [{name, file, line, address: in
 *        hexadecimal}] leaf first }] }
 */
export function parseThreads(text) {
  const out = { deadlocks: [], threads: [] };
  let thread = null;

  for (const line of text.split("\n")) {
    const head = HEAD.exec(line), last = out.deadlocks[out.deadlocks.length - 1];
    if (head) {
      thread = { id: Number(head[1]), state: head[2], name: "", cpuS: NaN, labels: [], waits: "",
        waitS: NaN, holder: "", holderS: NaN, dead: false, frames: [] };
      out.threads.push(thread);
    } else if (line === "") {
      thread = null;
    } else if (!thread && line.startsWith("# deadlock: ")) {
      out.deadlocks.push([line.slice("# deadlock: ".length)]);
    } else if (!thread && line.startsWith("#   ") && last) {
      last.push(line.slice(4));
    } else if (thread && line.startsWith("# ")) {
      about(thread, line.slice(2));
    } else if (thread && line.startsWith("\t")) {
      Object.assign(thread.frames[thread.frames.length - 1] || {}, place(line));
    } else if (thread) {
      thread.frames.push({ name: line.replace(/\(\)$/, ""), file: "", line: 0, address: "" });
    }
  }
  return out;
}

function about(thread, text) {
  const [, key, value] = /^([a-z ]+): (.*)$/.exec(text) || [];
  const waits = WAITS.exec(text);

  if (key === "name") {
    thread.name = value;
  } else if (key === "processor time") {
    thread.cpuS = parseFloat(value);
  } else if (key === "labels") {
    try {
      thread.labels = Object.entries(JSON.parse(value)).map(([k, v]) => [k, String(v)]);
    } catch {
      thread.labels = [["labels", value]];
    }
  } else if (waits) {
    [, thread.waits] = waits;
    thread.waitS = parseFloat(waits[2]);
    thread.holder = waits[3] || "";
    thread.holderS = parseFloat(waits[4]);
    thread.dead = Boolean(waits[5]);
  }
}

/** Threads with the same functions on their stacks together, the most of them first; deadlocked ones
 *  before all others. [{ threads, frames, dead }] */
export function groupThreads(threads) {
  const groups = new Map();
  for (const thread of threads) {
    const id = JSON.stringify([thread.dead, thread.frames.map((f) => [f.name, f.file, f.line])]);
    if (!groups.has(id))
      groups.set(id, { threads: [], frames: thread.frames, dead: thread.dead });
    groups.get(id).threads.push(thread);
  }
  return [...groups.values()].sort((a, b) => b.dead - a.dead || b.threads.length - a.threads.length);
}
