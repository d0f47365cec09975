#!/usr/bin/env python3
"""call_names.py - the numbers of system calls in <asm/unistd.h>, as a C table of names.

    call_names.py OUTPUT.h COMPILER...
"""
import re
import subprocess
import sys

MOST = 4096  # numbers beyond are of another interface


def main():
    macros = subprocess.run([*sys.argv[2:], "-E", "-dM", "-include", "asm/unistd.h", "-x", "c",
                             "/dev/null"], check=True, capture_output=True, text=True).stdout
    calls = {int(number): name for name, number in
             re.findall(r"^#define __NR_(\w+) (\d+)$", macros, re.M) if int(number) < MOST}
    if len(calls) < 100:
        sys.exit("call_names.py: %d system calls in asm/unistd.h" % len(calls))
    with open(sys.argv[1], "w") as f:
        f.write("/* Made by call_names.py; do not edit. */\n\n")
        f.write("static const char *const call_name[] = {\n")
        f.write("".join('    [%d] = "%s",\n' % call for call in sorted(calls.items())))
        f.write("};\n")


if __name__ == "__main__":
    main()
