// state.js - what the page shows, and the same as the fragment of its URL.
//
//   #heap?seconds=30&at=1735689600000&type=alloc_space&tab=top&focus=parse
//
// The fragment never reaches a server. Whoever opens such a link sees the same capture if this browser
// has it (`at` is when it was taken), and a new one of the same profile in the same view otherwise.
// Back, Forward and reload go by it too.

/** Everything the page shows follows from this and from the captures. */
export const state = {
  name: "", // of the profile
  query: "", // parameters of it, as in its URL: "site=^main$"
  seconds: 0, // of a window; 0: as it was at one moment
  at: 0, // which capture of it; 0: a new one
  base: 0, // which capture to subtract; 0: none
  less: "", // the name of one to be had, and then subtracted
  file: false, // it was opened from a file
  type: "",
  group: "function",
  tab: "", // the profile's own, or the flame graph
  mine: null, // charge my code: true, false; null: where it changes anything
  inverted: false, // from the leaves up
  flipped: false, // the root at the bottom
  focus: "", ignore: "", hide: "", search: "",
  label: null, // {key, value}
  root: "", // the label whose values are the outermost frames; "": the profile's own, "-": none
  labelKey: "", // that the labels tab is about
  key: "", // id of the chosen function: its name, and its file where that is known
  zoom: [], // names from the root of the graph to its widest box
  sort: "", // of the table: a column, with "-" in front the other way round
};

const DEFAULTS = JSON.parse(JSON.stringify(state));
const LONGEST = 1800; // characters of a zoom; longer ones are not kept in the URL

const text = { write: String, read: String };
const number = { write: String, read: (value) => (Number.isSafeInteger(Number(value)) ?
  Math.max(Number(value), 0) : 0) };
const flag = { write: (value) => (value ? "1" : "0"), read: (value) => value === "1" };
const pair = {
  write: (l) => encodeURIComponent(l.key) +
    (l.value === null ? "" : "=" + encodeURIComponent(l.value)),
  read: (value) => {
    const [key, rest] = value.split(/=(.*)/s);
    return key ? { key: decodeURIComponent(key),
      value: rest === undefined ? null : decodeURIComponent(rest) } : null;
  },
};
const list = {
  write: (value) => JSON.stringify(value),
  read: (value) => {
    const read = JSON.parse(value);
    return Array.isArray(read) ? read.map(String) : [];
  },
};

const FIELDS = [
  ["query", text, "with"], ["seconds", number], ["at", number], ["base", number], ["less", text], ["file", flag],
  ["type", text], ["group", text, "by"], ["tab", text], ["mine", flag], ["inverted", flag], ["flipped", flag],
  ["focus", text], ["ignore", text], ["hide", text], ["search", text], ["label", pair],
  ["root", text], ["labelKey", text, "labels"], ["key", text, "function"], ["zoom", list],
  ["sort", text],
];

function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** The state as a fragment, "#" included. */
export function toHash(from = state) {
  const query = new URLSearchParams();
  for (const [field, form, name = field] of FIELDS) {
    if (same(from[field], DEFAULTS[field]))
      continue;
    const value = form.write(from[field]);
    if (field !== "zoom" || value.length <= LONGEST)
      query.set(name, value);
  }
  const path = from.name.split("/").map(encodeURIComponent).join("/");
  const rest = String(query);
  return "#" + path + (rest && "?" + rest);
}

/** A fragment as a whole state; what is missing or broken in it is as at first. */
export function fromHash(hash) {
  const read = JSON.parse(JSON.stringify(DEFAULTS));
  const [, path, rest] = /^#?([^?]*)\??(.*)$/s.exec(hash);
  const query = new URLSearchParams(rest);

  try {
    read.name = decodeURIComponent(path);
  } catch {
    return read;
  }
  for (const [field, form, name = field] of FIELDS) {
    if (!query.has(name))
      continue;
    try {
      read[field] = form.read(query.get(name));
    } catch {
      // A broken value is none.
    }
  }
  return read;
}

export const STEP = "pushState"; // Back undoes it
export const NO_STEP = "replaceState";
export const SOON = "soon"; // no step, and one of many: letters typed, a key that is held down

let waiting = null;

/** Keep the state in the URL, as one of the above. Browsers bound how often that may be done. */
export function remember(how) {
  clearTimeout(waiting);
  if (how === SOON)
    waiting = setTimeout(() => remember(NO_STEP), 200);
  else if (toHash() !== location.hash)
    history[how](null, "", toHash());
}

/** Is it a name that a profile may have, rather than a path that leads elsewhere? */
export function isName(name) {
  return name !== "" && name.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}
