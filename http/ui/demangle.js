// demangle.js - C++ names for people.
export function demangle(name) {
  return name;
}
