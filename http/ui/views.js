// views.js - the views of a profile, in the order of their tabs. Another one is a module and a line here.
//
//   id, title     of its tab, and in the URL
//   applies(page) is there anything for it to show?
//   show(panel, page)  fill its panel; called whenever something has changed while it is open
//   tools(page)   elements of its own for the toolbar; may be missing
//   of(frame, page)  a word for a button that leads to what it says of one function; "" or missing: it
//                 says nothing of that
//   find(page)    what the search found in it: { count, go(i) }; may be missing
//   keys          { key: (page) => ... } while it is open
//   plain         it is not about functions, so that the chosen one does not show below it
//   focus()       take the keyboard; may be missing
//
// page is page.js's: the state, the capture and the selection to read, and go() to change the state.
import { aboutView } from "./views/about.js";
import { callersView } from "./views/callers.js";
import { flameView } from "./views/flame.js";
import { labelsView } from "./views/labels.js";
import { sizesView } from "./views/sizes.js";
import { sourceView } from "./views/source.js";
import { threadsView } from "./views/threads.js";
import { timeView } from "./views/time.js";
import { topView } from "./views/top.js";

export const views = [
  threadsView, flameView, topView, callersView, sourceView, sizesView, labelsView, timeView,
  aboutView,
];
