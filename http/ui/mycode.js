// mycode.js - whose code a frame is: the program's own, or that of an allocator, a container, the
// language's library, libc.
//
// The rules come from lib/encode/mycode.json, which the text tables go by too; what they mean is said
// there. The reader's own list, regular expressions a line each, is kept in this browser: "mine" wins
// over "foreign", and both over the rules.
import rules from "./mycode.json.js";

const KEPT_AS = "libprof.mycode";
const begins = (list) => new RegExp("^(?:" + list.map(
  (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|") + ")");
const modules = begins(rules.modules), moduleNames = begins(rules.module_names), files = begins(rules.files);
const prefixes = begins(rules.name_prefixes), names = new Set(rules.names);

let own = { mine: "", foreign: "" };
let version = 0; // of the reader's list
try {
  own = { ...own, ...JSON.parse(localStorage.getItem(KEPT_AS) || "{}") };
} catch {
  // No storage, or not ours: the rules alone.
}

/** The reader's list: { mine, foreign }, a text of lines each. */
export function ownList() {
  return { ...own };
}

/** Keep another list. A line that is no regular expression is an Error, and nothing changes. */
export function keepList(list) {
  tests(list.mine);
  tests(list.foreign);
  own = { mine: list.mine, foreign: list.foreign };
  version++;
  try {
    localStorage.setItem(KEPT_AS, JSON.stringify(own));
  } catch {
    // It holds until the page is left.
  }
}

function tests(text) {
  return String(text).split("\n").map((line) => line.trim()).filter(Boolean).map((line) => {
    try {
      return new RegExp(line);
    } catch (error) {
      throw new Error(`${line}: ${error.message.replace(/^.*: /, "")}`);
    }
  });
}

/** "malloc.part.0" and "malloc(unsigned long)" are malloc. */
function bare(name) {
  const end = name.search(/[.(]/);
  return end > 0 ? name.slice(0, end) : name;
}

function isForeignByRule(frame, main) {
  return (frame.module !== main && (modules.test(frame.module) ||
      moduleNames.test(frame.module.slice(frame.module.lastIndexOf("/") + 1)))) || files.test(frame.file) ||
    rules.file_parts.some((part) => frame.file.includes(part)) ||
    prefixes.test(frame.name) || names.has(bare(frame.name));
}

/** Does the name stand for something that is no code: "[lost: table full]"? */
export function isPseudo(name) {
  return name[0] === "[";
}

/** For each frame of a list, 1 if it is not the program's own. `main` is the program's file. The
 *  answer is kept in `cache`, an object of the caller's, until the reader's list changes. */
export function foreignFrames(frames, main, cache) {
  if (cache.foreign && cache.version === version)
    return cache.foreign;
  const seen = new Map(), foreign = new Uint8Array(frames.length);
  const mine = tests(own.mine), others = tests(own.foreign);
  const any = (list, frame) => list.some(
    (test) => test.test(frame.name) || test.test(frame.file) || test.test(frame.module));

  frames.forEach((frame, i) => {
    const id = `${frame.name}\n${frame.file}\n${frame.module}`;
    let is = seen.get(id);
    if (is === undefined) {
      is = !any(mine, frame) && (any(others, frame) || isForeignByRule(frame, main));
      seen.set(id, is);
    }
    foreign[i] = is ? 1 : 0;
  });
  cache.foreign = foreign;
  cache.version = version;
  return foreign;
}
