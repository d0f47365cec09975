// app.js - the page: takes profiles from the server, keeps the last ones, and shows one of them.
//
// Names in a profile are a stranger's text. They reach the page as text nodes and attribute values
// only; the policy the page is served with forbids everything else.
import { decode } from "./pprof.js";
import { Flame } from "./flame.js";
import { byLine, format, labelsOf, matcher, peek, percent, select, top, tree, typeIndex }
  from "./model.js";

const KEPT = 20; // captures in memory
const ROWS = 500; // of a table, before "show all"
const SHORT = 300; // letters of a name in a table
const TABS = ["flame", "top", "peek", "source", "about"];
const CPU_SECONDS = [5, 10, 30];
// On the index, but no profile, or one that has buttons already under another name.
const LEFT_OUT = ["cmdline", "symbol", "profile", "goroutine"];

/** Everything the page shows follows from this. Exported for its tests. */
export const state = {
  captures: [], // {title, name, bytes, profile, here: of this server's process}
  shown: null, // one of them
  base: null, // another one to subtract, or null
  type: "",
  typeOf: "", // the name of the profile it was chosen for
  group: "function",
  search: "", focus: "", ignore: "", hide: "",
  label: null,
  tab: "flame",
  key: null, // text of the function that callers and source are about
  sort: { by: "flat", up: false },
  all: false, // every row of the table
  selection: null,
  tree: null,
};

const $ = (id) => document.getElementById(id);
let flame;
let abort = null; // of the capture under way

/** An element with attributes, and children that are elements or text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick")
      element.addEventListener("click", value);
    else if (value !== undefined)
      element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function shorten(text) {
  return text.length > SHORT ? text.slice(0, SHORT) + "…" : text;
}

function say(...sentences) {
  $("notice").replaceChildren(...sentences.map((text) => make("p", {}, text)));
}

// --- taking profiles ---------------------------------------------------------------------------------

/** The path of a profile as a URL relative to this page. */
function pathOf(name) {
  return "../" + name.split("/").map(encodeURIComponent).join("/");
}

