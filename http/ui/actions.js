// actions.js - what can be done with the chosen function, in the order of the buttons. Another one is an
// entry here; a view that is about a function offers itself (views.js).
//
//   text, applies(page, frame)  may be missing: always; run(page, name)
import { copy } from "./dom.js";

const MEMORY = ["heap", "allocs", "leaks"];

/** A pattern for exactly that name. */
export function exactly(name) {
  return "^" + name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") + "$";
}

/** The same as the scan for holders takes it: short, without "\" and "{"; the name may have its
 *  parameters behind it there. */
function site(name) {
  const text = name.replace(/[\\^{}]/g, ".").replace(/[*+?$()|[\]]/g, "[$&]");
  return text.length < 200 ? `^${text}([(]|$)` : `^${text.slice(0, 200).replace(/\[[^\]]*$/, "")}`;
}

export const actions = [
  {
    text: "Who holds it?",
    applies: (page) => MEMORY.includes(page.state.name) && page.isHere() &&
      page.info.profiles.some((p) => p.name === "holders"),
    run: (page, name) => page.take("holders", 0, `site=${encodeURIComponent(site(name))}`),
  },
  { text: "Focus", run: (page, name) => page.go({ focus: exactly(name) }) },
  { text: "Ignore", run: (page, name) => page.go({ ignore: exactly(name) }) },
  { text: "Hide", run: (page, name) => page.go({ hide: exactly(name) }) },
  { text: "Copy name", run: (page, name) => copy(name, "the name") },
];
