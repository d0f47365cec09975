// controls.js - what is around a view: the program, the selects, the tabs, what is filtered and the sum
// of it, the chosen function. All of it is shown from the state, and only go() changes that.
import { actions } from "./actions.js";
import { captures } from "./captures.js";
import { $, button, fill, make, openMenu, shorten } from "./dom.js";
import { format, formatOf, percent, plural, rate, span } from "./format.js";
import { GROUPS, complaint } from "./model.js";
import { complaints } from "./page.js";
import { known } from "./profiles.js";
import { SOON } from "./state.js";

const FILTERS = [
  ["focus", "Focus", "keep only stacks with a match"],
  ["ignore", "Ignore", "drop stacks with a match"],
  ["hide", "Hide", "leave matching frames out"],
];

let page;
let at = -1; // of what the search has found

// --- the program -------------------------------------------------------------------------------------

export function showProgram() {
  const { info } = page;
  if (!info)
    return;
  const name = info.program.split("/").pop() || "?";
  $("program-name").textContent = shorten(name, 60);
  $("program-name").title = info.program;
  $("program-more").textContent = `pid ${info.process}` + (info.host ? ` · ${info.host}` : "") +
    (info.startedMs ? ` · up ${span(Math.max((Date.now() - info.startedMs) / 1000, 0))}` : "");
  $("program-more").title = `libprof ${info.version}`;
  document.title = `${name} ${info.process}: libprof`;
}

// --- the profile -------------------------------------------------------------------------------------

function pidOf(capture) {
  return capture.program && page.info && capture.program.process !== page.info.process
    ? ` (${capture.program.program.split("/").pop()} ${capture.program.process})` : "";
}

function showWhat() {
  const { profile } = page.shown;
  const bases = [null, ...captures.filter((c) => page.canSubtract(c))];
  fill($("shown"), captures.map((c) => [shorten(c.title, 80) + pidOf(c), c]), page.shown);
  fill($("base"), bases.map((c) => ["minus " + (c ? shorten(c.title, 80) + pidOf(c) : "nothing"), c]),
    page.base);
  fill($("type"), profile.types.map((t) => [shorten(`${t.type} (${t.unit})`, 60), t.type]), page.type);
  $("base-label").hidden = bases.length < 2;
  $("what").hidden = false;
}

function showTabs() {
  const now = page.view();
  const there = page.views.filter((v) => v.applies(page));
  if ([...$("tabs").children].map((tab) => tab.dataset.id).join() !== there.map((v) => v.id).join())
    $("tabs").replaceChildren(...there.map((v) => make("button", { role: "tab", id: `tab-${v.id}`,
      type: "button", "data-id": v.id, "aria-controls": v.id,
      onclick: () => page.go({ tab: v.id }) }, v.title)));
  for (const tab of $("tabs").children) {
    const on = tab.dataset.id === now.id;
    if (on && tab.getAttribute("aria-selected") !== "true" && tab.scrollIntoView)
      tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    tab.setAttribute("aria-selected", on);
    tab.tabIndex = on ? 0 : -1;
  }
  $("tabs").hidden = $("tools").hidden = false;
}

// --- the sum -----------------------------------------------------------------------------------------

function part(className, text) {
  return make("span", { class: className }, text);
}

/** "2.00 of 39.0 MiB (5.1 %) inuse_space": what shows, of what there is. */
function showTotal() {
  const { selection, whole, unit, type, seconds, shown } = page, signed = selection.isSigned;
  const sum = selection.values.reduce((a, b) => a + b, 0), out = [];
  const all = sum === whole.total && !page.isFiltered();

  out.push(part("sum", all ? format(sum, unit, signed)
    : signed ? `${format(sum, unit, true)} of ${format(whole.total, unit, true)}`
      : `${formatOf(sum, whole.total, unit)} (${percent(sum, whole.total)})`));
  out.push(part("", shorten(type, 40)));
  if (signed && seconds) {
    out.push(part("", `in ${span(seconds)}`));
    out.push(part("rate", `(${rate(sum, unit, seconds)})`));
  } else if (seconds) {
    out.push(part("", `in ${span(seconds)}`));
    if (unit === "nanoseconds")
      out.push(part("rate", `(${(sum / 1e9 / seconds).toFixed(2)} processors)`));
  }
  const beside = page.base ? sumOf(shown.profile, type) : shown.totals && shown.totals[type];
  if (beside !== undefined && beside !== null && signed)
    out.push(part("beside", `of ${format(beside, unit)} now`));
  $("total").replaceChildren(...out.flatMap((e, i) => (i ? [" ", e] : [e])));
}

