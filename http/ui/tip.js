// tip.js - what is under the pointer, in words, beside it.
import { $, make } from "./dom.js";

/** Show lines beside the pointer; a line is text, or [class, text]. */
export function showTip(lines, event) {
  const tip = $("tip"), gap = 14;

  tip.replaceChildren(...lines.filter(Boolean).map((line) => (Array.isArray(line)
    ? make("div", { class: line[0] }, line[1]) : make("div", {}, line))));
  tip.hidden = false;
  const left = event.clientX + gap, top = event.clientY + gap;
  tip.style.left = `${left + tip.offsetWidth > innerWidth - 4
    ? Math.max(event.clientX - gap - tip.offsetWidth, 4) : left}px`;
  tip.style.top = `${top + tip.offsetHeight > innerHeight - 4
    ? Math.max(event.clientY - gap - tip.offsetHeight, 4) : top}px`;
}

export function hideTip() {
  $("tip").hidden = true;
}
