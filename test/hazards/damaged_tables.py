#!/usr/bin/env python3
"""damaged_tables.py - a library with damaged unwind tables is no reason to crash in it.

    damaged_tables.py PROGRAM LIBRARY

Nobody but exceptions and profilers reads these tables, so a program runs well with any. PROGRAM works
in copies of LIBRARY with another damage each: a count that is too large, entries far away, and bytes
at random from a fixed seed.
"""
import os
import random
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402

EH_FRAME = 0x6474e550  # PT_GNU_EH_FRAME
program, library = sys.argv[1:]


def table_of(image):
    """Where .eh_frame_hdr is, which in the first segments is its address too, and its size."""
    at, = struct.unpack_from("<Q", image, 32)
    n, = struct.unpack_from("<H", image, 56)
    for i in range(n):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", image, at + 56 * i)
        if kind == EH_FRAME:
            return offset, size
    raise ValueError("no .eh_frame_hdr")


def count(image, at, size):
    struct.pack_into("<I", image, at + 8, 0x7fffffff)


def entries(image, at, size):
    for i in range(struct.unpack_from("<I", image, at + 8)[0]):
        struct.pack_into("<i", image, at + 12 + 8 * i + 4, 0x70000000)


def functions(image, at, size):
    for i in range(struct.unpack_from("<I", image, at + 8)[0]):
        struct.pack_into("<i", image, at + 12 + 8 * i, -0x70000000)


def lengths(image, at, size):
    """Of the entries themselves, which lie behind the table."""
    for i in range(struct.unpack_from("<I", image, at + 8)[0]):
        where = at + struct.unpack_from("<i", image, at + 12 + 8 * i + 4)[0]
        struct.pack_into("<I", image, where, 0xfffffff0 - i)


def at_random(seed):
    def damage(image, at, size):
        r = random.Random(seed)
        for _ in range(30):
            image[at + 12 + r.randrange(size * 4)] = r.randrange(256)
    return damage


with tempfile.TemporaryDirectory() as d:
    damages = [count, entries, functions, lengths] + [at_random(i) for i in range(8)]
    for i, damage in enumerate(damages):
        image = bytearray(open(library, "rb").read())
        damage(image, *table_of(image))
        path = os.path.join(d, "damaged.so")
        with open(path, "wb") as f:
            f.write(image)
        p = subprocess.run([program, path], capture_output=True, text=True, timeout=120)
        check(p.returncode == 0 and ", 0 failed" in p.stdout,
              f"{getattr(damage, '__name__', i)} {i}: {p.returncode} {p.stdout}{p.stderr}")
sys.exit(report())
