// profiles.js - what the page knows of profiles by their names. One that is not here works too: it is
// shown like any other, and a program's own are.

/**
 * title: what people call it; order: in the menu; window: "only" if it is of a span of time, "no" if it
 * cannot be; seconds: that span if nobody says another; detail: a query whose text is kept with the
 * capture, for a view that wants more than stacks; tab: what it opens on; root: the label that its
 * graphs are grouped by; empty: what it means that there is nothing in it.
 */
const KNOWN = {
  heap: { title: "Heap", order: 1 },
  leaks: { title: "Leaks", order: 2, window: "no", root: "kind", empty: "No leaks were found." },
  allocs: { title: "Allocations", order: 2 },
  profile: { title: "CPU", order: 3, window: "only", seconds: 10,
    about: "Where processor time goes, watched for a while." },
  threads: { title: "Threads", order: 4, window: "no", detail: "?debug=2", tab: "threads" },
  goroutine: { title: "Threads", window: "no", detail: "?debug=2", tab: "threads", hidden: true },
  holders: { title: "Holders", order: 3, window: "no", empty: "Nothing is held, or not long enough." },
  memory: { title: "Where memory is", order: 1, window: "no" },
  mmap: { title: "Mappings", order: 2 },
  mutex: { title: "Mutex", order: 5 },
  block: { title: "Block", order: 6 },
  threadcreate: { title: "Thread creation", order: 7 },
};
const NO_PROFILES = ["cmdline", "symbol"];

/** A capture that the program has kept, "captures/PROGRAM.PID.TIME.NUMBER.RULE.VALUE.PROFILE.pb.gz":
 * { process, profile }; null: it is none. */
export function kept(name) {
  const found = /^captures\/.+\.(\d+)\.\d{8}T\d{6}Z\.\d+\.[^.]*\.[^.]*\.([^.]+)\.pb\.gz$/.exec(name);
  return found && { process: Number(found[1]), profile: found[2] };
}

/** What kind of profile that is: the same for one of now and one that was kept. */
export function kindOf(name) {
  return kept(name)?.profile || name;
}

export function known(name) {
  const all = { title: name, order: 100, window: "", seconds: 0, root: "", ...KNOWN[kindOf(name)] };
  return kept(name) ? { ...all, title: "Kept " + all.title.toLowerCase(), window: "no", seconds: 0,
    detail: undefined, tab: undefined } : all;
}

/** The rows of the menu, from those the program says it has. Without a program: the usual ones. */
export function menu(profiles) {
  const listed = profiles.length ? profiles : ["heap", "allocs", "threads", "mutex", "block"].map(
    (name) => ({ name, about: "" }));
  const all = listed.some((p) => p.name === "profile") ? listed
    : [...listed, { name: "profile", about: "" }];

  return all.filter((p) => !NO_PROFILES.includes(p.name) && !known(p.name).hidden)
    .map((p) => ({ ...known(p.name), ...p, about: p.about || known(p.name).about || "",
      // One of the program's own has no description, and no windows.
      window: known(p.name).window || (p.about ? "" : KNOWN[p.name] ? "" : "no") }))
    .sort((a, b) => a.order - b.order || (a.name < b.name ? -1 : 1));
}
