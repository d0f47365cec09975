#!/usr/bin/env python3
"""ends.py - a program that is ended by a signal, or ends itself by _exit(), leaves its profile.

    ends.py PROFRUN PROGRAM

PROGRAM is ends.c. Guards: what ends a process without exit() loses what was to be written at exit;
and what is done about it must not change how the process ends, nor keep it from ending.
"""
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from checks import check, report  # noqa: E402
import pprof  # noqa: E402

profrun, program = map(os.path.abspath, sys.argv[1:3])
TIME_LIMIT_S = 60
KEPT = 4 << 20
BOUND_S = 8


class Run:
    def __init__(self, way, *before, options=()):
        self.way = way
        self.folder = tempfile.TemporaryDirectory()
        self.file = self.folder.name + "/heap.pb.gz"
        env = {k: v for k, v in os.environ.items() if not k.startswith(("LIBPROF_", "LD_"))}
        self.p = subprocess.Popen([*before, profrun, "--heap-rate", "1", "-o", self.file, *options,
                                   "--", *([program, way] if isinstance(way, str) else way)],
                                  env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ready(self):
        check(self.p.stdout.readline() == b"ready\n", "%s: ready" % self.way)
        return self

    def send(self, number):
        self.p.send_signal(number)
        return self

    def ends(self, status):
        began = time.monotonic()
        _, err = self.p.communicate(timeout=TIME_LIMIT_S)
        check(self.p.returncode == status, "%s: status %d, not %d: %s" %
              (self.way, self.p.returncode, status, err))
        self.said = err.decode()
        self.took_s = time.monotonic() - began
        return self

    def wrote(self, whole=True):
        """The one file, and nothing beside it."""
        left = os.listdir(self.folder.name)
        check(left == (["heap.pb.gz"] if whole else []), "%s: files %s" % (self.way, left))
        if not whole or left != ["heap.pb.gz"]:
            return self
        with open(self.file, "rb") as f:
            profile = pprof.parse(f.read())
        inuse = sum(s.value[3] for s in profile.sample)
        check(inuse >= KEPT, "%s: %d bytes in use" % (self.way, inuse))
        check(self.said == "", "%s: said %r" % (self.way, self.said))
        return self


def test_signals_at_default():
    for number in signal.SIGTERM, signal.SIGINT:
        for way in "wait", "threads", "masked" if number == signal.SIGTERM else "wait":
            Run(way).ready().send(number).ends(-number).wrote()


def test_other_signals_are_none_of_ours():
    Run("wait").ready().send(signal.SIGHUP).ends(-signal.SIGHUP).wrote(False)
    Run("wait").ready().send(signal.SIGKILL).ends(-signal.SIGKILL).wrote(False)


def test_signals_that_the_program_has():
    Run("handler").ready().send(signal.SIGTERM).ends(4).wrote()
    for way in "raised again", "default again":
        Run(way).ready().send(signal.SIGTERM).ends(-signal.SIGTERM).wrote()
    Run("sigwait").ready().send(signal.SIGTERM).ends(6).wrote()
    Run("ignored").ready().send(signal.SIGTERM).ends(7).wrote()
    started = Run("wait", "sh", "-c", 'trap "" TERM; exec "$@"', "sh").ready().send(signal.SIGTERM)
    try:
        started.p.wait(0.5)
        check(False, "it was started with SIGTERM ignored")
    except subprocess.TimeoutExpired:
        started.send(signal.SIGINT).ends(-signal.SIGINT).wrote()


def test_the_same_signal_twice():
    for _ in range(4):
        Run("threads").ready().send(signal.SIGTERM).send(signal.SIGTERM).ends(-signal.SIGTERM) \
            .wrote()
    p = subprocess.run(["timeout", "1", "true"], check=False)
    check(p.returncode == 0, "timeout(1) is there")
    # It sends the signal to its child, and then to the group that both are in.
    Run("wait", "timeout", "1").ends(124).wrote()


def test_a_cpu_profile():
    run = Run("threads", options=("--cpu", "0")).ready()
    time.sleep(0.3) # so that there is something in it
    run.send(signal.SIGTERM).ends(-signal.SIGTERM)
    with open(run.file, "rb") as f:
        profile = pprof.assert_valid(f.read())
    check(profile.totals()["cpu"] > 0, "what was used until then")


def test_no_memory():
    Run("no memory").ready().send(signal.SIGTERM).ends(-signal.SIGTERM).wrote()


def test_exit_without_functions():
    Run("_exit").ends(3).wrote()
    Run(["sh", "-c", "exit 3"]).ends(3)
    for _ in range(8):
        Run("_exit in malloc").ready().send(signal.SIGUSR1).ends(5).wrote()


def test_children_end_as_ever():
    for way in "fork", "vfork":
        Run(way).ready().send(signal.SIGTERM).ends(-signal.SIGTERM).wrote()


def start_what_cannot_be_done():
    """Here the interrupted thread holds the loader's lock, which names cannot be had without. What
    has been begun stays behind, as after SIGKILL."""
    patient = Run("loader").ready().send(signal.SIGTERM)
    began = time.monotonic()

    def finish():
        for number, is_last, word in ((signal.SIGTERM, False, "again"),
                                      (signal.SIGQUIT, True, "SIGQUIT")):
            run = Run("loader").ready().send(signal.SIGTERM)
            time.sleep(0 if is_last else 1.2)
            check(run.p.poll() is None, "it waits for what the other holds")
            run.send(number).ends(-signal.SIGTERM)
            check(run.took_s < BOUND_S / 2, "%s: %.1f s" % (word, run.took_s))
            check("heap.pb.gz" not in os.listdir(run.folder.name), "half a profile is none")
        patient.ends(-signal.SIGTERM)
        check(time.monotonic() - began > BOUND_S / 2, "the other was the one that did not wait")
    return finish


def test_process_1():
    """The kernel keeps it from signals that it does not handle: it must not handle them for us."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        return
    run = Run("process 1", *unshare).ready()
    with open("/proc/%d/task/%d/children" % (run.p.pid, run.p.pid)) as f:
        child = int(f.read().split()[0])
    os.kill(child, signal.SIGTERM)
    run.ends(8).wrote()


def main():
    finish = start_what_cannot_be_done()
    for name, test in sorted(globals().items()):
        if name.startswith("test_"):
            test()
    finish()
    return report()


sys.exit(main())