function sumOf(profile, type) {
  const k = profile.types.findIndex((t) => t.type === type);
  return k < 0 ? null : profile.values[k].reduce((a, b) => a + b, 0);
}

function chip(text, title, remove, wrong = "") {
  return make("span", { class: wrong ? "chip wrong" : "chip", role: "listitem",
    title: wrong || title }, make("span", {}, text),
  button("✕", remove, { "aria-label": `Take away: ${text}` }));
}

function showChips() {
  const { state } = page, out = [];
  for (const [name, title] of FILTERS)
    if (state[name])
      out.push(chip(`${title.toLowerCase()}: ${shorten(state[name], 40)}`, state[name],
        () => page.go({ [name]: "" }), complaint(state[name])));
  if (state.label)
    out.push(chip(state.label.value === null ? `without ${shorten(state.label.key, 30)}`
      : `${shorten(state.label.key, 30)}=${shorten(state.label.value, 40)}`, "label",
    () => page.go({ label: null })));
  if (page.root())
    out.push(chip(`grouped by ${shorten(page.root(), 30)}`, "", () => page.go({ root: "-", zoom: [] })));
  if (state.group !== "function")
    out.push(chip(`by ${state.group}`, "", () => page.go({ group: "function", zoom: [] })));
  $("chips").replaceChildren(...out);
  $("filter").classList.toggle("on", out.length > 0);
}

function showNotes() {
  const { comments } = page.shown.profile;
  const dead = comments.filter((text) => text.startsWith("deadlock"));
  $("notes").hidden = comments.length === 0;
  $("notes").textContent = dead.length ? "⚠ deadlock" : plural(comments.length, "note");
  $("notes").classList.toggle("trouble", dead.length > 0);
  $("notes-menu").replaceChildren(...comments.map((text) => make("p", {}, text)));
}

// --- filters -----------------------------------------------------------------------------------------

function buildFilters() {
  const field = (name, title, hint) => {
    const error = make("div", { id: `${name}-error`, class: "error", role: "alert", hidden: true });
    const input = make("input", { id: name, type: "search", spellcheck: "false", autocomplete: "off",
      placeholder: hint, "aria-describedby": error.id, onchange: (event) =>
        page.go({ [name]: event.target.value }), oninput: (event) => {
        const wrong = complaint(event.target.value);
        if (!wrong || !error.hidden)
          showError(name, wrong);
      } });
    return make("div", { class: "field" }, make("label", { for: name }, title), input, error);
  };
  const group = make("select", { id: "group", onchange: (event) => page.go({
    group: GROUPS[event.target.selectedIndex], zoom: [] }) });
  fill(group, GROUPS.map((text) => [text, text]), "function");
  $("filter-fields").replaceChildren(...FILTERS.map((f) => field(...f)),
    make("div", { class: "field" }, make("label", { for: "group" }, "Group by"), group));
}

function showError(name, text) {
  const error = $(`${name}-error`);
  error.hidden = !text;
  error.textContent = text;
  $(name).setAttribute("aria-invalid", text ? "true" : "false");
}

function showFilters() {
  const wrong = complaints();
  for (const name of ["focus", "ignore", "hide", "search"]) {
    if ($(name).value !== page.state[name] && document.activeElement !== $(name))
      $(name).value = page.state[name];
    showError(name, wrong[name]);
  }
  $("group").selectedIndex = GROUPS.indexOf(page.state.group);
  $("mine").checked = page.state.mine !== false;
  $("mine-label").hidden = page.selection.charged === 0;
}

// --- the search --------------------------------------------------------------------------------------

function showSearch() {
  const view = page.view(), found = view.find && page.state.search ? view.find(page) : null;
  const matches = page.matches();
  let text = "";

  if (found && !complaint(page.state.search)) {
    text = at >= 0 && at < found.count ? `${at + 1}/${found.count}` : String(found.count);
    if (matches && view.id !== "source")
      text += ` · ${percent(Math.abs(matchedValue(matches)), page.whole.weight) || "0 %"}`;
  }
  $("found").textContent = text;
  $("previous").hidden = $("next").hidden = !found || found.count < 1;
}

/** Values of the stacks with a match, each counted once. */
function matchedValue(matches) {
  const s = page.selection;
  let sum = 0;
  for (let i = 0; i < s.count; i++)
    for (let p = s.at[i]; p < s.at[i + 1]; p++)
      if (matches[s.path[p]]) {
        sum += s.values[i];
        break;
      }
  return sum;
}

