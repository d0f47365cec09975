// views/about.js - what a profile says of itself.
import { make, shorten } from "../dom.js";
import { count, format, span } from "../format.js";

export const aboutView = {
  id: "about",
  title: "About",
  plain: true,
  applies: () => true,

  show(panel, page) {
    const { profile, bytes, title, program } = page.shown, list = make("dl", { class: "text" });
    const add = (name, text) => list.append(make("dt", {}, name), make("dd", {}, text));
    const modules = new Set(profile.locations.map((l) => l.module));

    add("Profile", title);
    if (program)
      add("Of", `${program.program}, process ${program.process} on ${program.host}` +
        (page.isHere() ? "" : ", not the one that serves this page"));
    if (profile.timeMs)
      add("Taken", new Date(profile.timeMs).toISOString());
    if (profile.durationS)
      add("Watched for", span(profile.durationS));
    add("Size", `${count(bytes.length)} bytes, ` +
      `${count(profile.stacks.length)} samples, ` +
      `${count(profile.locations.length)} places in code`);
    if (profile.period.value)
      add("Mean distance of samples", `${format(profile.period.value, profile.period.unit)} ` +
        `of ${profile.period.type}`);
    profile.types.forEach((type, k) => add(`Sum of ${shorten(type.type)}`,
      format(profile.values[k].reduce((a, b) => a + b, 0), type.unit)));
    add("Modules", [...modules].slice(0, 100).map((m) => shorten(m)).join(", ") || "none");
    for (const comment of profile.comments)
      add("Comment", comment);
    panel.replaceChildren(list);
  },

  keys: {},
};
