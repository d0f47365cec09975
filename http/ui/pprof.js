// pprof.js - the bytes of a pprof profile, gzipped or not, as objects.
//
// The only format this viewer reads, and the same bytes that every other client gets. A profile may
// come from a stranger's file: indexes are checked, and what is out of range is an Error with a
// sentence, or left out.
//
//   decode(bytes) -> Promise of
//   { types: [{type, unit}], shown: index of the type to show first,
//     stacks: [[location index, leaf first]], values: one Float64Array a type, labels: [[label]],
//     locations: [{address, module, lines: [{name, file, line}]}], innermost line first,
//     main: the program's own file, the first mapping,
//     comments, timeMs, durationS, period: {type, unit, value} }

const MAX_BYTES = 1 << 30; // of protobuf
const MAX_NAME = 4096; // characters kept of any string

/** A cursor over one message. */
export class Reader {
  constructor(bytes, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** A varint as a signed 64-bit number: exact up to 2^53, the nearest beyond. */
  number() {
    if (this.at < this.end && this.bytes[this.at] < 128) // most are that small
      return this.bytes[this.at++];
    let low = 0, high = 0, shift = 0, byte;
    do {
      if (this.at >= this.end || shift > 63)
        throw new Error("This is no profile: a number is cut short.");
      byte = this.bytes[this.at++];
      const bits = byte & 127;
      if (shift < 28) {
        low |= bits << shift;
      } else if (shift === 28) {
        low |= bits << 28;
        high = bits >> 4;
      } else {
        high |= bits << (shift - 32);
      }
      shift += 7;
    } while (byte & 128);
    return high * 4294967296 + (low >>> 0);
  }

  /** A nested message or string: the bounds of its bytes. */
  part() {
    const size = this.number(), start = this.at;
    if (size < 0 || size > this.end - start)
      throw new Error("This is no profile: a field is cut short.");
    this.at += size;
    return new Reader(this.bytes, start, this.at);
  }

  /** Call each(field, wire type) for every field. What it does not read is skipped. */
  fields(each) {
    while (this.at < this.end) {
      const key = this.number(), before = this.at;
      each(key >>> 3, key & 7);
      if (this.at === before)
        this.skip(key & 7);
    }
  }

  skip(wire) {
    if (wire === 0)
      this.number();
    else if (wire === 2)
      this.part();
    else if (wire === 1 || wire === 5)
      this.at += wire === 1 ? 8 : 4;
    else
      throw new Error("This is no profile: a field has no known form.");
    if (this.at > this.end)
      throw new Error("This is no profile: a field is cut short.");
  }

  /** Numbers of a repeated field, which may be packed or single. */
  numbers(wire, out) {
    if (wire !== 2) {
      out.push(this.number());
      return;
    }
    const part = this.part();
    while (part.at < part.end)
      out.push(part.number());
  }
}

/** The scalar fields of a small message: {field number: value}. */
function scalars(reader) {
  const out = {};
  reader.fields((field, wire) => {
    if (wire === 0)
      out[field] = reader.number();
  });
  return out;
}

// Control characters, and those that turn the direction of the text around them.
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

function clean(text) {
  const cut = text.length > MAX_NAME ? text.slice(0, MAX_NAME) + "…" : text;
  return cut.replace(UNPRINTABLE, "\ufffd");
}

/** As pprof does it: no "//", no "/./", no "x/../". */
export function cleanPath(path) {
  if (!/\/\/|\/\.|^\.\//.test(path))
    return path;
  const out = [];
  for (const part of path.split("/")) {
    if (part === ".." && out.length && out[out.length - 1] !== "..") {
      if (out.length > 1 || out[0] !== "")
        out.pop();
    } else if (part !== "." && (part !== "" || out.length === 0)) {
      out.push(part);
    }
  }
  return out.join("/") || "/";
}

export async function gunzip(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const reader = stream.getReader(), pieces = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw new Error("This is no profile: it cannot be decompressed.");
    });
    if (done)
      break;
    size += value.length;
    if (size > MAX_BYTES) {
      reader.cancel();
      throw new Error("This profile is larger than 1 GiB.");
    }
    pieces.push(value);
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

/** The tables as they are in the file: ids and string indexes unresolved. */
function readTables(bytes) {
  const t = {
    types: [], samples: [], mappings: new Map(), locations: [], functions: new Map(),
    strings: [], comments: [], period: {}, scalar: {},
  };
  const utf8 = new TextDecoder();
  const reader = new Reader(bytes);

  reader.fields((field, wire) => {
    if (wire === 0 && field !== 13) {
      t.scalar[field] = reader.number();
    } else if (field === 13) {
      reader.numbers(wire, t.comments);
    } else if (wire !== 2) {
      return;
    } else if (field === 1) {
      t.types.push(scalars(reader.part()));
    } else if (field === 2) {
      const sample = { ids: [], values: [], labels: [] }, part = reader.part();
      part.fields((f, w) => {
        if (f === 1)
          part.numbers(w, sample.ids);
        else if (f === 2)
          part.numbers(w, sample.values);
        else if (f === 3 && w === 2)
          sample.labels.push(scalars(part.part()));
      });
      t.samples.push(sample);
    } else if (field === 3) {
      const mapping = scalars(reader.part());
      t.mappings.set(mapping[1], mapping);
    } else if (field === 4) {
      const location = { lines: [] }, part = reader.part();
      part.fields((f, w) => {
        if (f === 4 && w === 2)
          location.lines.push(scalars(part.part()));
        else if (w === 0)
          location[f] = part.number();
      });
      t.locations.push(location);
    } else if (field === 5) {
      const fn = scalars(reader.part());
      t.functions.set(fn[1], fn);
    } else if (field === 6) {
      const part = reader.part();
      t.strings.push(clean(utf8.decode(bytes.subarray(part.at, part.end))));
    } else if (field === 11) {
      t.period = scalars(reader.part());
    }
  });
  return t;
}

export function hex(address) {
  return "0x" + BigInt.asUintN(64, BigInt(address)).toString(16);
}

function baseName(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** A name for code that has none: the module and where in its file, as libprof writes it. */
function placeName(location, mapping, file) {
  if (!mapping || !file)
    return hex(location[3] || 0);
  return baseName(file) + "+" + hex((location[3] || 0) - (mapping[2] || 0) + (mapping[4] || 0));
}

export async function decode(input) {
  const packed = input[0] === 0x1f && input[1] === 0x8b;
  const t = readTables(packed ? await gunzip(input) : input);
  const text = (index) => t.strings[index] || "";
  const types = t.types.map((v) => ({ type: text(v[1]), unit: text(v[2]) }));

  if (!types.length || t.strings[0] !== "")
    throw new Error("This is no pprof profile.");

  const indexOf = new Map();
  const locations = t.locations.map((l, index) => {
    const mapping = t.mappings.get(l[2]), module = mapping ? text(mapping[5]) : "";
    const lines = l.lines.map((line) => {
      const fn = t.functions.get(line[1]) || {};
      return { name: text(fn[2]) || "??", file: cleanPath(text(fn[4])), line: line[2] || 0 };
    });
    indexOf.set(l[1], index);
    if (!lines.length)
      lines.push({ name: placeName(l, mapping, module), file: "", line: 0 });
    return { address: l[3] || 0, module: module || "[unknown]", lines };
  });

  const values = types.map(() => new Float64Array(t.samples.length));
  const stacks = [], labels = [];
  t.samples.forEach((sample, i) => {
    stacks.push(sample.ids.map((id) => indexOf.get(id)).filter((x) => x !== undefined));
    values.forEach((column, k) => {
      column[i] = sample.values[k] || 0;
    });
    labels.push(sample.labels.map((l) => ({ key: text(l[1]), text: l[2] ? text(l[2]) : null,
      number: l[3] || 0 })));
  });

  const [first] = t.mappings.values();
  const shown = types.findIndex((v) => v.type === text(t.scalar[14]));
  return {
    types, stacks, values, labels, locations,
    main: first ? text(first[5]) : "",
    shown: shown < 0 ? types.length - 1 : shown,
    comments: t.comments.map(text).filter(Boolean),
    timeMs: (t.scalar[9] || 0) / 1e6,
    durationS: (t.scalar[10] || 0) / 1e9,
    period: { type: text(t.period[1]), unit: text(t.period[2]), value: t.scalar[12] || 0 },
  };
}
