#!/usr/bin/env python3
"""own_writes.py PROFRUN PRELOAD - what libprof writes of its own accord does the program no harm.

Guards: no write of libprof's raises a signal that ends or stops the program, and none waits for a
reader: its log, the line of profrun's, a profile at exit. None goes to a file of the program's that
has the number of its standard error by then, and no file goes that has the name of a socket.
"""
import fcntl
import os
import resource
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402

profrun, preload = map(os.path.abspath, sys.argv[1:3])
LIMIT_S = 60
STATUS = 3
# Opens its database, which gets number 2, and leaves by exit() or _exit().
OPENS = ("import os, sys; os.close(2); assert os.open(sys.argv[1], os.O_RDWR | os.O_CREAT) == 2; "
         "sys.argv[2] == 'exit' or os._exit(%d); sys.exit(%d)" % (STATUS, STATUS))
# Puts a file of its own where the socket has been.
REPLACES = ("import os, sys; path = sys.argv[1] + '/%%d' %% os.getpid(); os.unlink(path); "
            "open(path, 'w').close(); os._exit(%d)" % STATUS)
PROGRAM = ["sh", "-c", "exit %d" % STATUS]
# Ends as exit() does, which other shells do not, and does not ignore these signals, as Python does.
EXITS = ["bash", "-c", "exit %d" % STATUS]


def clean_env(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LIBPROF_", "LD_PRELOAD"))}
    return dict(env, **more)


def as_outside():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL) # which Python ignores, and children inherit
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def no_files():
    as_outside()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def run(what, command, env, stderr, preexec=as_outside):
    try:
        status = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stderr=stderr,
                                preexec_fn=preexec, timeout=LIMIT_S, check=False).returncode
    except subprocess.TimeoutExpired:
        status = "none in time"
    check(status == STATUS, "%s: the program's status is %d, not %s" % (what, STATUS, status))


def broken_pipe():
    r, w = os.pipe()
    os.close(r)
    return w


def full_pipe():
    """(its end for writing, its end for reading, which nobody reads)"""
    r, w = os.pipe()
    fcntl.fcntl(w, fcntl.F_SETFL, os.O_NONBLOCK)
    try:
        while True:
            os.write(w, b"x" * 4096)
    except BlockingIOError:
        fcntl.fcntl(w, fcntl.F_SETFL, 0)
    return w, r


def numbered_two(d):
    os.mkdir(d + "/two")
    for how in ("exit", "_exit"):
        base, log = d + "/two/" + how, d + "/two/log"
        for where in ("stderr", log):
            run("a database as standard error, %s()" % how, [sys.executable, "-c", OPENS, base, how],
                clean_env(LD_PRELOAD=preload, LIBPROF_DUMP=d + "/two/heap.pb.gz",
                          LIBPROF_LOG=where), None)
            size = os.path.getsize(base)
            check(size == 0, "the database has %d bytes of the log" % size)
        check(os.path.getsize(log) > 0, "there is something to say at the end")
        os.unlink(log)
    run("another file of the socket's name", [sys.executable, "-c", REPLACES, d + "/two"],
        clean_env(LD_PRELOAD=preload, LIBPROF_HTTP="unix:" + d + "/two/%p"), None)
    left = [n for n in os.listdir(d + "/two") if n.isdigit()]
    check(len(left) == 1, "it stays: %s" % left)


def main():
    with tempfile.TemporaryDirectory() as d:
        serving = [profrun, "--http", "unix:" + d + "/socket", "--", *PROGRAM]
        logging = clean_env(LD_PRELOAD=preload, LIBPROF_LOG="stderr", LIBPROF_HTTP="nonsense")
        for name, (w, *r) in (("nobody reads", (broken_pipe(),)), ("full", full_pipe())):
            run("profrun's line, " + name, serving, clean_env(), w)
            run("the log, " + name, PROGRAM, logging, w)
            for fd in (w, *r):
                os.close(fd)
        os.mkfifo(d + "/fifo")
        run("the log, a FIFO without a reader", PROGRAM, dict(logging, LIBPROF_LOG=d + "/fifo"),
            None)

        os.mkdir(d + "/out")
        dump = d + "/out/heap.pb.gz"
        for what, more in (("heap", {}), ("cpu", {"LIBPROF_CPU_DUMP": "0"})):
            run("a %s profile where files may not grow" % what, EXITS,
                clean_env(LD_PRELOAD=preload, LIBPROF_DUMP=dump, **more), None, no_files)
        run("the same under profrun", [profrun, "-o", dump, "--", *EXITS], clean_env(), None,
            no_files)
        run("a log that may not grow", PROGRAM, dict(logging, LIBPROF_LOG=d + "/out/log"), None,
            no_files)
        left = [n for n in os.listdir(d + "/out") if n != "log"]
        check(not left, "nothing is left of what could not be written: %s" % left)
        run("a profile to a full device", EXITS,
            clean_env(LD_PRELOAD=preload, LIBPROF_DUMP="/dev/full"), None)
        numbered_two(d)
    return report()


sys.exit(main())
