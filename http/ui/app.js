// app.js - the page begins here: it puts the views in their places, the menus to work, and follows the
// URL.
import { captures, fileName, load } from "./captures.js";
import { emptyReason, listen as listenControls, showControls, showProgram, showSearch, step }
  from "./controls.js";
import { $, button, copy, make, openMenu, save, say, shorten, unsay } from "./dom.js";
import { keepList, ownList } from "./mycode.js";
import { followUrl, openFile, page } from "./page.js";
import { kindOf, known, menu } from "./profiles.js";
import { command } from "./pprof_command.js";
import * as server from "./server.js";
import { state } from "./state.js";
import { folded } from "./tables.js";
import { hideTip } from "./tip.js";
import { views } from "./views.js";
import { flameView } from "./views/flame.js";

const WINDOW_KEPT_AS = "libprof.window";
const KEYS = [
  ["/", "search"], ["n, N", "next and previous match"], ["1, 2, …", "the views, by their tabs"],
  ["arrows", "move in the flame graph"], ["Enter, Esc", "zoom in, zoom out"],
  ["c", "callers of the chosen function"], ["i", "inverted flame graph"], ["f", "flip it"],
  ["m", "my code"], ["t", "take a profile"], ["?", "this list"],
];

page.views = views;
page.onchange = render;
page.onbusy = showBusy;

/** Which keys of the selection match the search; null: there is none. */
let searched = {};
page.matches = () => {
  const { selection } = page, test = page.matchText();
  if (!test)
    return null;
  if (searched.selection !== selection || searched.text !== state.search)
    searched = { selection, text: state.search, matches: Uint8Array.from(selection.keys, (text, k) =>
      (test(text) || test(selection.frame[k].file) || test(selection.frame[k].module) ? 1 : 0)) };
  return searched.matches;
};

function render() {
  const view = page.view(), why = ["threads", "time", "about"].includes(view.id) ? "" : emptyReason();

  hideTip();
  for (const each of views)
    $(each.id).hidden = each !== view || why !== "";
  $("empty").hidden = why === "";
  if (why)
    $("empty").replaceChildren(make("p", { class: "reason" }, why),
      ...page.shown.profile.comments.map((text) => make("p", {}, text)),
      page.isFiltered() ? make("p", {}, button("Take all filters away", () => page.go({ focus: "",
        ignore: "", hide: "", label: null }))) : "");
  showControls();
  if (!why)
    view.show($(view.id), page);
  showSearch();
  $("view-tools").replaceChildren(...(why || !view.tools ? [] : view.tools(page).filter(Boolean)));
}

// --- taking ------------------------------------------------------------------------------------------

let ticking = 0;

function showBusy() {
  const { busy } = page;
  clearInterval(ticking);
  $("progress").hidden = $("progress-bar").hidden = !busy;
  for (const each of $("take-list").querySelectorAll("button"))
    each.disabled = Boolean(busy);
  if (!busy)
    return;
  const tick = () => {
    const gone = (performance.now() - busy.begin) / 1000, left = busy.seconds - gone;
    if (busy.seconds)
      $("progress-bar").value = Math.min(gone / busy.seconds, 1);
    else
      $("progress-bar").removeAttribute("value");
    $("progress-text").textContent = left > 0 ? `${busy.title}: ${Math.ceil(left)} s to go`
      : `${busy.title} …`;
  };
  tick();
  ticking = setInterval(tick, 100);
}

function windowSeconds() {
  return Math.min(Math.max(Math.floor(Number($("window-seconds").value)) || 1, 1), 86400);
}

function showTakeMenu() {
  const take = (name, seconds) => {
    $("take-menu").hidePopover();
    page.take(name, seconds);
  };
  const act = (text, row, seconds, title) => button(text, () => take(row.name, seconds()),
    { title, "data-take": row.name, "data-window": String(seconds() > 0), disabled: Boolean(page.busy) });
  $("take-list").replaceChildren(...menu(page.info ? page.info.profiles : []).map((row) =>
    make("div", { class: "take-row" }, make("div", { class: "take-what" },
      make("strong", {}, shorten(row.title, 60)), make("div", { class: "soft" }, shorten(row.about))),
    make("div", { class: "take-acts" },
      row.window === "only" ? null : act("Now", row, () => 0, "As it is now"),
      row.window === "no" ? null : act(`Watch ${windowSeconds()} s`, row, windowSeconds,
        row.window === "only" ? "For that long" : "What changes in that time")))));
  openMenu($("take-menu"), $("take"));
}

