#!/usr/bin/env python3
"""soname.py - by which name programs know a shared library.

    soname.py NAME DIRECTORY|- COMPILER...

Prints the soname of libNAME.so, in DIRECTORY or where the compiler finds it.
"""
import os
import re
import subprocess
import sys

name, directory, compiler = "lib%s.so" % sys.argv[1], sys.argv[2], sys.argv[3:]
path = os.path.join(directory, name)
if not os.path.exists(path):
    path = subprocess.run([*compiler, "-print-file-name=" + name], stdout=subprocess.PIPE,
                          check=True, text=True).stdout.strip()
dynamic = subprocess.run(["readelf", "-dW", path], stdout=subprocess.PIPE, check=True, text=True,
                         env=dict(os.environ, LC_ALL="C")).stdout
print(re.search(r"\(SONAME\).*\[(.*)\]", dynamic).group(1))
