// folded.js - folded stacks, "main;serve;parse 4096" a line, as a profile like those that pprof.js reads.
//
// The file says nothing of its unit, nor where the code is: values are numbers, names are all there is.

const MAX_LINES = 5000000;
const LINE = /^(.*\S)\s+(-?\d+(?:\.\d+)?)$/;

/** Does it look like folded stacks? Only its beginning is looked at. */
export function isFolded(bytes) {
  const begin = new TextDecoder().decode(bytes.subarray(0, 65536));
  const lines = begin.split("\n").filter(Boolean);
  if (bytes.length > 65536)
    lines.pop(); // cut off
  return lines.length > 0 && !/[\0\ufffd]/.test(begin) &&
    lines.every((line) => LINE.test(line.trimEnd())) && lines.some((line) => line.includes(";"));
}

/** The profile, of one type. Throws an Error with a sentence. */
export function decodeFolded(bytes) {
  const locations = [], number = new Map(), stacks = [], values = [];
  let count = 0;

  for (const line of new TextDecoder().decode(bytes).split("\n")) {
    const found = LINE.exec(line.trimEnd());
    if (!found) {
      if (line.trim())
        throw new Error(`This is no file of folded stacks: line ${count + 1} has no value.`);
      continue;
    }
    if (++count > MAX_LINES)
      throw new Error("This file has more than five million lines.");
    const stack = found[1].split(";").map((name) => {
      if (!number.has(name)) {
        number.set(name, locations.length);
        locations.push({ address: 0, module: "[unknown]", lines: [{ name, file: "", line: 0 }] });
      }
      return number.get(name);
    });
    stacks.push(stack.reverse()); // leaf first, as in a profile
    values.push(Number(found[2]));
  }
  return {
    types: [{ type: "value", unit: "count" }], shown: 0, stacks, values: [Float64Array.from(values)],
    labels: stacks.map(() => []), locations, main: "", comments: [], timeMs: 0, durationS: 0,
    period: { type: "", unit: "", value: 0 },
  };
}
