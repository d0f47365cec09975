// views/threads.js - every thread: what it does, for whom it waits, who holds what it waits for. Threads
// with the same stack are one group; deadlocks come first.
import { button, make, shorten } from "../dom.js";
import { plural, span } from "../format.js";
import { prepare } from "../model.js";
import { foreignFrames, isPseudo } from "../mycode.js";
import { groupThreads, parseThreads } from "../threads.js";
import { heading, note } from "./cells.js";

const open = new Set(); // the stacks that are shown whole
const COLUMNS = ["thread", "name", "state", "processor time", "waits for", "held by", "labels"];

function parsed(capture) {
  capture.threads ||= parseThreads(capture.detail);
  return capture.threads;
}

/** The program's own functions of the profile that was taken with the text: their short names, by
 *  address and long name's place in it. */
function ownNames(profile) {
  if (!profile.ownNames) {
    const flat = prepare(profile), foreign = foreignFrames(flat.frames, profile.main, flat);
    profile.ownNames = new Map();
    flat.frames.forEach((frame, i) => {
      const address = BigInt(frame.address).toString(16);
      const all = profile.ownNames.get(address) || [];
      all[frame.depth] = foreign[i] || isPseudo(frame.name) ? null : frame.name;
      profile.ownNames.set(address, all);
    });
  }
  return profile.ownNames;
}

/** How a group is called: its functions of the program's own, innermost first; else all. */
function title(group, profile) {
  const byAddress = ownNames(profile), names = [];
  let before = "", depth = 0;

  for (const frame of group.frames) {
    depth = frame.address === before ? depth + 1 : 0;
    before = frame.address;
    const name = byAddress.get(frame.address)?.[depth];
    if (name && names[names.length - 1] !== name)
      names.push(name);
  }
  if (!names.length)
    names.push(...group.frames.map((f) => f.name));
  return names.slice(0, 3).join(" ← ") || "no stack";
}

function stackOf(group) {
  return make("ol", { class: "stack" }, ...group.frames.map((f) =>
    make("li", {}, make("span", { class: "code" }, shorten(f.name)),
      f.file ? make("span", { class: "where" }, shorten(f.file) + (f.line ? `:${f.line}` : ""))
        : null)));
}

function row(thread) {
  const since = (s) => (Number.isFinite(s) ? ` for ${span(Math.max(s, 0))}` : "");
  const cells = [
    String(thread.id), shorten(thread.name), shorten(thread.state),
    Number.isFinite(thread.cpuS) ? `${thread.cpuS.toFixed(2)} s` : "",
    thread.waits ? shorten(thread.waits) + since(thread.waitS) : "",
    thread.holder ? shorten(thread.holder) + since(thread.holderS) : "",
    thread.labels.map(([k, v]) => `${shorten(k, 60)}=${shorten(v, 100)}`).join(", "),
  ];
  return make("tr", { class: thread.dead ? "dead" : null, "data-thread": thread.id },
    ...cells.map((text, i) => make("td", { class: i === 0 || i === 3 ? "number" : "",
      "data-column": COLUMNS[i] }, text)));
}

function body(page, panel, group) {
  const id = JSON.stringify(group.frames), { profile } = page.shown, isOpen = open.has(id);
  const turn = () => {
    open[isOpen ? "delete" : "add"](id);
    threadsView.show(panel, page);
  };
  return make("tbody", { class: group.dead ? "dead" : null },
    make("tr", { class: "group" }, make("th", { colspan: COLUMNS.length, scope: "rowgroup" },
      button(`${isOpen ? "▾" : "▸"} ${plural(group.threads.length, "thread")}: ` +
        shorten(title(group, profile), 200), turn, { "aria-expanded": String(isOpen),
        title: "Show the stack" }))),
    isOpen ? make("tr", {}, make("td", { colspan: COLUMNS.length }, stackOf(group))) : null,
    ...group.threads.map(row));
}

export const threadsView = {
  id: "threads",
  title: "Threads",
  plain: true,
  applies: (page) => Boolean(page.shown.detail),

  show(panel, page) {
    const { deadlocks, threads } = parsed(page.shown), test = page.matchText();
    const shown = threads.filter((t) => !test || [t.name, t.state, String(t.id), t.waits, t.holder,
      ...t.labels.flat(), ...t.frames.map((f) => f.name)].some(test));

    panel.replaceChildren(
      ...deadlocks.map(([sentence, ...lines]) => make("div", { class: "deadlock", role: "alert" },
        make("strong", {}, `Deadlock: ${sentence}.`),
        ...lines.map((line) => make("div", {}, shorten(line))))),
      shown.length ? make("table", { id: "threads-table" },
        make("thead", {}, make("tr", {}, ...COLUMNS.map((text, i) =>
          heading(text, { class: i === 0 || i === 3 ? "number" : null })))),
        ...groupThreads(shown).map((group) => body(page, panel, group)))
        : note(threads.length ? "No thread passes the search." : "There are no threads to show."));
  },

  tools(page) {
    return [make("button", { type: "button", class: "toggle", id: "threads-again",
      title: "Take the threads anew",
      onclick: () => page.take(page.shown.name, 0, page.shown.query) }, "Refresh")];
  },

  keys: {},
};
