// tree.js - the tree of calls of a selection, and other trees made of the same stacks: from the leaves
// up, or only what is above or below one function.

/** The whole stack, from its root. */
export const CALLS = null;

/** From the leaf: who called the functions that hold the value. */
export function inverted(s, i) {
  return [s.at[i + 1] - 1, s.at[i] - 1, -1];
}

/** Where `key` comes first, from the root, in stack i; -1: nowhere. */
function outermost(s, i, key) {
  for (let k = s.at[i]; k < s.at[i + 1]; k++)
    if (s.path[k] === key)
      return k;
  return -1;
}

/** From `key` to what it calls. Recursion shows as a call of itself. */
export function calleesOf(key) {
  return (s, i) => {
    const from = outermost(s, i, key);
    return from < 0 ? null : [from, s.at[i + 1], 1];
  };
}

/** From `key` to who calls it. */
export function callersOf(key) {
  return (s, i) => {
    const from = outermost(s, i, key);
    return from < 0 ? null : [from, s.at[i] - 1, -1];
  };
}

/** The parts of the stacks that are taken, one after the other: stack i is path[at[i] .. at[i + 1]). */
function partsOf(s, part) {
  if (!part)
    return { at: s.at, path: s.path, values: s.values, count: s.count };
  const at = [0], values = [], path = new Int32Array(s.at[s.count]);
  let end = 0;
  for (let i = 0; i < s.count; i++) {
    const taken = part(s, i);
    if (!taken)
      continue;
    const [from, to, step] = taken;
    for (let p = from; p !== to; p += step)
      path[end++] = s.path[p];
    at.push(end);
    values.push(s.values[i]);
  }
  return { at, path, values, count: values.length };
}

/** The numbers of the stacks in the order of their keys, so that equal beginnings are side by side. */
function inOrder({ at, path, count }) {
  const order = new Int32Array(count).map((_, i) => i);
  return order.sort((a, b) => {
    const ends = at[a + 1];
    let p = at[a], q = at[b];
    const end = Math.min(ends, p + at[b + 1] - q);
    while (p < end && path[p] === path[q]) {
      p++;
      q++;
    }
    return p < end ? path[p] - path[q] : at[a + 1] - at[a] - (at[b + 1] - at[b]);
  });
}

/** How many keys two stacks begin alike with. */
function shared({ at, path }, before, now) {
  let depth = 0;
  if (before >= 0)
    for (const most = Math.min(at[before + 1] - at[before], at[now + 1] - at[now]);
      depth < most && path[at[before] + depth] === path[at[now] + depth]; depth++)
      ;
  return depth;
}

/**
 * A tree as columns: node 0 is the root, a parent comes before its children.
 *
 * `part` says which part of a stack to take, and in which order: (selection, i) -> [from, to, step],
 * or null for none of it.
 *
 * self, total: values; weight: how wide, the sum of the absolute self values below. So a node whose
 * parts grew and shrank alike has a total of 0 and is still there to be looked into.
 *
 * The stacks are sorted, and each then adds nodes only from where it parts from the one before: no
 * table of nodes is needed to find those that are there.
 */
export function tree(s, part = CALLS) {
  const parts = partsOf(s, part), { at, path } = parts, order = inOrder(parts);
  let n = 1, deepest = 0;
  for (let i = 0, before = -1; i < order.length; before = order[i++]) {
    const now = order[i], size = at[now + 1] - at[now];
    n += size - shared(parts, before, now);
    deepest = Math.max(deepest, size);
  }
  const key = new Int32Array(n), parent = new Int32Array(n), first = new Int32Array(n);
  const next = new Int32Array(n); // child, sibling; 0: none
  const self = new Float64Array(n), spine = new Int32Array(deepest + 1); // nodes of the stack before

  key[0] = parent[0] = -1;
  n = 1;
  for (let i = 0, before = -1; i < order.length; before = order[i++]) {
    const now = order[i], size = at[now + 1] - at[now];
    for (let depth = shared(parts, before, now); depth < size; depth++) {
      const node = n++, above = spine[depth];
      key[node] = path[at[now] + depth];
      parent[node] = above;
      next[node] = first[above];
      first[above] = node;
      spine[depth + 1] = node;
    }
    self[spine[size]] += parts.values[now];
  }

  const total = self.slice(), weight = new Float64Array(n);
  for (let node = n - 1; node >= 0; node--) {
    weight[node] += Math.abs(self[node]);
    if (node > 0) {
      total[parent[node]] += total[node];
      weight[parent[node]] += weight[node];
    }
  }
  const sorted = new Map();
  /** The heaviest first. Sorted when first asked for: most of a tree is never seen. */
  const children = (node) => {
    let list = sorted.get(node);
    if (!list) {
      list = [];
      for (let child = first[node]; child; child = next[child])
        list.push(child);
      list.sort((a, b) => weight[b] - weight[a] || a - b);
      sorted.set(node, list);
    }
    return list;
  };
  return { size: n, key, parent, self, total, weight, children };
}

/** The keys from the root to a node. */
export function pathTo(t, node) {
  const keys = [];
  for (; node > 0; node = t.parent[node])
    keys.unshift(t.key[node]);
  return keys;
}

/** The node that a path of keys leads to, as far as it goes. */
export function follow(t, keys) {
  let node = 0;
  for (const key of keys) {
    const child = t.children(node).find((c) => t.key[c] === key);
    if (child === undefined)
      break;
    node = child;
  }
  return node;
}
