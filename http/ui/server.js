// server.js - everything that is asked of the program: what it is, its profiles, its source. All of it
// is what other clients get as well.
import { clock } from "./format.js";

let answered = 0; // when it answered last

/** An answer that is no error; else an Error with a sentence for people. */
async function ask(url, signal, method = "GET") {
  let response;
  try {
    response = await fetch(url, { signal, method, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError")
      throw error;
    throw new Error(answered
      ? `The program has ended, or cannot be reached any more (it answered until ${clock(answered)}).`
      : "The program cannot be reached.");
  }
  answered = Date.now();
  if (!response.ok) {
    const text = (await response.text()).trim().split("\n").filter(Boolean).slice(0, 3).join(". ");
    throw new Error(text || `The program answered ${response.status}.`);
  }
  return response;
}

function cut(error) {
  return error.name === "AbortError" ? error : error instanceof TypeError
    ? new Error(`The program ended in the middle of its answer (${clock(Date.now())}).`) : error;
}

/** The path of a profile as a URL relative to this page. */
function pathOf(name) {
  return "../" + name.split("/").map(encodeURIComponent).join("/");
}

/** The same with its parameters: those of `query`, as it is now or of what happens in `seconds`. */
function requestOf(name, seconds, query) {
  const all = [query, seconds ? `seconds=${seconds}` : ""].filter(Boolean).join("&");
  return pathOf(name) + (all && "?" + all);
}

/** The whole URL of a profile, for other programs. */
export function urlOf(name, seconds = 0, query = "") {
  return new URL(requestOf(name, seconds, query), location.href.split("#")[0]).href;
}

/** The bytes of a profile. */
export async function profile(name, seconds, query, signal) {
  const response = await ask(requestOf(name, seconds, query), signal);
  return new Uint8Array(await response.arrayBuffer().catch((error) => {
    throw cut(error);
  }));
}

/** Have the program keep a profile among its captures; what it says to that. */
export async function keep(name, seconds) {
  const query = new URLSearchParams({ profile: name, seconds, reason: "viewer" });
  return (await ask(`../captures?${query}`, undefined, "POST")).text();
}

/** The text of a profile: "?debug=2" of the threads. */
export async function text(name, query, signal) {
  const response = await ask(pathOf(name) + query, signal);
  return response.text().catch((error) => {
    throw cut(error);
  });
}

/**
 * What program this is: { program, process, host, version, startedMs, profiles: [{name, count, about}],
 * deadlock }, from the text of the index:
 *
 *   program: /usr/bin/service
 *   process: 1234
 *   ...
 *
 *   count  profile  about
 *   12 heap Memory in use now, ...
 */
export async function about() {
  const info = { program: "", process: 0, host: "", version: "", startedMs: 0, profiles: [] };
  const lines = (await text("", "?debug=1")).split("\n");
  const end = lines.indexOf("");

  for (const line of lines.slice(0, end)) {
    const [, key, value] = /^([a-z ]+): (.*)$/.exec(line) || [];
    if (key === "program" || key === "host" || key === "version")
      info[key] = value;
    else if (key === "process")
      info.process = Number(value) || 0;
    else if (key === "seconds up")
      info.startedMs = Date.now() - 1000 * (Number(value) || 0);
  }
  for (const line of lines.slice(end + 1)) {
    const found = /^ *(\d+)\t([^\t]+)\t(.*)$/.exec(line);
    try {
      if (found)
        info.profiles.push({ name: decodeURIComponent(found[2]), count: Number(found[1]),
          about: found[3] });
    } catch {
      // No name that could be asked for.
    }
  }
  return info;
}

/** Numbers over time, as /debug/pprof/vars?format=json has them. */
export async function vars() {
  return JSON.parse(await text("vars", "?format=json"));
}

/** The source file of a frame, asked for by address, since the program serves no file by name. */
export async function source(frame) {
  const address = "0x" + BigInt(frame.address).toString(16);
  const body = await (await ask(`source?address=${address}&depth=${frame.depth}`)).text();
  const end = body.indexOf("\n");

  return { file: body.slice(0, end), lines: body.slice(end + 1).replace(/\n$/, "").split("\n") };
}
