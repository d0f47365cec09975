#!/usr/bin/env python3
"""from_outside.py - profctl on a program that was never prepared, and on its core file.

    from_outside.py PROFCTL SERVICE DOCS

Beside unit/test_outside.py, which checks the numbers: here is what people see, and that docs/post-mortem.md
says what is so, as its commands are run.
"""
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, environment, run_all

PROFCTL, SERVICE, DOCS = map(os.path.abspath, sys.argv[1:4])


class Service:
    def __init__(self, *commands, preload=None):
        self.process = subprocess.Popen([SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment(**{"LD_PRELOAD": preload} if preload else {}))
        self.pid = self.process.pid
        self.told = self.read()
        for command in commands:
            self.ask(command)

    def read(self):
        lines = []
        for line in self.process.stdout:
            if line == "ready\n":
                break
            lines.append(line)
        return lines

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        self.told = self.read()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def profctl(*args):
    return subprocess.run([PROFCTL, *map(str, args)], capture_output=True, text=True, timeout=90, env=environment())


def shows(*args):
    r = profctl(*args)
    check(r.returncode == 0, "%s: %d %s" % (" ".join(map(str, args)), r.returncode, r.stderr[:300]))
    return r.stdout


def test_the_heap_is_shown_by_arena_and_type():
    with Service() as s:
        out = shows("heap", s.pid)
        check(re.search(r"^main +2\.\d+M +\S+ +\S+", out, re.M), out)
        check(re.search(r"^mmapped +5\.00M +5\.00M +1 ", out, re.M), out)
        for name in ("shop::Premium", "shop::Account", "shop::Box<double>", "std::string"):
            check(re.search(r" %s$" % re.escape(name), out, re.M), "%s in\n%s" % (name, out))
        check(all(len(line) <= 80 for line in out.splitlines()), "80 columns: " + out)
        table = json.loads(shows("heap", s.pid, "--json"))
        flat = {f["name"]: f["flat"] for f in table["functions"]}
        check(flat["shop::Premium"] == 2500 * 368, "bytes of Premium: %s" % flat["shop::Premium"])
        shows("heap", s.pid, "-o", "heap.pb.gz")
        check("shop::Premium" in shows("heap", "heap.pb.gz"), "the file is a profile")


def test_a_difference_shows_what_has_come():
    with Service() as s:
        looking = subprocess.Popen([PROFCTL, "heap", str(s.pid), "--diff", "3", "--json"], stdout=subprocess.PIPE,
                                   text=True, env=environment())
        # The first look is over when another thing of it can be seen: it has read all of the heap.
        while looking.poll() is None and read_bytes(looking.pid) < 2 << 20:
            pass
        s.ask("leak")
        functions = json.loads(looking.communicate(timeout=60)[0])["functions"]
        flat = {f["name"]: f["flat"] for f in functions}
        check(200 * 336 <= flat.get("shop::Session", 0) <= 200 * 352, "sessions that came: %s" % flat)
        check("shop::Premium" not in flat, "what did not change is not shown")


def read_bytes(pid):
    """process_vm_readv() is no read(2), so what it has in memory has to do: profctl's own."""
    try:
        with open("/proc/%d/statm" % pid) as f:
            return int(f.read().split()[1]) * 4096 if b"nanosleep" in syscall_of(pid) else 0
    except OSError:
        return 0


def syscall_of(pid):
    try:
        with open("/proc/%d/wchan" % pid, "rb") as f:
            return f.read()
    except OSError:
        return b""


def test_a_leak_and_holders_are_named():
    with Service("leak") as s:
        out = shows("leaks", s.pid)
        check(re.search(r"^ *\S+ +200 blocks shop::Session, unreferenced$", out, re.M), out)
        out = shows("holders", s.pid)
        check(re.search(r"shop::Account\n +held by std::vector storage\n +held by global g_accounts", out), out)
        check("held by thread outside_service in hold_on_stack" in out, out)
        s.ask("stats")
        check("EINTR\n" not in s.told, "no thread was disturbed")


def check_stacks(out):
    for chain in (("wait_in_epoll", "start_thread"), ("hold_on_stack", "start_thread"), ("fgets", "main")):
        check(re.search(r"\n    %s\b[^\n]*\n(?:    [^\n]*\n)*?    %s\b" % chain, out), "%s in\n%s" % (chain, out))


def test_threads_and_a_deadlock_are_named():
    with Service("deadlock") as s:
        # Both are on their way into the second lock: looked at until they wait there.
        for _ in range(200):
            out = shows("threads", s.pid)
            if "DEADLOCK" in out:
                break
        check(re.search(r"DEADLOCK 1:\n.*forwards waits for mutex 0x\w+, which thread \d+ has\n"
                        r".*backwards waits for mutex 0x\w+, which thread \d+ has", out), out)
        check_stacks(out)
        check("outside_service.cc:" in out, "lines: " + out)
        stopped = shows("threads", "--stop", s.pid)
        check_stacks(stopped)
        check("could not be walked" not in stopped, stopped)
        shows("threads", s.pid, "-o", "threads.pb.gz")
        check("wait_in_epoll" in shows("threads", s.pid, "--folded"), "folded")


def test_from_core_to_culprit_by_the_commands_of_the_docs():
    if not shutil.which("gcore"):
        print("skipped: gcore is not installed")
        return
    with open(os.path.join(DOCS, "post-mortem.md")) as f:
        commands = re.findall(r"^    \$ (.*?)(?: +#.*)?$", f.read(), re.M)
    check(len(commands) == 5, "five commands: %s" % commands)
    with Service("leak", "deadlock") as s:
        os.makedirs("bin", exist_ok=True)
        if not os.path.exists("bin/profctl"):
            os.symlink(PROFCTL, "bin/profctl")
        out = []
        for command in commands:
            done = subprocess.run(command.replace("PID", str(s.pid)), shell=True, capture_output=True, text=True,
                                  timeout=120, env=environment(PATH=os.path.abspath("bin") + ":" + os.environ["PATH"]))
            check(done.returncode == 0, "%s: %d %s" % (command, done.returncode, done.stderr[-500:]))
            out.append(done.stdout)
    check("DEADLOCK 1:" in out[1], out[1])
    check_stacks(out[1])
    check("shop::Premium" in out[2], out[2])
    check("blocks shop::Session, unreferenced" in out[3], out[3])
    check("held by global g_accounts" in out[4], out[4])


STUCK = """
#include <unistd.h>
static __attribute__((noinline)) void stuck_in_here(void)
{
    if (write(1, "ready\\n", 6) == 6)
        pause(); /* line 6 */
    __asm__ volatile("");
}
int main(void)
{
    stuck_in_here();
    return 0;
}
"""


def build_stripped(root, way):
    """A static program of ROOT that is stripped, its debug information where the distribution puts it, or
    beside it by name. Its path there."""
    folder = os.path.join(root, way)
    os.makedirs(folder)
    with open(os.path.join(folder, "stuck.c"), "w", encoding="ascii") as f:
        f.write(STUCK)

    def run(*args):
        subprocess.run(args, cwd=folder, check=True, timeout=60)
    run("gcc", "-static", "-g", "-O1", "-Wl,--build-id", "-o", "whole", "stuck.c")
    run("objcopy", "--only-keep-debug", "whole", "stuck.debug")
    run("objcopy", "--strip-all", "--add-gnu-debuglink=stuck.debug", "whole", "stuck")
    notes = subprocess.run(["readelf", "-n", "whole"], cwd=folder, check=True, capture_output=True, text=True).stdout
    build_id = re.search(r"Build ID: (\w+)", notes).group(1)
    os.unlink(os.path.join(folder, "whole"))
    where = {"by_id": "usr/lib/debug/.build-id/" + build_id[:2], "by_name": "usr/lib/debug/" + way}[way]
    os.makedirs(os.path.join(root, where))
    os.rename(os.path.join(folder, "stuck.debug"),
              os.path.join(root, where, build_id[2:] + ".debug" if way == "by_id" else "stuck.debug"))
    return "/%s/stuck" % way


def asleep(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii") as f:
        return f.read().rpartition(")")[2].split()[0] == "S"


def in_a_container(root, program):
    """A mount namespace of its own whose root is ROOT; None where that is not allowed."""
    enter = 'mount --bind "$0" "$0" && cd "$0" && mkdir -p old && pivot_root . old && cd / && exec "$1"'
    try:
        return subprocess.Popen(["unshare", "--mount", "sh", "-c", enter, root, program],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None


def in_another_root(root, program):
    try:
        return subprocess.Popen([program], stdout=subprocess.PIPE, preexec_fn=lambda: os.chroot(root))
    except (OSError, subprocess.SubprocessError):
        return None


def at_home(root, program):
    return subprocess.Popen([root + program], stdout=subprocess.PIPE)


def until_stuck(p):
    """Does it run?"""
    if not p or p.stdout.readline() != b"ready\n":
        return False
    while not asleep(p.pid):
        check(p.poll() is None, "it has ended")
    return True


def end(p):
    if p:
        p.kill()
        p.wait()
        p.stdout.close()


def test_debug_files_are_found_below_the_root_of_the_process_or_core():
    if not all(map(shutil.which, ("gcc", "objcopy", "readelf", "gcore"))):
        print("skipped: gcc, binutils or gcore is not installed")
        return
    for way in ("by_id", "by_name"):
        root, moved = os.path.abspath("root-" + way), os.path.abspath("moved-" + way)
        program = build_stripped(root, way)
        for start in in_a_container, in_another_root:
            p = start(root, program)
            try:
                if not until_stuck(p):
                    print("skipped: %s is not allowed here" % start.__name__)
                    continue
                out = shows("threads", p.pid)
                check("stuck_in_here" in out and "stuck.c:6" in out, "%s, %s: %s" % (way, start.__name__, out))
            finally:
                end(p)
        p = at_home(root, program)
        try:
            check(until_stuck(p), "the program runs")
            subprocess.run(["gcore", "-o", way, str(p.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           check=False, timeout=60)
        finally:
            end(p)
        # Another machine's files: what was at its "/" is below a folder.
        os.makedirs(os.path.dirname(moved + root))
        os.rename(root, moved + root)
        debug = moved + "/usr/lib/debug" + (root + "/by_name" if way == "by_name" else "")
        os.makedirs(os.path.dirname(debug), exist_ok=True)
        os.rename(moved + root + "/usr/lib/debug" + ("/by_name" if way == "by_name" else ""), debug)
        out = shows("threads", "%s.%d" % (way, p.pid), "--sysroot", moved)
        check("stuck.c:6" in out, "%s, the core: %s" % (way, out))


def test_of_musl_there_are_threads_and_a_whole_sentence():
    if not shutil.which("musl-gcc"):
        print("skipped: musl-gcc is not installed")
        return
    os.mkdir("musl")
    with open("musl/stuck.c", "w", encoding="ascii") as f:
        f.write(STUCK)
    subprocess.run(["musl-gcc", "-g", "-O1", "-o", "stuck", "stuck.c"], cwd="musl", check=True, timeout=60)
    p = at_home(os.path.abspath("musl"), "/stuck")
    try:
        check(until_stuck(p), "the program runs")
        check("stuck.c:6" in shows("threads", p.pid), shows("threads", p.pid))
        for command in ("heap", "leaks", "holders"):
            r = profctl(command, p.pid)
            check(r.returncode == 6 and "musl" in r.stderr and r.stderr.endswith("tell the same.\n") and not r.stdout,
                  "%s: %d %s" % (command, r.returncode, r.stderr))
    finally:
        end(p)


def test_what_cannot_be_done_gets_a_sentence():
    with Service() as s:
        r = profctl("mutex", s.pid)
        check(r.returncode == 6 and "from outside heap, leaks, holders and threads" in r.stderr, r.stderr)
    for name, library in (("jemalloc", "libjemalloc.so.2"), ("mimalloc", "libmimalloc.so.2"),
                          ("tcmalloc", "libtcmalloc_minimal.so.4")):
        if not os.path.exists("/usr/lib/x86_64-linux-gnu/" + library):
            continue
        # A service that has all its memory of it, not only the library in its map.
        with Service(preload="/usr/lib/x86_64-linux-gnu/" + library) as s:
            for command in ("heap", "leaks", "holders"):
                r = profctl(command, s.pid)
                check(r.returncode == 6 and name in r.stderr and "profrun" in r.stderr and not r.stdout,
                      "%s %s: %d %s" % (command, name, r.returncode, r.stderr))
    if os.geteuid() == 0 and shutil.which("setpriv"):
        with Service() as s:
            shutil.copy(PROFCTL, "/tmp/libprof-profctl-%d" % s.pid)
            copy = "/tmp/libprof-profctl-%d" % s.pid
            os.chmod(copy, 0o755)
            r = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy, "heap", str(s.pid)],
                               capture_output=True, text=True, timeout=60, cwd="/")
            os.unlink(copy)
            check(r.returncode == 4 and "root" in r.stderr, "%d %s" % (r.returncode, r.stderr))


if __name__ == "__main__":
    sys.exit(run_all(globals(), "libprof-from-outside-"))
