// captures.js - profiles at hand: taken from the program, opened from files, kept in the browser.
//
// A capture: { at: when, in ms, and its name in the URL; name, title; query: parameters that it was asked
// for with; seconds: of a window; file: it was opened; program: {program, process, host, startedMs} it
// is of, or null; totals: {type: sum} at the end of a window; detail: text that belongs to it; bytes;
// profile: decoded }. bytes and profile are there after ready().
import { clock } from "./format.js";
import { decodeFolded, isFolded } from "./folded.js";
import { decode } from "./pprof.js";
import { kept, known } from "./profiles.js";
import * as server from "./server.js";
import * as store from "./store.js";

const DECODED = 4; // profiles in memory in their large form

/** The newest first. */
export const captures = [];
let used = []; // decoded ones, the last used first

export function find(name, at) {
  return captures.find((c) => c.at === at && (!name || c.name === name));
}

/** What the program has kept does not change: one that is at hand will do. */
export function findKept(name) {
  return kept(name) ? captures.find((c) => c.name === name && !c.file) : undefined;
}

function add(capture) {
  captures.unshift(capture);
  captures.sort((a, b) => b.at - a.at);
  captures.splice(store.KEPT);
}

function titleOf(name, seconds, query, at) {
  const title = known(name).title + (query && " " + [...new URLSearchParams(query)].map(
    ([key, value]) => `${key}=${value}`).join(" "));
  const window = !seconds ? "" : name === "profile" ? ` ${seconds} s` : ` in ${seconds} s`;
  return `${title}${window}, ${clock(at)}`;
}

async function parse(bytes) {
  return isFolded(bytes) ? decodeFolded(bytes) : decode(bytes);
}

function sums(profile) {
  return Object.fromEntries(profile.types.map((type, k) =>
    [type.type, profile.values[k].reduce((a, b) => a + b, 0)]));
}

/** A number that is no other capture's. */
function moment() {
  let at = Date.now();
  while (find("", at))
    at++;
  return at;
}

/** Take a profile from the program; `about` tells which that is, `signal` gives it up. */
export async function take(name, seconds, query, about, signal) {
  const bytes = await server.profile(name, seconds, query, signal);
  const profile = await parse(bytes), { detail, window } = known(name), at = moment();
  const capture = {
    at, name, query, seconds, file: false, title: titleOf(name, seconds, query, at), detail: null,
    totals: null, bytes, profile, program: null,
  };
  if (seconds && window !== "only") // what it has grown to
    capture.totals = sums(await parse(await server.profile(name, 0, query, signal)));
  if (detail)
    capture.detail = await server.text(name, detail, signal);
  const info = await about(), from = kept(name);
  if (from && profile.timeMs) // not of now, and maybe of an earlier process
    capture.title = titleOf(name, 0, query, profile.timeMs);
  if (info && (!from || (from.process === info.process && profile.timeMs > info.startedMs - 5000)))
    capture.program = { program: info.program, process: info.process, host: info.host,
      startedMs: info.startedMs };
  add(capture);
  remember(capture);
  return capture;
}

export async function open(file) {
  const bytes = new Uint8Array(await file.arrayBuffer()), profile = await parse(bytes);
  const capture = {
    at: moment(), name: file.name, query: "", seconds: 0, file: true, title: file.name,
    detail: null, totals: null, program: null, bytes, profile,
  };
  add(capture);
  remember(capture);
  return capture;
}

function remember(capture) {
  const { bytes, profile, ...item } = capture;
  store.keep(item, bytes);
  touch(capture);
}

/** What the browser has kept. */
export async function load() {
  for (const item of await store.list())
    if (!find("", item.at))
      captures.push({ ...item, bytes: null, profile: null });
  captures.sort((a, b) => b.at - a.at);
  for (const old of captures.splice(store.KEPT))
    store.forget(old.at);
}

function touch(capture) {
  used = [capture, ...used.filter((c) => c !== capture)];
  for (const old of used.splice(DECODED))
    old.profile = null;
}

/** Its profile, decoded. False: the browser has let it go. */
export async function ready(capture) {
  capture.bytes ||= await store.bytesOf(capture.at);
  if (!capture.bytes) {
    captures.splice(captures.indexOf(capture), 1);
    return false;
  }
  capture.profile ||= await parse(capture.bytes);
  touch(capture);
  return true;
}

/** Is it of the process that serves this page? Only then does an address mean the same there. */
export function isHere(capture, info) {
  return Boolean(info && capture.program && capture.program.process === info.process &&
    capture.program.host === info.host &&
    Math.abs(capture.program.startedMs - info.startedMs) < 5000);
}

/** "program.pid.profile.time.pb.gz" */
export function fileName(capture) {
  const clean = (text) => String(text).replace(/[^\w.-]+/g, "_");
  if (capture.file || kept(capture.name))
    return clean(capture.name.split("/").pop());
  const time = new Date(capture.at - new Date(capture.at).getTimezoneOffset() * 60000)
    .toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
  const program = capture.program && capture.program.program.split("/").pop() || "program";
  const what = capture.seconds && capture.name !== "profile"
    ? `${capture.name}-${capture.seconds}s` : capture.name;
  return [program, capture.program ? capture.program.process : 0, what, time]
    .map(clean).join(".") + ".pb.gz";
}