export function step(way) {
  const view = page.view(), found = view.find && page.state.search ? view.find(page) : null;
  if (!found || !found.count)
    return;
  at = at < 0 ? (way > 0 ? 0 : found.count - 1) : (at + way + found.count) % found.count;
  found.go(at);
  showSearch();
}

// --- the chosen function -----------------------------------------------------------------------------

function showDetail() {
  const { state, selection } = page, key = page.chosen();

  $("detail").hidden = Boolean(page.view().plain);
  $("detail").classList.toggle("hint", key < 0 && !state.key);
  if (key < 0) {
    $("detail-text").replaceChildren(make("span", { class: "soft" }, state.key
      ? `${shorten(state.key.split("\n")[0], 200)} does not show here.`
      : "Click a function for more about it."));
    $("detail-buttons").replaceChildren();
    return;
  }
  const row = page.row(key), frame = selection.frame[key];
  const name = selection.keys[key], signed = selection.isSigned;
  $("detail-text").replaceChildren(
    make("span", { class: "code", title: shorten(name, 2000) }, shorten(name)), " ",
    make("span", {}, `${format(row.cum, page.unit, signed)} (${percent(row.cum, page.whole.weight)})` +
      `, itself ${format(row.flat, page.unit, signed)}`), " ",
    make("span", { class: "where" }, shorten(frame.file ? `${frame.file}:${frame.line}`
      : frame.module)));
  const others = page.views.filter((v) => v.of && v !== page.view() && v.applies(page) &&
    v.of(frame, page));
  $("detail-buttons").replaceChildren(...[
    ...others.map((v) => button(v.of(frame, page), () => page.go({ tab: v.id }))),
    ...actions.filter((a) => !a.applies || a.applies(page, frame))
      .map((a) => button(a.text, () => a.run(page, name))),
    button("✕", () => page.go({ key: "" }), { "aria-label": "Choose none", title: "Choose none" }),
  ]);
}

// --- all of it ---------------------------------------------------------------------------------------

/** Why there is nothing to see; "" if there is something. */
export function emptyReason() {
  const { profile, name, file } = page.shown, { empty } = known(name);
  if (page.selection.count)
    return page.base && !page.tree("calls", null).weight[0] ? "No difference between the two." : "";
  if (profile.values.some((column) => column.some((v) => v !== 0)))
    return page.isFiltered() ? "Nothing to show: no stack passes the filters."
      : `Nothing to show: no stack has a value of ${page.type}.`;
  if (empty && !file)
    return empty;
  return profile.durationS ? "This profile is empty: nothing was recorded in that time."
    : "This profile is empty: nothing has been recorded so far.";
}

export function showControls() {
  showProgram();
  showWhat();
  showTabs();
  showTotal();
  showChips();
  showNotes();
  showFilters();
  showDetail();
  $("summary").hidden = false;
}

export { showSearch };

export function listen(the) {
  page = the;
  buildFilters();
  $("shown").addEventListener("change", (e) => {
    const c = captures[e.target.selectedIndex], other = c.name !== page.state.name;
    page.go({ name: c.name, query: c.query, seconds: c.seconds, at: c.at, file: c.file,
      base: page.state.base === c.at ? 0 : page.state.base, ...(other ? { type: "", base: 0 } : {}) });
  });
  $("base").addEventListener("change", (e) => {
    const bases = [null, ...captures.filter((c) => page.canSubtract(c))];
    page.go({ base: bases[e.target.selectedIndex]?.at || 0 });
  });
  $("type").addEventListener("change", (e) =>
    page.go({ type: page.shown.profile.types[e.target.selectedIndex].type }));
  $("mine").addEventListener("change", (e) => page.go({ mine: e.target.checked ? null : false }));
  $("search").addEventListener("input", (e) => {
    at = -1;
    page.go({ search: e.target.value }, SOON);
  });
  $("search").addEventListener("keydown", (e) => {
    if (e.key === "Enter") {
      step(e.shiftKey ? -1 : 1);
      e.preventDefault();
    } else if (e.key === "Escape") {
      $("search").value = "";
      page.go({ search: "" }, SOON);
      $("search").blur();
    }
  });
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  for (const [opener, menu] of [["filter", "filter-menu"], ["more", "more-menu"],
    ["notes", "notes-menu"]])
    $(opener).addEventListener("click", () => openMenu($(menu), $(opener)));
  $("tabs").addEventListener("keydown", (e) => {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[e.key], tabs = [...$("tabs").children];
    const to = way && tabs[tabs.findIndex((t) => t.dataset.id === page.view().id) + way];
    if (to) {
      page.go({ tab: to.dataset.id });
      to.focus();
    }
  });
  setInterval(showProgram, 10000);
}
