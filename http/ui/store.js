// store.js - the last captures, in the browser's own database, so that a reload or a restart of the
// program does not lose them.
//
// Two tables: what a list shows, and the bytes, which may be megabytes each. A browser without a
// database (a private window, no room) keeps them in memory only, and nothing is said of it.

const NAME = "libprof", VERSION = 1;
export const KEPT = 20; // captures

let opening = null;

function open() {
  opening ||= new Promise((resolve) => {
    try {
      const request = indexedDB.open(NAME, VERSION);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("list", { keyPath: "at" });
        request.result.createObjectStore("bytes");
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = request.onblocked = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opening;
}

/** Run `work` in a transaction; its request's result, or undefined when something went wrong. */
async function run(mode, work) {
  const base = await open();
  if (!base)
    return undefined;
  return new Promise((resolve) => {
    try {
      const transaction = base.transaction(["list", "bytes"], mode);
      const request = work(transaction.objectStore("list"), transaction.objectStore("bytes"));
      transaction.oncomplete = () => resolve(request && request.result);
      transaction.onerror = transaction.onabort = () => resolve(undefined);
    } catch {
      resolve(undefined);
    }
  });
}

/** What is kept, the newest first, without the bytes. */
export async function list() {
  return (await run("readonly", (items) => items.getAll()) || []).sort((a, b) => b.at - a.at);
}

/** The bytes of one; undefined: they are gone. */
export function bytesOf(at) {
  return run("readonly", (items, bytes) => bytes.get(at));
}

/** Keep one, and only the newest KEPT of all. */
export async function keep(item, bytes) {
  await run("readwrite", (items, all) => {
    items.put(item);
    all.put(bytes, item.at);
  });
  for (const old of (await list()).slice(KEPT))
    await forget(old.at);
}

export function forget(at) {
  return run("readwrite", (items, bytes) => {
    items.delete(at);
    bytes.delete(at);
  });
}
