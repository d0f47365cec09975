#!/usr/bin/env python3
"""inside_libc.py - a thread that waits inside a stripped libc waits in a function that has a name.

    inside_libc.py PRELOAD

libc is played by a library of that name, whose exported functions wait two calls further in. Of any
other library the place stays where it is. And `threads?debug=2` has the name of the system call.
"""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import asking  # noqa: E402
import pprof  # noqa: E402
from checks import check, report  # noqa: E402

LIBRARY = """
static __attribute__((noipa)) long wait_for(int fd)
{
    char c;
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "0"(0L), "D"((long)fd), "S"(&c), "d"(1L)
                     : "rcx", "r11", "memory");
    return r;
}
static __attribute__((noipa)) long inner(int fd) { return wait_for(fd) + 1; }
long wait_in_library(int fd) { return inner(fd) + 1; }
static __attribute__((noipa)) long outer(long (*f)(int), int fd) { return f(fd) + 1; }
long call_back(long (*f)(int), int fd) { return outer(f, fd) + 1; }
"""

PROGRAM = """
#include <pthread.h>
#include <stdio.h>
long wait_in_library(int), call_back(long (*)(int), int);
__attribute__((noipa)) long waits(int fd) { return wait_in_library(fd) + 1; }
__attribute__((noipa)) long called_back(int fd) { return waits(fd) + 1; }
int main(void)
{
    puts("ready");
    fflush(stdout);
    return call_back(called_back, 0) < 0;
}
"""


def stacks(preload, folder, name):
    """The main thread's stack, innermost first, while it waits in the library `name`; and what
    debug=2 says of it."""
    path = os.path.join(folder, name)
    with open("library.c", "w") as f:
        f.write(LIBRARY)
    with open("program.c", "w") as f:
        f.write(PROGRAM)
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-s", "-Wl,-soname," + name, "-o", path,
                    "library.c"], check=True)
    subprocess.run(["gcc", "-O2", "-g", "-o", "program", "program.c", path, "-pthread",
                    "-Wl,-rpath," + folder], check=True)
    socket = os.path.join(folder, "socket")
    env = dict(os.environ, LD_PRELOAD=preload, LIBPROF_HTTP="unix:" + socket)
    with subprocess.Popen([os.path.join(folder, "program")], env=env, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as p:
        p.stdout.readline()
        for _ in range(1000):  # until it has gone on to wait
            status, body = asking.ask(socket, "/debug/pprof/threads")
            found = [frames for frames, _, _ in pprof.assert_valid(body).stacks() if "main" in frames]
            if status == 200 and "waits" in found[0]:
                break
        _, text = asking.ask(socket, "/debug/pprof/threads?debug=2")
        p.stdin.close()
        p.wait(60)
    return found[0], text.decode()


def main():
    preload = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="libprof-libc-") as folder:
        os.chdir(folder)
        frames, text = stacks(preload, folder, "libc.so.77")
        check(frames[:5] == ["wait_in_library", "waits", "called_back", frames[3], "call_back"],
              f"in libc: {frames}")
        check(re.fullmatch(r"libc\.so\.77\+0x[0-9a-f]+", frames[3]), f"further out: {frames}")
        check(re.search(r"^thread \d+ \[sleeping in read\(\)", text, re.M), f"the call: {text[:2000]}")
        frames, _ = stacks(preload, folder, "libd.so.77")
        check(all(re.fullmatch(r"libd\.so\.77\+0x[0-9a-f]+", f) for f in frames[:2])
              and frames[2:4] == ["wait_in_library", "waits"], f"in another library: {frames}")
        os.chdir("/")
    return report()


if __name__ == "__main__":
    sys.exit(main())
