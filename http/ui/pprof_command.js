// pprof_command.js - what is shown as a command of `go tool pprof`, whose numbers are the same.
import { fileName } from "./captures.js";
import { expression } from "./model.js";
import { urlOf } from "./server.js";

/** A word of a shell. */
function quoted(text) {
  return /^[\w./:=?&@%+,-]+$/.test(text) && !/[?&]/.test(text) ? text
    : `'${text.replace(/'/g, "'\\''")}'`;
}

/** The pattern as pprof understands it: there case always counts, unless it says not. */
function pattern(text) {
  return expression(text).flags.includes("i") && !text.startsWith("(?i)") ? "(?i)" + text : text;
}

export function command(page) {
  const { state, shown, base } = page, words = ["go tool pprof", "-http=localhost:0"];
  const granularity = { function: "filefunctions", line: "lines", file: "files" }[state.group];

  words.push(quoted(`-sample_index=${page.type}`));
  if (granularity)
    words.push(`-${granularity}`);
  for (const name of ["focus", "ignore", "hide"])
    if (state[name])
      words.push(quoted(`-${name}=${pattern(state[name])}`));
  if (state.label && state.label.value !== null) {
    const { key, value } = state.label;
    const found = shown.profile.labels.flat().find((l) => l.key === key);
    words.push(quoted(`-tagfocus=${key}=` + (found && found.text === null
      ? `${value}${key === "bytes" ? "b" : ""}` : `^${value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`)));
  }
  if (base)
    words.push(quoted(`-base=${fileName(base)}`));
  // A moment that has passed is in a file only.
  words.push(quoted(shown.file || base ? fileName(shown) : urlOf(shown.name, shown.seconds, shown.query)));
  return words.join(" ");
}
