// dom.js - elements, menus and the clipboard.
//
// Names in a profile are a stranger's text. They reach the page as text nodes and attribute values
// only; the policy the page is served with forbids everything else.

const SHORT = 300; // letters of a name in the page

export const $ = (id) => document.getElementById(id);

/** An element with attributes, and children that are elements or text. on* take functions; true is an
 *  attribute without a value, and what is undefined, null or false is left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function")
      element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function button(text, onclick, attributes = {}) {
  return make("button", { type: "button", ...attributes, onclick }, text);
}

export function shorten(text, most = SHORT) {
  return text.length > most ? text.slice(0, most) + "…" : text;
}

/** Fill a select with [text, value] pairs; what is chosen is found by value. */
export function fill(select, options, chosen) {
  const texts = options.map(([text]) => text);
  if (select.length !== texts.length || texts.some((text, i) => select.options[i].text !== text))
    select.replaceChildren(...texts.map((text, i) => make("option", { value: i }, text)));
  select.selectedIndex = Math.max(options.findIndex(([, value]) => value === chosen), 0);
}

/** Show a popover below what opened it, or above, and always inside the window. */
export function openMenu(menu, opener) {
  if (menu.matches(":popover-open")) {
    menu.hidePopover();
    return;
  }
  menu.showPopover();
  const at = opener.getBoundingClientRect(), gap = 4;
  const left = Math.min(at.left, innerWidth - menu.offsetWidth - 2 * gap);
  const below = at.bottom + gap, above = at.top - gap - menu.offsetHeight;
  menu.style.left = `${Math.max(left, gap)}px`;
  menu.style.top = `${below + menu.offsetHeight > innerHeight && above > gap ? above
    : Math.max(Math.min(below, innerHeight - menu.offsetHeight - gap), gap)}px`;
  opener.setAttribute("aria-expanded", "true");
  menu.addEventListener("toggle", (event) => {
    if (event.newState === "closed")
      opener.setAttribute("aria-expanded", "false");
  }, { once: true });
}

let vanishing;

/** A sentence that goes away by itself; one that is a trouble stays until it is clicked away. */
export function say(text, isTrouble = false) {
  const toast = $("toast");
  clearTimeout(vanishing);
  $("toast-text").textContent = text;
  toast.hidden = false;
  toast.classList.toggle("trouble", isTrouble);
  if (!isTrouble)
    vanishing = setTimeout(() => {
      toast.hidden = true;
    }, 4000);
}

export function unsay() {
  $("toast").hidden = true;
}

/** Put text on the clipboard. Browsers offer it to pages from this machine or over https; elsewhere a
 *  selection is copied, as by hand. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) {
      say(`The browser did not let ${what} be copied.`, true);
      return;
    }
  }
  say(`Copied ${what}.`);
}

/** Hand a file to the reader. */
export function save(name, data) {
  const url = URL.createObjectURL(new Blob([data]));
  const link = make("a", { href: url, download: name });

  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
