// views/cells.js - cells that the tables have in common.
import { make, shorten } from "../dom.js";
import { format, percent } from "../format.js";

/** A cell with a value; in a difference with a sign, and an arrow that does not need its colour. With
 *  `bar`, a share of 1, a bar behind it. */
export function valueCell(page, value, { bar = 0, unit = page.unit, signed } = {}) {
  const sign = signed ?? page.selection.isSigned, change = sign && value !== 0;
  const cell = make("td", { class: "number" + (change ? value > 0 ? " grown" : " shrunk" : ""),
    "data-value": value },
  change ? `${value > 0 ? "▲" : "▼"} ${format(value, unit, true)}` : format(value, unit));
  if (bar > 0) {
    cell.classList.add("bar");
    cell.style.setProperty("--bar", `${Math.min(100 * bar, 100).toFixed(2)}%`);
  }
  return cell;
}

export function shareCell(page, value) {
  return make("td", { class: "number wide" }, percent(value, page.whole.weight));
}

/** A function's name, which chooses it, and the file it is in. */
export function nameCell(page, key, onclick) {
  const { selection, state } = page, name = selection.keys[key], frame = selection.frame[key];
  const cell = make("td", { class: "name" + (selection.foreign[key] ? " foreign" : "") },
    make("button", { type: "button", title: shorten(name, 2000), onclick }, shorten(name)));
  const inlined = frame.inlined && (state.group === "function" || state.group === "line");
  const place = state.group === "function" ? frame.file || frame.module : "";
  if (inlined || place)
    cell.append(make("span", { class: "where", title: shorten(place, 1000) || null },
      (inlined ? "inlined " : "") + shorten(place)));
  return cell;
}

export function heading(text, attributes = {}) {
  return make("th", { scope: "col", ...attributes }, text);
}

export function note(text) {
  return make("p", { class: "text" }, text);
}
