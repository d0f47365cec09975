// format.js - numbers as people read them. Signs are U+2212 and "+", so that columns of both line up.
// Not by toLocaleString(), which has a browser load its tables of languages before the first picture.

const SCALES = {
  bytes: [[1, "B"], [1024, "KiB"], [1048576, "MiB"], [1073741824, "GiB"], [1099511627776, "TiB"]],
  nanoseconds: [[1, "ns"], [1e3, "µs"], [1e6, "ms"], [1e9, "s"], [60e9, "min"], [3600e9, "h"]],
};

function scaleOf(size, unit) {
  const scale = SCALES[unit];
  return scale ? scale.filter((step) => size >= step[0]).pop() || scale[0] : [1, ""];
}

/** "1,234,567" */
export function count(n) {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ",");
}

function digits(n, by) {
  if (by === 1)
    return count(n);
  return n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0);
}

function signOf(value, always) {
  return value < 0 ? "−" : always && value > 0 ? "+" : "";
}

/** A value to read: "1.50 MiB"; with `sign`, "+1.50 MiB" or "−1.50 MiB". */
export function format(value, unit, sign = false) {
  const size = Math.abs(value), [by, name] = scaleOf(size, unit);
  return signOf(value, sign) + digits(size / by, by) + (name && " " + name);
}

/** "2.00 of 39.0 MiB": both in one unit, if it is the same for both. */
export function formatOf(value, total, unit, sign = false) {
  const part = scaleOf(Math.abs(value), unit), whole = scaleOf(Math.abs(total), unit);
  const left = part[1] === whole[1] ? format(value, unit, sign).split(" ")[0]
    : format(value, unit, sign);
  return `${left} of ${format(total, unit)}`;
}

export function percent(value, total) {
  return total ? (100 * value / total).toFixed(1).replace("-", "−") + " %" : "";
}

/** How much a second: "+71.7 KiB/s"; time a second is how many processors, or threads, it takes. */
export function rate(value, unit, seconds, sign = true) {
  const each = value / seconds;
  if (unit === "nanoseconds")
    return `${signOf(each, sign)}${Math.abs(each / 1e9).toFixed(2)} s/s`;
  if (SCALES[unit])
    return format(each, unit, sign) + "/s";
  const size = Math.abs(each);
  return `${signOf(each, sign)}${size < 100 ? size.toFixed(1) : digits(size, 1)}/s`;
}

/** A span of time: "30.0 s", "3 h 12 min", "2 d 4 h". */
export function span(seconds) {
  if (seconds < 60)
    return seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = parts.findIndex(([, size]) => seconds >= size);
  const [name, size] = parts[first], rest = parts[first + 1];
  const more = Math.floor(seconds % size / rest[1]);
  return `${Math.floor(seconds / size)} ${name}` + (more ? ` ${more} ${rest[0]}` : "");
}

/** The time of day, 24 hours. */
export function clock(ms) {
  return new Date(ms).toTimeString().slice(0, 8);
}

/** What a unit is called in a heading: "bytes", "count". */
export function plural(n, one, many = one + "s") {
  return `${count(n)} ${n === 1 ? one : many}`;
}
