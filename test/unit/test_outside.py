#!/usr/bin/env python3
"""test_outside.py - what can be told of a program that was never prepared, beside what it says itself.

    test_outside.py LOOK SERVICE

The service counts its own objects and asks mallinfo2(), so what is seen from outside has to be equal, to
the byte. The same is seen in a core file of it. The class guarded is: a number made up from outside, a
block in use called leaked, and a core file that is believed more than it holds.
"""
import glob
import os
import re
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, run_all  # noqa: E402

LOOK, SERVICE = (os.path.abspath(p) for p in sys.argv[1:3])


class Service:
    def __enter__(self):
        self.process = subprocess.Popen([SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told = self.read()
        self.pid = self.process.pid
        return self

    def __exit__(self, *what):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def read(self):
        told = {"interrupted": 0}
        while True:
            line = self.process.stdout.readline()
            if not line or line == "ready\n":
                return told
            if line == "EINTR\n":
                told["interrupted"] += 1
            else:
                key, value = line.split()
                told[key] = int(value)

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        self.told = self.read()


def look(*args):
    done = subprocess.run([LOOK, *map(str, args)], capture_output=True, text=True, errors="replace", timeout=60)
    return done.returncode, done.stdout, done.stderr


def rows(text):
    """[(blocks, bytes, flags, type, [holders])]"""
    found = []
    for m in re.finditer(r"^row (\S+) (\S+) size \d+((?: \w+)*?) type (.*)$", text, re.M):
        steps = m[4].split(" < ")
        found.append((float(m[1]), float(m[2]), m[3], steps[0], steps[1:]))
    return found


def count(text, kind, value=0, flag=None):
    return sum(r[value] for r in rows(text) if r[3] == kind and (flag is None or flag in r[2]))


def arenas(text):
    return list(re.finditer(
        r"^arena \d+ system (\d+) used (\d+) (\d+) cached (\d+) (\d+) fast (\d+) (\d+) free (\d+) (\d+) top (\d+) "
        r"trim (\d+)$", text, re.M))


def total(text, field):
    return sum(int(m[field]) for m in arenas(text))


def check_types(text, told, where):
    for kind, name in (("account", "shop::Account"), ("box", "shop::Box<double>"), ("premium", "shop::Premium")):
        number = told[{"account": "accounts", "box": "boxes", "premium": "premium"}[kind]]
        check(count(text, name) == number, "%s: %d of %s, made %d" % (where, count(text, name), name, number))
        # A chunk may be 16 bytes larger than was asked for, where the rest was too small for another.
        extra = count(text, name, 1) - number * told[kind + "_bytes"]
        check(0 <= extra <= 16 * number * 0.01, "%s: %s by %d bytes" % (where, name, extra))
    check(count(text, "std::string") >= 2000, "%s: %d std::string" % (where, count(text, "std::string")))


def check_totals(text, told, where):
    check(total(text, 1) == told["arena"], "%s: %d from the system, %d told" % (where, total(text, 1), told["arena"]))
    free = total(text, 9) + total(text, 7) + total(text, 10)
    check(told["arena"] - free == told["used"],
          "%s: %d in use, mallinfo2() says %d" % (where, told["arena"] - free, told["used"]))
    mapped = re.search(r"^mapped (\d+) (\d+) told (\d+) (\d+)", text, re.M)
    check((int(mapped[1]), int(mapped[2])) == (told["mapped_blocks"], told["mapped"]) ==
          (int(mapped[3]), int(mapped[4])), "%s: %s" % (where, mapped[0]))


def check_leaks(text, told, where, least=1.0):
    number = count(text, "shop::Session")
    check(least * told["sessions"] <= number <= told["sessions"],
          "%s: %d sessions of %d leaked ones" % (where, number, told["sessions"]))
    check(count(text, "shop::Session", 0, "indirect") == 0, "%s: a session that is held by a leak" % where)
    other = [r for r in rows(text) if r[3] != "shop::Session" and "indirect" not in r[2]]
    check(not other, "%s: blocks in use called leaked: %s" % (where, other[:3]))


def test_types_and_totals_are_those_of_the_program():
    with Service() as s:
        status, text, errors = look("heap", s.pid)
        check(status == 0, errors)
        check_types(text, s.told, "live")
        check_totals(text, s.told, "live")
        check("garbled 0 " in text, "all of the heap was walked")


def test_a_planted_leak_is_named_by_class_and_no_thread_is_disturbed():
    with Service() as s:
        _, text, _ = look("leaks", s.pid)
        check(not rows(text), "nothing is leaked: %s" % rows(text)[:3])
        s.ask("leak")
        _, text, _ = look("leaks", s.pid)
        check_leaks(text, s.told, "live")
        check(count(text, "[1008 B]", 0, "indirect") + count(text, "[1 KiB]", 0, "indirect") == 200,
              "what leaks hold is called held: %s" % rows(text)[:4])
        s.ask("stats")
        check(s.told["interrupted"] == 0, "epoll_wait() has returned EINTR")


def test_with_stop_registers_are_read_and_all_go_on():
    with Service() as s:
        s.ask("leak")
        status, text, errors = look("leaks", "--stop", s.pid)
        check(status == 0, errors)
        check_leaks(text, s.told, "stopped")
        states = [open(p).read().rsplit(")")[1].split()[0] for p in glob.glob("/proc/%d/task/*/stat" % s.pid)]
        check(len(states) == 3 and set(states) == {"S"}, "threads go on: %s" % states)
        traced = re.search(r"TracerPid:\s+(\d+)", open("/proc/%d/status" % s.pid).read())
        check(traced[1] == "0", "nobody traces it any more")
        s.ask("stats")
        check(s.told["sessions"] == 200, "it answers")


def test_holders_lead_from_a_class_to_a_global():
    with Service() as s:
        _, text, _ = look("holders", s.pid)
        held = [r for r in rows(text) if r[3] == "shop::Account" and r[4] and "g_accounts" in r[4][-1]]
        check(sum(r[0] for r in held) > 2900, "accounts are held by g_accounts: %s" % held[:3])
        boxes = [r for r in rows(text) if r[3] == "shop::Box<double>" and r[4] and "g_boxes" in r[4][-1]]
        check(sum(r[0] for r in boxes) > 3900, "boxes by g_boxes: %s" % boxes[:3])
        mine = [r for r in rows(text) if r[3] == "shop::Premium" and r[4] and "in hold_on_stack" in r[4][-1]]
        check(450 < sum(r[0] for r in mine) < 550, "500 by a thread: %s" % mine[:3])


def core_of(s):
    if not shutil.which("gcore"):
        print("skipped: gcore is not installed")
        return None
    subprocess.run(["gcore", "-o", "core", str(s.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   timeout=60, check=False)
    return "core.%d" % s.pid


def test_a_core_tells_the_same_block_for_block():
    with Service() as s:
        s.ask("leak")
        core = core_of(s)
        if not core:
            return
        _, live, _ = look("heap", s.pid)
        status, dead, errors = look("heap", core, SERVICE)
        check(status == 0, errors)
        check(sorted(rows(live)) == sorted(rows(dead)), "rows of the core are those of the process")
        strip = lambda t: [m.groups()[:10] for m in arenas(t)]  # noqa: E731
        check(strip(live) == strip(dead), "and arenas")
        _, leaks, _ = look("leaks", core, SERVICE)
        check_leaks(leaks, s.told, "core", 0.9)

        # Another program in the place of its own.
        shutil.copy(sys.executable, "replaced")
        status, other, _ = look("heap", core, os.path.abspath("replaced"))
        _, files, _ = look("maps", core, os.path.abspath("replaced"))
        check(status == 0 and "replaced: has another build id" in files, "it is not read, and that is said")
        check(sum(r[1] for r in rows(other)) == sum(r[1] for r in rows(live)), "totals are the same")

        with open(core, "rb") as f:
            whole = f.read()
        for share in (0.01, 0.3, 0.7, 0.95):
            with open("cut", "wb") as f:
                f.write(whole[:int(len(whole) * share)])
            status, text, errors = look("heap", "cut", SERVICE)
            absent = re.search(r"absent (\d+)", text)
            check((status == 0 and int(absent[1]) > 0) or (status == 1 and "cut short" in errors),
                  "cut at %g: status %d %s" % (share, status, errors))
        # A mapping that claims 64 TiB, of which there is next to nothing.
        huge = bytearray(whole)
        for i in range(struct.unpack_from("<H", huge, 56)[0]):
            kind, flags = struct.unpack_from("<II", huge, 64 + 56 * i)
            if kind == 1 and flags == 6:
                struct.pack_into("<Q", huge, 64 + 56 * i + 40, 1 << 46)
        with open("huge", "wb") as f:
            f.write(huge)
        status, _, errors = look("heap", "huge", SERVICE)
        check(status in (0, 1), "64 TiB: status %d %s" % (status, errors))
        arm = bytearray(whole[:65536])
        struct.pack_into("<H", arm, 18, 183)
        for name, content, want in (("arm", arm, "arm64"), ("text", b"hello", "does not begin as ELF"),
                                    ("empty", b"", "does not begin as ELF"), ("head", whole[:64], "cut short"),
                                    ("zst", b"\x28\xb5\x2f\xfd" + bytes(200), "zstd -d")):
            with open(name, "wb") as f:
                f.write(content)
            status, text, errors = look("heap", name)
            check(status == 1 and want in errors, "%s: status %d, %s" % (name, status, errors))
        status, _, errors = look("heap", SERVICE)
        check(status == 1 and "it is a program" in errors, errors)


def test_what_cannot_be_read_gets_a_sentence():
    status, _, errors = look("heap", 2 ** 22 + 1)
    check(status == 1 and "there is no process" in errors, errors)
    if os.geteuid() == 0:
        with Service() as s:
            done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", LOOK, "heap", str(s.pid)],
                                  capture_output=True, text=True, timeout=60) if os.access(LOOK, os.X_OK) else None
            # Where nobody may not even enter the folder there is nothing to be asked.
            if done and "Permission denied" not in done.stderr:
                check(done.returncode == 1 and "sudo profctl" in done.stderr, done.stderr)


if __name__ == "__main__":
    sys.exit(run_all(globals(), "libprof-outside-"))
