// page.js - from the state to what is on the screen: which capture, which selection of it, which view.
//
// One way round: an action calls go() with what changes of the state; the URL follows, the capture that
// the state names is had, the selection is computed anew if it must be, and the view is shown. A view
// gets this object and reads from it; it changes nothing but by go().
import * as captures from "./captures.js";
import { say, unsay } from "./dom.js";
import { complaint, expression, findKey, isWindow, select, typeIndex } from "./model.js";
import { isPseudo } from "./mycode.js";
import { kindOf, known } from "./profiles.js";
import * as server from "./server.js";
import { NO_STEP, STEP, fromHash, isName, remember, state } from "./state.js";
import { top } from "./tables.js";
import { tree } from "./tree.js";

export const page = {
  state,
  info: null, // of the program; null: there is none, or not yet
  shown: null, base: null, // captures
  selection: null,
  type: "", unit: "",
  whole: { total: 0, weight: 0 }, // of everything, whatever is filtered; weight: of shares
  seconds: 0, // that a difference spans; 0: it is none
  busy: null, // {title, seconds, begin, stop()} of a capture under way
  views: [],
  onchange: () => {}, // show everything
  onbusy: () => {},

  /** Change the state; `how` it is kept in the URL: see state.js. */
  go,
  trees: new Map(),

  /** A tree of the selection; the same until that changes. */
  tree(name, part) {
    if (!this.trees.has(name))
      this.trees.set(name, tree(this.selection, part));
    return this.trees.get(name);
  },

  top() {
    this.topRows ||= top(this.selection);
    return this.topRows;
  },

  /** The row of a key in top(); undefined: no stack that shows has it. */
  row(key) {
    this.top();
    this.rowOf ||= new Map(this.topRows.map((row) => [row.key, row]));
    return this.rowOf.get(key);
  },

  /** The chosen function's key; -1: none is, or no stack that shows has it. */
  chosen() {
    const key = findKey(this.selection, state.key);
    return key >= 0 && this.row(key) ? key : -1;
  },

  /** The function that a view is about when none was chosen: the program's own that holds most. */
  main() {
    const key = this.chosen();
    if (key >= 0)
      return key;
    if (this.mainKey === null) { // by what is charged to it, whatever shows
      const s = this.selectAs({ mine: true });
      const own = largest(top(s).filter((r) => !s.foreign[r.key] && !isPseudo(s.keys[r.key])));
      this.mainKey = own >= 0 ? findKey(this.selection, s.ids[own]) : largest(this.top());
    }
    return this.mainKey;
  },

  /** Is anything left out of what is shown? */
  isFiltered() {
    return Boolean(state.focus || state.ignore || state.label);
  },

  /** The search as a test of a text; null: there is none. */
  matchText() {
    if (!state.search || complaint(state.search))
      return null;
    const test = expression(state.search);
    return (text) => test.test(text);
  },

  /** The label that graphs are grouped by; "": none. */
  root() {
    return state.root === "-" ? "" : state.root || (state.file ? "" : known(state.name).root);
  },

  isHere() {
    return captures.isHere(this.shown, this.info);
  },

  view() {
    const there = this.views.filter((v) => v.applies(this));
    const wanted = state.tab || known(state.name).tab;
    return there.find((v) => v.id === wanted) || there[0];
  },
};

/** The key of the row that holds most; -1: none holds anything. */
function largest(rows) {
  return rows.reduce((a, b) => (Math.abs(b.flat) > Math.abs(a.flat) ? b : a), { key: -1, flat: 0 })
    .key;
}

// --- the selection -----------------------------------------------------------------------------------

const weights = new WeakMap(); // of whole profiles, by type and base

/** The sums of everything, for totals and shares. */
function wholeOf(profile, base, type) {
  const id = `${type} ${base ? page.base.at : ""}`;
  if (!weights.has(profile))
    weights.set(profile, new Map());
  const known = weights.get(profile);
  if (!known.has(id)) {
    const all = select(profile, base, { type, group: "function" });
    const t = all.isSigned ? tree(all) : null;
    const total = all.values.reduce((a, b) => a + b, 0);
    known.set(id, { total, weight: t ? t.weight[0] : total });
  }
  return known.get(id);
}

const OPTIONS = ["type", "group", "focus", "ignore", "hide", "label", "root", "mine"];
let computed = ""; // what the selection was computed from

function options() {
  return { ...Object.fromEntries(OPTIONS.map((name) => [name, state[name]])), type: page.type,
    mine: state.mine !== false, root: page.root() };
}

/** The same selection by other options, for views that want another. */
page.selectAs = (other) => select(page.shown.profile, page.base && page.base.profile,
  { ...options(), ...other });

function compute(force) {
  const { profile } = page.shown, base = page.base && page.base.profile;

  page.type = typeIndex(profile, state.type) >= 0 ? state.type : profile.types[profile.shown].type;
  page.unit = profile.types[typeIndex(profile, page.type)].unit;
  const now = JSON.stringify([page.shown.at, page.base && page.base.at, options()]);
  if (now === computed && !force)
    return;
  computed = now;
  page.selection = select(profile, base, options());
  page.whole = wholeOf(profile, base, page.type);
  page.seconds = base ? Math.max((profile.timeMs - base.timeMs) / 1000, 0)
    : profile.durationS > 0 ? profile.durationS : 0;
  page.trees = new Map();
  page.topRows = page.rowOf = page.mainKey = null;
}

