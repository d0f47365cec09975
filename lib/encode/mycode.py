#!/usr/bin/env python3
"""mycode.py - the rules of mycode.json as a C header.

    mycode.py RULES.json OUTPUT.h
"""
import json
import sys

KINDS = ("modules", "module_names", "files", "file_parts", "name_prefixes", "names")


def literal(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main():
    with open(sys.argv[1]) as f:
        rules = json.load(f)
    rules.pop("about", None)
    unknown = set(rules) ^ set(KINDS)
    if unknown:
        sys.exit("%s: not the kinds of rules that mycode.c knows: %s" %
                 (sys.argv[1], ", ".join(sorted(unknown))))
    with open(sys.argv[2], "w") as f:
        f.write("/* Made by mycode.py; do not edit. */\n")
        for kind in KINDS:
            # Sorted, as mycode.c searches them by halves.
            items = sorted(set(rules[kind]))
            f.write("\nstatic const char *const rule_%s[] = {\n" % kind)
            f.write("".join("    %s,\n" % literal(item) for item in items))
            f.write("};\n")


if __name__ == "__main__":
    main()
