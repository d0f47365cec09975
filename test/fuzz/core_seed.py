#!/usr/bin/env python3
"""core_seed.py - a small core file as the kernel lays them out, to begin damaging from.

    core_seed.py OUT

A program of one object with a vtable in its data, a heap with chunks in use and free, an arena of its own,
a stack, two threads, and libprof's root. Small, so that most damage hits something that is read.
"""
import struct
import sys

PAGE = 4096
TEXT, DATA, HEAP, ARENA, STACK, VDSO = 0x555555554000, 0x555555558000, 0x555555660000, 0x7f0004000000, 0x7ffffffde000, 0
MAGIC = b"\x8flibprof\r\n\x1a\n\0ro\0"


def pad(data, size=PAGE):
    return data + bytes(-len(data) % size)


def q(*words):
    return struct.pack("<%dQ" % len(words), *words)


def note(kind, desc):
    return struct.pack("<III", 5, len(desc), kind) + b"CORE\0\0\0\0" + pad(desc, 4)


def ehdr(kind, phnum, phoff=64):
    return b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", kind, 62, 1, 0, phoff, 0, 0, 64, 56, phnum, 64, 0, 0)


def phdr(kind, flags, offset, vaddr, filesz, memsz):
    return struct.pack("<IIQQQQQQ", kind, flags, offset, vaddr, 0, filesz, memsz, PAGE)


def program():
    """The first page of the object: headers, and a build id."""
    build_id = struct.pack("<III", 4, 8, 3) + b"GNU\0" + b"01234567"
    at = 64 + 3 * 56
    head = ehdr(3, 3) + phdr(1, 5, 0, 0, PAGE, PAGE) + phdr(1, 6, PAGE, DATA - TEXT, PAGE, 2 * PAGE)
    return pad(head + phdr(4, 4, at, at, len(build_id), len(build_id)) + build_id)


def data():
    """A vtable with its type_info, one that names it, the head of a list, and the root of libprof's tables."""
    page = bytearray(PAGE)
    page[0:48] = q(0, DATA + 64, TEXT + 0x800, TEXT + 0x810, 0, 0)  # the vtable's address is DATA + 16
    page[64:80] = q(DATA + 16, DATA + 128)
    page[128:138] = b"7Session\0\0"
    page[256:280] = q(HEAP + 0x290 + 16, HEAP + 0x290 + 16, HEAP + 0x2b0 + 16)
    root = MAGIC + struct.pack("<II16s", 1, 152, b"0.1.0") + q(*[DATA + 1024 + i * 8 for i in range(7)])
    root += q(DATA + 2048, 14336, DATA + 2048, 1024, DATA + 320, DATA + 3000, 8)
    page[512:512 + len(root)] = root
    return bytes(page)


def chunks(sizes, total, content):
    """[(size, in use)] and a top."""
    out, previous, used = bytearray(), 0, True
    for size, in_use in sizes:
        out += q(0 if used else previous, size | used) + content[:size - 16].ljust(size - 16, b"\0")
        previous, used = size, in_use
    return bytes(out) + q(0 if used else previous, (total - len(out)) | used) + bytes(total - len(out) - 16)


def state_at(at, following):
    """An arena all of whose bins are empty."""
    state = bytearray(0x898)
    for i in range(127):
        state[0x70 + i * 16:0x80 + i * 16] = q(at + 0x60 + i * 16, at + 0x60 + i * 16)
    state[0x870:0x890] = q(following, 0, 1, 2 * PAGE)
    return bytes(state)


def main(path):
    tcache = q(*[0] * 80)
    heap = chunks([(0x290, True)], 0x290 + 16, tcache)[:0x290]
    heap += chunks([(0x20, True), (0x40, True), (0x60, False), (0x400, True), (0x30, True)] * 6, 3 * PAGE - 0x290,
                   q(DATA + 16, HEAP + 0x2b0, HEAP + 0x330, 30, 31))
    arena = q(ARENA + 0x30, 0, 2 * PAGE, 2 * PAGE, 0, 0) + state_at(ARENA + 0x30, DATA + PAGE)
    arena = pad(arena, 16)
    arena += chunks([(0x50, True), (0x90, True)], 2 * PAGE - len(arena), q(DATA + 16, ARENA, 17))
    stack = pad(q(HEAP + 0x2a0, 1, 2, 3) * 20)

    regs = q(*[0] * 4, STACK + 256, *[0] * 11, TEXT + 0x800, 0x33, 0x246, STACK + 64, 0x2b, *[0] * 6)
    threads = [note(1, bytes(12) + struct.pack("<H", 11) + bytes(18) + struct.pack("<I", 100 + i) + bytes(76) + regs
                    + bytes(8)) for i in range(2)]
    files = q(2, PAGE, TEXT, TEXT + PAGE, 0, DATA, DATA + PAGE, 1) + b"/bin/prog\0/bin/prog\0"
    auxv = q(25, STACK + 128, 33, VDSO, 0, 0)
    notes = threads[0] + note(3, bytes(136)) + note(6, auxv) + note(0x46494c45, files) + threads[1]

    loads = [(TEXT, 5, program(), PAGE), (DATA, 6, data(), PAGE), (DATA + PAGE, 6, pad(state_at(DATA + PAGE, ARENA + 0x30)), PAGE),
             (HEAP, 6, heap, len(heap)), (ARENA, 6, arena, len(arena)), (STACK - PAGE, 0, b"", PAGE),
             (STACK, 6, stack, len(stack))]
    at = 64 + 56 * (len(loads) + 1)
    table, body = phdr(4, 0, at, 0, len(notes), 0), notes
    for start, flags, content, size in loads:
        body = pad(body, 16)
        table += phdr(1, flags, at + len(body), start, len(content), size)
        body += content
    with open(path, "wb") as f:
        f.write(ehdr(4, len(loads) + 1) + table + body)


main(sys.argv[1])