// --- captures ----------------------------------------------------------------------------------------

function comparable(entry) {
  return entry && entry.profile && page.shown.profile && entry !== page.shown &&
    typeIndex(entry.profile, page.shown.profile.types[0].type) >= 0;
}

/** Can it be subtracted? By name only, since it may not be decoded yet. */
page.canSubtract = (entry) => entry !== page.shown && !entry.seconds &&
  ((kindOf(entry.name) === kindOf(page.shown.name) && entry.query === page.shown.query) || entry.file ||
    page.shown.file) &&
  !isWindow(page.shown.profile);

let going = 0; // so that of two changes the later one wins

/** Have what the state names, and show it. */
async function settle() {
  const mine = ++going;
  const find = () => (state.at ? captures.find(state.name, state.at) : captures.findKept(state.name));
  let entry = find();

  if (state.at && !entry) { // of an earlier visit?
    await page.loading;
    entry = find();
  }
  if (entry && !(await captures.ready(entry)))
    entry = null;
  if (mine !== going)
    return;
  if (!entry && state.file) {
    say(`${state.name} is not in this browser any more: open the file again.`, true);
    return;
  }
  if (!entry) {
    if (state.at || state.base)
      Object.assign(state, { at: 0, base: 0 });
    await capture(state.name, state.seconds, state.query, NO_STEP);
    return;
  }
  page.shown = entry;
  await subtractKept();
  if (mine !== going)
    return;
  const base = state.base ? captures.find("", state.base) : null;
  if (base && await captures.ready(base) && mine === going)
    page.base = base;
  else if (mine === going)
    page.base = null;
  if (mine !== going)
    return;
  if (page.base && !comparable(page.base))
    page.base = null;
  show();
}

/** Have the capture that the state says is to be subtracted. */
async function subtractKept() {
  const name = state.less;
  if (!name)
    return;
  state.less = "";
  try {
    if (!isName(name))
      throw new Error("That is not the name of a capture.");
    const base = captures.findKept(name) || await captures.take(name, 0, "", async () => page.info);
    if (await captures.ready(base))
      state.base = base.at;
  } catch (error) {
    say(`Without the difference: ${error.message}`, true);
  }
  remember(NO_STEP);
}

function show(force) {
  if (!page.shown)
    return;
  if (state.base && !page.base)
    state.base = 0;
  compute(force);
  page.onchange();
}

/** The rules of "my code" have changed, or the program was asked again. */
page.again = () => show(true);

async function go(change, how = STEP) {
  const before = `${state.name} ${state.at} ${state.base}`;
  Object.assign(state, change);
  remember(how);
  if (!page.shown || `${state.name} ${state.at} ${state.base}` !== before)
    await settle();
  else
    show();
}

/** Take a profile and show it, in the view that the state names. */
async function capture(name, seconds, query, how) {
  if (page.busy)
    return;
  const abort = new AbortController(), { title, window, seconds: usual } = known(name);
  const length = window === "only" && !seconds ? usual : seconds;
  let taken;

  page.busy = { title, seconds: length, begin: performance.now(), stop: () => abort.abort() };
  page.onbusy();
  try {
    if (!isName(name))
      throw new Error("That is not the name of a profile.");
    // Asked anew each time: another process may serve here now.
    const asked = server.about().then((info) => {
      page.info = info;
    }, () => {});
    taken = await captures.take(name, length, query, () => asked.then(() => page.info), abort.signal);
    unsay();
  } catch (error) {
    say(error.name === "AbortError" ? `${title}: given up.` : `${title}: ${error.message}`,
      error.name !== "AbortError");
  }
  page.busy = null;
  page.onbusy();
  if (taken)
    await go({ name, seconds: length, query, at: taken.at, file: false }, how);
}

/** Take a profile because somebody wants it: what belongs to another profile's view is left. */
page.take = (name, seconds = 0, query = "") => {
  const other = name !== state.name || query !== state.query || state.file;
  if (page.busy)
    return undefined;
  if (other)
    Object.assign(state, { type: "", base: 0, zoom: [], label: null, root: "", labelKey: "",
      tab: known(name).tab || state.tab === known(state.name).tab ? "" : state.tab });
  return capture(name, seconds, query, STEP);
};

export async function openFile(file) {
  try {
    const taken = await captures.open(file);
    unsay();
    await go({ name: taken.name, query: "", seconds: 0, at: taken.at, file: true, base: 0, type: "", zoom: [],
      label: null, root: "", labelKey: "", tab: "" });
  } catch (error) {
    say(`${file.name}: ${error.message}`, true);
  }
}

/** Follow the URL: at first, and when Back or a link has changed it. */
export async function followUrl() {
  const read = fromHash(location.hash);
  if (!read.name)
    read.name = "heap";
  else if (!read.file && !isName(read.name)) {
    say("That is not the name of a profile.", true);
    read.name = "heap";
  }
  Object.assign(state, read);
  await settle();
}

/** What is wrong with the patterns, by field. */
export function complaints() {
  return Object.fromEntries(["focus", "ignore", "hide", "search"].map(
    (name) => [name, complaint(state[name])]));
}