// --- menus -------------------------------------------------------------------------------------------

/** The program takes it once more, itself: what this page has, it would have to believe. */
async function keep() {
  const name = kindOf(page.shown.name);
  try {
    say(`Keeping: ${known(name).title} …`);
    say(`${(await server.keep(name, page.shown.seconds)).trim()}.`);
  } catch (error) {
    say(`Not kept: ${error.message}`, true);
  }
}

function listenMore() {
  const more = (id, work) => $(id).addEventListener("click", () => {
    $("more-menu").hidePopover();
    if (page.shown)
      work();
  });
  more("download", () => save(fileName(page.shown), page.shown.bytes));
  more("keep", keep);
  more("copy-link", () => copy(location.href, "the link"));
  more("copy-folded", () => copy(folded(page.selection), "folded stacks"));
  more("copy-pprof", () => copy(command(page), "the command"));
  $("help-open").addEventListener("click", () => {
    $("more-menu").hidePopover();
    $("help").showModal();
  });
  $("help-close").addEventListener("click", () => $("help").close());
  $("help-keys").replaceChildren(...KEYS.flatMap(([key, what]) =>
    [make("dt", {}, key), make("dd", {}, what)]));
  $("file").addEventListener("change", (e) => {
    $("more-menu").hidePopover();
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
}

function listenOwn() {
  const list = ownList();
  $("own-mine").value = list.mine;
  $("own-foreign").value = list.foreign;
  $("own-keep").addEventListener("click", () => {
    try {
      keepList({ mine: $("own-mine").value, foreign: $("own-foreign").value });
      $("own-error").hidden = true;
      page.again();
    } catch (error) {
      $("own-error").textContent = error.message;
      $("own-error").hidden = false;
    }
  });
}

function listenTake() {
  try {
    $("window-seconds").value = localStorage.getItem(WINDOW_KEPT_AS) || "30";
  } catch {
    // As it stands in the page.
  }
  $("window-seconds").addEventListener("input", () => {
    for (const each of $("take-list").querySelectorAll("[data-window=true]"))
      each.textContent = `Watch ${windowSeconds()} s`;
  });
  $("window-seconds").addEventListener("change", () => {
    try {
      localStorage.setItem(WINDOW_KEPT_AS, String(windowSeconds()));
    } catch {
      // For this visit only.
    }
  });
  $("take").addEventListener("click", showTakeMenu);
  $("cancel").addEventListener("click", () => page.busy && page.busy.stop());
  $("toast-close").addEventListener("click", unsay);
}

// --- keys --------------------------------------------------------------------------------------------

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open || event.defaultPrevented ||
      /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) ||
      document.querySelector(":popover-open"))
    return;
  const view = page.shown && page.view(), tab = $("tabs").children[event.key - 1];
  if (event.key === "?") {
    $("help").showModal();
  } else if (event.key === "t") {
    showTakeMenu();
  } else if (!view) {
    return;
  } else if (tab) {
    page.go({ tab: tab.dataset.id });
    page.view().focus?.();
  } else if (event.key === "/") {
    $("search").focus();
    $("search").select();
  } else if (event.key === "n" || event.key === "N") {
    step(event.key === "n" ? 1 : -1);
  } else if (event.key === "m" && page.selection.charged) {
    page.go({ mine: state.mine === false ? null : false });
  } else if (event.key === "c") {
    page.go({ tab: "callers" });
  } else if (Object.hasOwn(view.keys, event.key)) {
    view.keys[event.key](page);
  } else {
    return;
  }
  event.preventDefault();
}

// --- the beginning -----------------------------------------------------------------------------------

for (const view of views)
  document.querySelector("main").append(make("section", { id: view.id, role: "tabpanel",
    "aria-labelledby": `tab-${view.id}`, hidden: true }));
listenControls(page);
listenTake();
listenMore();
listenOwn();
addEventListener("keydown", key);
addEventListener("popstate", followUrl);
addEventListener("scroll", hideTip, true);
// Both may come after the first picture, which waits for neither.
page.loading = load().then(() => page.shown && render());
server.about().then((info) => {
  page.info = info;
  showProgram();
  if (page.shown)
    render(); // what is of this process can be told now
}, () => {});
page.ready = followUrl();

export { captures, flameView, page, state };