function isName(name) {
  return name !== "" && name.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

/** The sentence of an error answer. */
async function reason(response) {
  const text = (await response.text()).trim().split("\n")[0];
  return text || `the server answered ${response.status}`;
}

/** Fetch name, watched for `seconds` (0: as it is now), and show it. */
export async function capture(name, seconds = 0) {
  if (abort)
    return;
  abort = new AbortController();
  const begin = performance.now();
  const title = seconds ? `${name} for ${seconds} s` : name;
  const tick = setInterval(() => {
    const gone = (performance.now() - begin) / 1000;
    $("progress-bar").value = seconds ? Math.min(gone / seconds, 1) : 0;
    $("progress-text").textContent = seconds && gone < seconds
      ? `${title}: ${Math.ceil(seconds - gone)} s to go` : `${title} …`;
  }, 100);
  $("progress-text").textContent = `${title} …`;
  $("progress-bar").value = 0;
  $("progress").hidden = false;
  setBusy(true);
  try {
    const url = pathOf(name) + (seconds ? `?seconds=${seconds}` : "");
    const response = await fetch(url, { signal: abort.signal, cache: "no-store" });
    if (!response.ok)
      throw new Error(await reason(response));
    await take(title, name, new Uint8Array(await response.arrayBuffer()), true);
  } catch (error) {
    say(error.name === "AbortError" ? `${title}: cancelled.` : `${title}: ${error.message}`);
  } finally {
    clearInterval(tick);
    $("progress").hidden = true;
    abort = null;
    setBusy(false);
  }
}

function setBusy(busy) {
  for (const button of $("sources").querySelectorAll("button"))
    button.disabled = busy;
}

/** Decode and show. `here`: it came from this server. */
async function take(title, name, bytes, here) {
  const profile = await decode(bytes);
  const time = new Date(profile.timeMs || Date.now()).toLocaleTimeString("en-GB");
  const entry = { title: `${title}, ${time}`, name, bytes, profile, here };

  state.captures.unshift(entry);
  for (const old of state.captures.splice(KEPT))
    if (old === state.base)
      state.base = null;
  state.shown = entry;
  if (state.base && typeIndex(state.base.profile, entry.profile.types[0].type) < 0)
    state.base = null;
  state.key = null;
  chooseType();
  refresh();
}

export async function openFile(file) {
  try {
    await take(file.name, file.name, new Uint8Array(await file.arrayBuffer()), false);
  } catch (error) {
    say(`${file.name}: ${error.message}`);
  }
}

function download() {
  const url = URL.createObjectURL(new Blob([state.shown.bytes]));
  const name = state.shown.name.replace(/[^\w.-]+/g, "_").replace(/\.pb\.gz$/, "") + ".pb.gz";
  const link = make("a", { href: url, download: name });

  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** A button for each profile. Their names come from the index, whose rows are plain links. */
async function listSources() {
  const found = ["heap", "allocs", "threads", "mutex", "block"];
  try {
    const index = await (await fetch("../", { cache: "no-store" })).text();
    for (const [, path] of index.matchAll(/<td><a href='([^'?]+)\?debug=1'>/g)) {
      const name = decodeURIComponent(path);
      if (!found.includes(name) && !LEFT_OUT.includes(name) && isName(name))
        found.push(name);
    }
    const program = index.match(/<code>([^<]*)<\/code>, process (\d+)/);
    if (program)
      document.title = `libprof: ${program[1].split("/").pop()} ${program[2]}`;
  } catch {
    // Opened without its server: local files can be looked at all the same.
  }
  const buttons = found.map((name) =>
    make("button", { type: "button", "data-name": name, onclick: () => capture(name) },
      shorten(name)));
  for (const seconds of CPU_SECONDS)
    buttons.push(make("button", { type: "button", "data-name": `cpu${seconds}`,
      onclick: () => capture("profile", seconds) }, `CPU ${seconds} s`));
  $("sources").replaceChildren(...buttons);
  setBusy(abort !== null);
}

// --- controls -----------------------------------------------------------------------------------------

function chooseType() {
  const { profile } = state.shown;
  if (typeIndex(profile, state.type) < 0 || state.typeOf !== state.shown.name)
    state.type = profile.types[profile.shown].type;
  state.typeOf = state.shown.name;
}

function unit() {
  const { profile } = state.shown;
  return profile.types[typeIndex(profile, state.type)].unit;
}

function fill(element, options, chosen) {
  element.replaceChildren(...options.map(([text], i) => make("option", { value: i }, text)));
  element.selectedIndex = Math.max(options.findIndex(([, value]) => value === chosen), 0);
}

/** Bring every control in line with the state. */
function showControls() {
  const { profile } = state.shown, bases = [["nothing", null]];
  const labels = labelsOf(state.base ? [profile, state.base.profile] : [profile]);

  for (const entry of state.captures)
    if (entry !== state.shown && typeIndex(entry.profile, profile.types[0].type) >= 0)
      bases.push([shorten(entry.title), entry]);
  state.bases = bases;
  state.labels = [["all", null], ...labels.map((l) => [shorten(`${l.key}=${l.text}`), l])];
  const same = state.label && labels.find(
    (l) => l.key === state.label.key && l.text === state.label.text);
  state.label = same || null;
  fill($("shown"), state.captures.map((e) => [shorten(e.title), e]), state.shown);
  fill($("base"), bases, state.base);
  fill($("type"), profile.types.map((t) => [shorten(`${t.type} (${t.unit})`), t.type]),
    state.type);
  fill($("label"), state.labels, state.label);
  $("label").disabled = labels.length === 0;
  for (const name of ["group", "search", "focus", "ignore", "hide"])
    if ($(name).value !== state[name])
      $(name).value = state[name];
  for (const id of ["captures", "filters", "tabs"])
    $(id).hidden = false;
  for (const tab of TABS) {
    const on = tab === state.tab;
    $(tab).hidden = !on;
    $(`tab-${tab}`).setAttribute("aria-selected", on);
    $(`tab-${tab}`).tabIndex = on ? 0 : -1;
  }
  $("flip").hidden = state.tab !== "flame";
}

/** What the profile says about itself, and that it is empty. */
function showNotice() {
  const { profile } = state.shown, sentences = [...profile.comments];

  if (!state.selection.stacks.length) {
    const any = profile.values.some((column) => column.some((v) => v !== 0));
    sentences.unshift(
      any ? "Nothing to show: no stack has such values and passes the filters."
        : profile.durationS ? "This profile is empty: nothing was recorded in that time."
          : "This profile is empty: nothing has been recorded so far.");
  } else if (state.base && !state.tree.weight[0]) {
    sentences.unshift("No difference between the two.");
  }
  say(...sentences);
}

/** Compute the selection anew, and show it. */
export function refresh() {
  if (!state.shown)
    return;
  state.selection = select(state.shown.profile, state.base && state.base.profile, state);
  state.tree = tree(state.selection);
  flame.show(state.selection, state.tree, unit());
  showNotice();
  render();
}

function render() {
  showControls();
  flame.layout();
  showSearch();
  showDetail(flame.marked);
  if (state.tab === "top")
    showTop();
  else if (state.tab === "peek")
    showPeek();
  else if (state.tab === "source")
    showSource();
  else if (state.tab === "about")
    showAbout();
}

function openTab(tab) {
  state.tab = tab;
  render();
}

// --- the flame graph's companions -----------------------------------------------------------------------

/** The keys that match the search; null: there is none. */
function matches() {
  const test = matcher(state.search);
  return test && state.selection.frame.map((frame, i) =>
    test(state.group === "function" ? frame : { ...frame, name: state.selection.keys[i] }));
}

/** Values of the stacks with a match, each counted once. */
function matchedValue(found) {
  let sum = 0;
  state.selection.stacks.forEach((keys, i) => {
    if (keys.some((k) => found[k]))
      sum += state.selection.values[i];
  });
  return sum;
}

function showSearch() {
  flame.search(matches());
}

function showDetail(node) {
  const text = [flame.describe(node)], found = matches();

  if (found)
    text.push(`Search: ${format(matchedValue(found), unit(), state.selection.isSigned)} ` +
      `(${percent(matchedValue(found), state.tree.weight[0])})`);
  $("detail").hidden = false;
  $("detail-text").replaceChildren(...text.map((t) => make("div", {}, t)));
  const name = node ? flame.name(node) : null;
  const exact = name && "^" + name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") + "$";
  const buttons = name ? [
    ["Zoom", () => flame.zoom(node)],
    ["Callers", () => openPeek(name)],
    ["Focus", () => filter("focus", exact)],
    ["Ignore", () => filter("ignore", exact)],
  ] : [];
  const frame = name && flame.frame(node);
  if (frame && frame.file && state.shown.here)
    buttons.push(["Source", () => openSource(name)]);
  if (flame.root)
    buttons.push(["Zoom out", () => flame.zoom(0)]);
  $("detail-buttons").replaceChildren(...buttons.map(([label, onclick]) =>
    make("button", { type: "button", onclick }, label)));
}

function filter(name, pattern) {
  state[name] = pattern;
  refresh();
}

function openPeek(name) {
  state.key = name;
  openTab("peek");
}

function openSource(name) {
  state.key = name;
  openTab("source");
}

// --- tables -------------------------------------------------------------------------------------------

/** A cell with a value; in a difference with a sign, and an arrow that does not need its colour. */
function valueCell(value) {
  const signed = state.selection.isSigned;
  const text = format(value, unit(), signed);
  if (!signed || value === 0)
    return make("td", { "data-value": value }, text);
  return make("td", { "data-value": value, class: value > 0 ? "grown" : "shrunk" },
    `${value > 0 ? "▲" : "▼"} ${text}`);
}

function nameCell(key, onclick) {
  const name = state.selection.keys[key], frame = state.selection.frame[key];
  const cell = make("td", { class: "name" },
    make("button", { type: "button", title: shorten(name), onclick }, shorten(name)));
  if (frame.inlined && (state.group === "function" || state.group === "line"))
    cell.append(make("span", { class: "where" }, "(inlined)"));
  if (state.group === "function" && frame.file)
    cell.append(make("span", { class: "where" }, shorten(frame.file)));
  return cell;
}

function showTop() {
  const { selection, sort } = state, all = state.tree.weight[0], found = matches();
  const name = (row) => selection.keys[row.key];
  const rows = top(selection);
  const way = sort.up ? 1 : -1;

  rows.sort(sort.by === "name"
    ? (a, b) => way * (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0)
    : (a, b) => way * (Math.abs(a[sort.by]) - Math.abs(b[sort.by])) || b.cum - a.cum ||
      (name(a) < name(b) ? -1 : 1));
  const shown = rows.filter((row) => !found || found[row.key]);
  const limited = state.all ? shown : shown.slice(0, ROWS);
  const head = (by, text) => make("th", { scope: "col",
    "aria-sort": sort.by === by ? (sort.up ? "ascending" : "descending") : "none" },
  make("button", { type: "button", onclick: () => {
    state.sort = { by, up: sort.by === by ? !sort.up : by === "name" };
    showTop();
  } }, text + (sort.by === by ? (sort.up ? " ↑" : " ↓") : "")));
  const table = make("table", { id: "top-table" },
    make("thead", {}, make("tr", {}, head("flat", "flat"),
      make("th", { class: "wide", scope: "col" }, "flat %"), head("cum", "cum"),
      make("th", { class: "wide", scope: "col" }, "cum %"), head("name", state.group))),
    make("tbody", {}, ...limited.map((row) =>
      make("tr", found ? { class: "found" } : {}, valueCell(row.flat),
        make("td", { class: "wide" }, percent(row.flat, all)), valueCell(row.cum),
        make("td", { class: "wide" }, percent(row.cum, all)),
        nameCell(row.key, () => openPeek(name(row)))))));

  $("top").replaceChildren(table);
  if (limited.length < shown.length)
    $("top").append(make("p", { class: "text" }, make("button", { type: "button", onclick: () => {
      state.all = true;
      showTop();
    } }, `Show all ${shown.length}`)));
}

/** The key that callers, callees and source are about; the largest when none was chosen. */
function chosenKey() {
  const { selection } = state;
  const key = selection.keys.indexOf(state.key);
  if (key >= 0)
    return key;
  const rows = top(selection).sort((a, b) => Math.abs(b.flat) - Math.abs(a.flat));
  return rows.length ? rows[0].key : -1;
}

function showPeek() {
  const key = chosenKey(), { selection } = state, all = state.tree.weight[0];

  if (key < 0) {
    $("peek").replaceChildren();
    return;
  }
  const p = peek(selection, key);
  const table = (id, rows) => make("table", { id }, make("tbody", {}, ...rows.map((row) =>
    make("tr", {}, valueCell(row.value), make("td", { class: "wide" }, percent(row.value, all)),
      nameCell(row.key, () => openPeek(selection.keys[row.key]))))));
  const own = make("table", { id: "peek-self" }, make("tbody", {},
    make("tr", {}, valueCell(p.flat), make("td", {}, "itself")),
    make("tr", {}, valueCell(p.cum), make("td", {}, "with all it calls"))));
  const none = (text) => make("p", { class: "text" }, text);

  $("peek").replaceChildren(
    make("h2", { class: "text" }, "Called by"),
    p.callers.length ? table("callers", p.callers) : none("Nobody: it is where stacks begin."),
    make("h2", { class: "text", id: "peek-name" }, shorten(selection.keys[key])), own,
    make("h2", { class: "text" }, "Calls"),
    p.callees.length ? table("callees", p.callees) : none("Nothing that shows in this profile."));
}

// --- source and about -----------------------------------------------------------------------------------

/** Ask the server for the file of a frame: by address, since it serves no file by name. */
async function fetchSource(frame) {
  const address = "0x" + BigInt(frame.address).toString(16);
  const response = await fetch(`source?address=${address}&depth=${frame.depth}`);

  if (!response.ok)
    throw new Error(await reason(response));
  const text = await response.text(), end = text.indexOf("\n");
  return { file: text.slice(0, end), lines: text.slice(end + 1).split("\n") };
}

async function showSource() {
  const key = chosenKey(), panel = $("source");
  const note = (text) => panel.replaceChildren(make("p", { class: "text" }, text));

  if (key < 0 || !state.shown.here)
    return note(key < 0 ? "Nothing to show." :
      "Source is read by the process that the profile is of, and this one was opened from a file.");
  const frame = state.selection.frame[key];
  if (!frame.file)
    return note(`No source file is known for ${shorten(state.selection.keys[key])}.`);
  note("Reading …");
  let source;
  try {
    source = await fetchSource(frame);
  } catch (error) {
    return note(error.message);
  }
  const lines = byLine(select(state.shown.profile, state.base && state.base.profile,
    { ...state, group: "line" }), frame.file);
  const body = source.lines.map((text, i) => {
    const row = lines.get(i + 1), empty = () => make("td", {});
    return make("tr", { id: `line-${i + 1}`, class: row ? "found" : undefined },
      row && row.flat ? valueCell(row.flat) : empty(), row ? valueCell(row.cum) : empty(),
      make("td", {}, String(i + 1)), make("td", { class: "code" }, text));
  });
  panel.replaceChildren(make("h2", { class: "text" }, source.file),
    make("table", {}, make("thead", {}, make("tr", {}, ...["flat", "cum", "line", ""].map(
      (text) => make("th", { scope: "col" }, text)))), make("tbody", {}, ...body)));
  const at = document.getElementById(`line-${frame.line}`);
  if (at)
    at.scrollIntoView({ block: "center" });
}

function showAbout() {
  const { profile, bytes, title } = state.shown, list = make("dl", { class: "text" });
  const add = (name, text) => list.append(make("dt", {}, name), make("dd", {}, text));
  const modules = new Set(profile.locations.map((l) => l.module));

  add("Profile", title);
  if (profile.timeMs)
    add("Taken", new Date(profile.timeMs).toISOString());
  if (profile.durationS)
    add("Watched for", format(profile.durationS * 1e9, "nanoseconds"));
  add("Size", `${bytes.length.toLocaleString("en")} bytes, ${profile.stacks.length} samples, ` +
    `${profile.locations.length} places in code`);
  if (profile.period.value)
    add("Mean distance of samples", `${format(profile.period.value, profile.period.unit)} ` +
      `of ${profile.period.type}`);
  profile.types.forEach((type, k) => add(`Sum of ${type.type}`,
    format(profile.values[k].reduce((a, b) => a + b, 0), type.unit)));
  add("Modules", [...modules].slice(0, 100).join(", ") || "none");
  for (const comment of profile.comments)
    add("Comment", comment);
  $("about").replaceChildren(list);
}

// --- events -------------------------------------------------------------------------------------------

function listen() {
  $("shown").addEventListener("change", (e) => {
    state.shown = state.captures[e.target.selectedIndex];
    if (state.base === state.shown ||
        (state.base && typeIndex(state.base.profile, state.shown.profile.types[0].type) < 0))
      state.base = null;
    chooseType();
    refresh();
  });
  $("base").addEventListener("change", (e) => {
    state.base = state.bases[e.target.selectedIndex][1];
    refresh();
  });
  $("type").addEventListener("change", (e) => {
    state.type = state.shown.profile.types[e.target.selectedIndex].type;
    refresh();
  });
  $("label").addEventListener("change", (e) => {
    state.label = state.labels[e.target.selectedIndex][1];
    refresh();
  });
  $("group").addEventListener("change", (e) => filter("group", e.target.value));
  for (const name of ["focus", "ignore", "hide"])
    $(name).addEventListener("change", (e) => filter(name, e.target.value));
  $("search").addEventListener("input", (e) => {
    state.search = e.target.value;
    if (state.shown)
      render();
  });
  $("file").addEventListener("change", (e) => {
    if (e.target.files[0])
      openFile(e.target.files[0]);
    e.target.value = "";
  });
  addEventListener("dragover", (e) => e.preventDefault());
  addEventListener("drop", (e) => {
    e.preventDefault();
    if (e.dataTransfer.files[0])
      openFile(e.dataTransfer.files[0]);
  });
  $("download").addEventListener("click", download);
  $("cancel").addEventListener("click", () => abort && abort.abort());
  $("flip").addEventListener("click", () => flame.flip());
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("help-close").addEventListener("click", () => $("help").close());
  for (const tab of TABS)
    $(`tab-${tab}`).addEventListener("click", () => openTab(tab));
  $("tabs").addEventListener("keydown", (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key], at = TABS.indexOf(state.tab);
    if (step && TABS[at + step]) {
      openTab(TABS[at + step]);
      $(`tab-${state.tab}`).focus();
    }
  });
  addEventListener("keydown", key);
  addEventListener("hashchange", followHash);
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open ||
      /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName))
    return;
  const tab = TABS[event.key - 1];
  if (event.key === "?") {
    $("help").showModal();
  } else if (!state.shown) {
    return;
  } else if (tab) {
    openTab(tab);
    if (tab === "flame")
      $("flame-canvas").focus();
  } else if (event.key === "/") {
    $("search").focus();
  } else if (event.key === "f") {
    flame.flip();
  } else if (event.key === "c" && state.tab === "flame" && flame.marked) {
    openPeek(flame.name(flame.marked));
  } else {
    return;
  }
  event.preventDefault();
}

/** #heap, or #profile?seconds=5: links of the index page. */
async function followHash() {
  let name, query;
  try {
    [, name, query] = location.hash.match(/^#([^?]*)\??(.*)$/) || [];
    name = decodeURIComponent(name || "");
  } catch {
    return;
  }
  if (!name || !isName(name))
    return;
  const seconds = Number(new URLSearchParams(query).get("seconds")) || 0;
  await capture(name, name === "profile" ? seconds || CPU_SECONDS[0] : seconds);
}

flame = new Flame($("flame-canvas"), $("flame-scroll"), $("flame-space"),
  { mark: showDetail, zoom: showDetail });
export { flame };
listen();
await listSources();
if (location.hash.length > 1)
  followHash();
else
  say("Take a profile with one of the buttons above, or open a file.");
