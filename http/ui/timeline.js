// timeline.js - what of a trace is where on the screen, and what a range of it holds. No drawing here.
//
// Times are nanoseconds since the trace's begin. A row is a track; its slices lie by depth.

export const ROW = 16, GAP = 6;

/** Rows from top to bottom: [{track, y, height}], and the height of all. */
export function layout(trace) {
  const rows = [], beside = new Map(); // what is of a thread stands below it
  let y = 0;
  for (const track of trace.tracks)
    beside.set(track.parent, [...(beside.get(track.parent) || []), track]);
  const uuids = new Set(trace.tracks.map((t) => t.uuid));
  const sorted = trace.tracks.filter((t) => !uuids.has(t.parent))
    .flatMap((t) => [t, ...(beside.get(t.uuid) || [])]);
  const placed = new Set(sorted);
  for (const track of [...sorted, ...trace.tracks.filter((t) => !placed.has(t))]) {
    const height = Math.max(track.deepest, 1) * ROW + GAP;
    rows.push({ track, y, height });
    y += height;
  }
  return { rows, height: y };
}

/** Of slices by begin, those that may reach into [from, to): up to the index after the last. */
export function before(slices, ns) {
  let low = 0, high = slices.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (slices[middle].begin < ns)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/** The slice at that time and depth; a moment within `near` of it comes first. */
export function sliceAt(track, ns, depth, near) {
  const end = before(track.slices, ns + near);
  let found = null;
  for (let i = end - 1; i >= 0 && i > end - 5000; i--) {
    const s = track.slices[i];
    if (s.depth !== depth)
      continue;
    if (s.moment && Math.abs(s.begin - ns) <= near)
      return s;
    if (!s.moment && s.begin <= ns + near && s.end >= ns - near) {
      found ||= s;
      if (s.begin <= ns && s.end >= ns)
        break;
    }
    if (!s.moment && s.end < ns - near)
      break;
  }
  return found;
}

const CAUSES = ["mutex", "read lock", "write lock", "condition variable", "semaphore", "barrier",
  "end of a thread"];

const waits = (slice) => slice.category === "wait" || slice.category === "io";

/** What a slice is coloured by: its cause. */
export function colour(slice) {
  if (slice.category === "wait") {
    const cause = CAUSES.indexOf(slice.name.replace(/^wait: /, ""));
    return ["#d64541", "#e67e22", "#c0392b", "#8e7cc3", "#b08a3c", "#5b8db8", "#7f8c8d"][cause] ||
      "#999";
  }
  if (slice.category === "state")
    return { running: "#3a9b3a", ready: "#d9822b" }[slice.name] || "#9aa0a6";
  return { region: "#3f9c5a", task: "#2f7fb5", labels: "#8a8f98", lost: "#000", cpu: "#f2b134",
    wake: "#1f6fb2", io: "#2a9d8f", thread: "#555", log: "#a0489d" }[slice.category] || "#777";
}

/** What happened in [from, to]: {waits, cpu, regions}: trees of {name, value, children: Map}, values in
 *  nanoseconds of the range; of waits also byCause: [[name, ns, times]]. */
export function summary(trace, from, to, only = null) {
  const node = (name) => ({ name, value: 0, self: 0, children: new Map() });
  const out = { waits: node("waits"), cpu: node("cpu"), byCause: new Map() };

  const add = (root, frames, value) => {
    let at = root;
    root.value += value;
    for (const name of frames) {
      if (!at.children.has(name))
        at.children.set(name, node(name));
      at = at.children.get(name);
      at.value += value;
    }
    at.self += value;
  };
  for (const track of trace.tracks) {
    if (only && track !== only)
      continue;
    for (const s of track.slices) {
      if (s.begin > to)
        break;
      if (waits(s) && s.end > from) {
        const ns = Math.min(s.end, to) - Math.max(s.begin, from);
        const [total, times] = out.byCause.get(s.name) || [0, 0];
        out.byCause.set(s.name, [total + ns, times + 1]);
        add(out.waits, [...(s.stack.length ? s.stack : ["(too short for a stack)"])].reverse()
          .concat(s.name), ns);
      } else if (s.category === "cpu" && s.begin >= from) {
        const ns = s.notes.find(([name]) => name.startsWith("CPU"))?.[1] || 0;
        add(out.cpu, [...s.stack].reverse(), ns);
      }
    }
  }
  out.byCause = [...out.byCause].map(([name, [ns, times]]) => [name, ns, times])
    .sort((a, b) => b[1] - a[1]);
  return out;
}

/** A tree as boxes: [{name, x, width: shares of the whole, depth, value}], largest first. */
export function boxes(tree, deepest = 40) {
  const out = [];
  const place = (node, x, depth) => {
    if (depth >= deepest)
      return;
    for (const child of [...node.children.values()].sort((a, b) => b.value - a.value)) {
      const width = child.value / (tree.value || 1);
      if (width < 0.0005)
        continue;
      out.push({ name: child.name, x, width, depth, value: child.value });
      place(child, x, depth + 1);
      x += width;
    }
  };
  place(tree, 0, 0);
  return out;
}

/** Folded stacks, as flame graph tools and this viewer read them. */
export function foldedOf(tree) {
  const lines = [];
  const walk = (node, path) => {
    if (node.self)
      lines.push(`${path.join(";")} ${Math.round(node.self)}`);
    for (const child of node.children.values())
      walk(child, [...path, child.name.replace(/[;\n]/g, ":")]);
  };
  walk(tree, []);
  return lines.join("\n") + "\n";
}
