#!/usr/bin/env python3
"""embed.py - the viewer's files as one C source: gzipped, each with a tag of its contents.

    embed.py OUTPUT.c FILE...

A file keeps its path below the folder of this script as its name; one from elsewhere has its base
name. NAME.json becomes the module NAME.json.js, whose default export is that value, since not every
browser imports JSON; a key "about" is a comment, and left out. The same input gives the same output, byte for byte: no time and no path goes into it.
"""
import gzip
import hashlib
import json
import os
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


HERE = os.path.dirname(os.path.abspath(__file__))


def read(path):
    """(name, contents) of a file as it is served."""
    inside = os.path.relpath(os.path.abspath(path), HERE)
    name = os.path.basename(path) if inside.startswith("..") else inside
    with open(path, "rb") as f:
        raw = f.read()
    if not name.endswith(".json"):
        return name, raw
    value = json.loads(raw)
    value.pop("about", None)
    text = json.dumps(value, separators=(",", ":"))
    return name + ".js", ("export default %s;\n" % text).encode()


def rows(data, width=16):
    for i in range(0, len(data), width):
        yield "    " + " ".join("%d," % byte for byte in data[i : i + width])


def main():
    output, files = sys.argv[1], sorted(read(path) for path in sys.argv[2:])
    arrays, entries = [], []
    for i, (name, raw) in enumerate(files):
        packed = gzip.compress(raw, 9, mtime=0)
        arrays.append("static const unsigned char file_%d[] = { /* %s */\n%s\n};\n" %
                      (i, name, "\n".join(rows(packed))))
        entries.append('    { "%s", "%s", "\\"%s\\"", file_%d, sizeof(file_%d), %d },' % (
            name, TYPES[os.path.splitext(name)[1]], hashlib.sha256(raw).hexdigest()[:24], i, i,
            len(raw)))
    with open(output, "w") as f:
        f.write('/* Made by embed.py; do not edit. */\n#include "ui.h"\n\n')
        f.write("\n".join(arrays))
        f.write("\nconst struct prof__ui_file prof__ui_files[] = {\n%s\n    { 0 },\n};\n" %
                "\n".join(entries))


if __name__ == "__main__":
    main()
