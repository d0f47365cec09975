#!/usr/bin/env python3
"""profrun.py - profrun and libprof-preload.so: what they refuse, set up, announce and write.

    profrun.py PROFRUN PRELOAD STATIC_PROGRAM|none [http]

With "http", serving is tested too. Loopback only; what is started is ended by its process id.
Ends with "N passed, N failed".
"""
import os
import re
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from checks import check, report  # noqa: E402
from ports import free_port  # noqa: E402
import pprof # noqa: E402

profrun, preload = map(os.path.abspath, sys.argv[1:3])
static_program = None if sys.argv[3] == "none" else os.path.abspath(sys.argv[3])
with_http = "http" in sys.argv[4:]
TIME_LIMIT_S = 30
NOBODY = 65534


def clean_env(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LIBPROF_", "LD_"))}
    return dict(env, **more)


def run(*arguments, env=None, cwd=None, stdin=b"", **more):
    p = subprocess.run([profrun, *arguments], env=env or clean_env(), cwd=cwd, input=stdin,
                       capture_output=True, timeout=TIME_LIMIT_S, check=False, **more)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def refused(status, words, *arguments, **more):
    """profrun says no, in one sentence that has all the words, and nothing is started."""
    got, out, err = run(*arguments, **more)
    what = " ".join(arguments)
    check(got == status, "profrun %s: status %d, not %d: %s" % (what, got, status, err))
    check(out == "", "profrun %s prints nothing else" % what)
    lines = err.splitlines()
    check(len(lines) >= 1 and all("profrun" in line for line in lines), "profrun %s: %r" %
          (what, err))
    for word in words.split():
        check(word.lower() in err.lower(), "profrun %s: no \"%s\" in %r" % (what, word, err))


def script(path, text, mode=0o755):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def elf(path, machine=62, elf_class=2, interpreter=None):
    """The headers of an executable; enough for whoever only looks at them."""
    n_segments = 1 if interpreter else 0
    header = b"\x7fELF" + bytes([elf_class, 1, 1, 0]) + bytes(8)
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, n_segments, 64, 0,
                          0)
    if interpreter:
        name = interpreter.encode() + b"\0"
        header += struct.pack("<IIQQQQQQ", 3, 4, 120, 120, 120, len(name), len(name), 1) + name
    with open(path, "wb") as f:
        f.write(header)
    os.chmod(path, 0o755)
    return path


def test_help_and_version():
    status, out, err = run("--help")
    check(status == 0 and "--http" in out and "-o FILE" in out and not err, "--help")
    status, out, err = run("--version")
    check(status == 0 and re.fullmatch(r"profrun \d+\.\d+\.\d+\n", out) and not err, "--version")


def test_wrong_use(d):
    refused(2, "program --help")
    refused(2, "--help", "--bogus", "true")
    refused(2, "--http", "--http", "", "true")
    for rate in ("", "k", "1q", "-5", "5kk", "1.5m", "99999999999999999999", "2048g", "0x10"):
        refused(2, "heap rate", "--heap-rate", rate, "true")
    refused(2, "-o", "-o", "", "true")
    refused(2, "-o directory", "-o", d, "true")
    refused(2, "-o directory", "-o", d + "/", "true")
    refused(2, "-o no such", "-o", d + "/nowhere/file", "true")
    refused(2, "percent", "-o", d + "/%x", "true")
    refused(2, "-o not", "-o", "/dev/null/file", "true")
    refused(2, "--log no such", "--log", d + "/nowhere/file", "true")
    refused(2, "LIBPROF_PRELOAD", "true", env=clean_env(LIBPROF_PRELOAD=d + "/nothing.so"))
    status, _, err = run("-o", "/dev/null", "true", user=NOBODY if os.getuid() == 0 else None)
    check(status == 0 and not err, "a device may be written, if not replaced: " + err)
    check(stat.S_ISCHR(os.stat("/dev/null").st_mode), "/dev/null is what it was")
    if os.getuid() == 0:
        os.mkdir(d + "/sealed", 0o700)
        with open(d + "/log", "w"):
            os.chmod(d + "/log", 0o600)
        refused(2, "--log permission denied", "--log", d + "/log", "true", user=NOBODY)
        refused(2, "-o permission denied", "-o", d + "/sealed/file", "true", user=NOBODY)


def test_programs_that_cannot_be_run(d):
    refused(127, "nothing-of-that-name PATH", "nothing-of-that-name")
    refused(127, "no file", d + "/nothing")
    refused(127, "no file", "/etc/passwd/nothing")
    refused(126, "directory", d)
    refused(126, "permission", script(d + "/not_executable", "#!/bin/sh\n", 0o644))
    refused(126, "interpreter_that_is_not",
            script(d + "/no_interpreter", "#!/interpreter_that_is_not -x\n"))
    refused(126, "32-bit", elf(d + "/elf32", machine=3, elf_class=1))
    refused(126, "ARM", elf(d + "/elf_arm", machine=183))
    refused(126, "RISC-V", elf(d + "/elf_riscv", machine=243))
    refused(126, "32-bit", elf(d + "/elf_x32", elf_class=1))
    refused(126, "statically linked", elf(d + "/elf_static"))
    refused(126, "musl", elf(d + "/elf_musl", interpreter="/lib/ld-musl-x86_64.so.1"))
    if static_program:
        refused(126, "statically linked pkg-config --static libprof-wrap", static_program)
        refused(126, "statically linked", script(d + "/by_static", "#!%s\n" % static_program))
    else:
        print("skipped, no static libc: a real static program")


def test_privileged_programs(d):
    if os.getuid() != 0 or os.statvfs(d).f_flag & os.ST_NOSUID:
        print("skipped, not root or nosuid: setuid, setgid and file capabilities")
        return
    os.chmod(d, 0o755)
    true = shutil.which("true")
    for name, uid, gid, mode in (("setuid", NOBODY, 0, 0o4755), ("setgid", 0, NOBODY, 0o2755)):
        path = shutil.copy(true, d + "/" + name)
        os.chown(path, uid, gid)
        os.chmod(path, mode)
        refused(126, "set%s rights" % name[3:], path)
    status, _, err = run("-o", d + "/own", d + "/setuid", user=NOBODY, group=NOBODY)
    check(status != 126 or "setuid" not in err, "one's own setuid bit does not matter: " + err)
    path = shutil.copy(true, d + "/capable")
    try:
        os.setxattr(path, "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
    except OSError as e:
        print("skipped: file capabilities: %s" % e)
        return
    refused(126, "capabilities", path, user=NOBODY, group=NOBODY)
    status, _, err = run("-o", d + "/capable.pb.gz", path)
    check(status == 0, "root may run it: " + err)


def test_the_program_runs_as_without(d):
    status, out, _ = run("-o", d + "/f", "--", "sh", "-c", "cat; exit 42", stdin=b"through\n")
    check((status, out) == (42, "through\n"), "exit status and pipes: %d %r" % (status, out))
    status, _, _ = run("-o", d + "/f", "sh", "-c", "kill -9 $$")
    check(status == -signal.SIGKILL, "a signal: %d" % status)
    for text in ("#!/bin/sh\necho by sh $1\n", "echo by sh $1\n",
                 "#!  /usr/bin/env   sh\necho by sh $1\n"):
        status, out, err = run("-o", d + "/f", script(d + "/script", text), "-o")
        check((status, out) == (0, "by sh -o\n"), "script: %d %r %r" % (status, out, err))
    status, out, _ = run("-o", d + "/f", "script", "x",
                         env=clean_env(PATH="/nowhere:%s:%s" % (d, os.environ["PATH"])))
    check((status, out) == (0, "by sh x\n"), "found in PATH")


def test_environment(d):
    def environment(*arguments, **more):
        out = run(*arguments, "env", env=clean_env(**more))[1]
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    e = environment("-o", "f", "--heap-rate", "64K", "--log", d + "/log")
    check(e.get("LD_PRELOAD") == preload, "LD_PRELOAD: %s" % e.get("LD_PRELOAD"))
    check(e.get("LIBPROF_HEAP_RATE") == "64K", "heap rate")
    check(e.get("LIBPROF_DUMP") == os.getcwd() + "/f", "-o is made absolute")
    check(e.get("LIBPROF_LOG") == d + "/log", "log")
    check("LIBPROF_HTTP" not in e, "-o alone does not serve")
    e = environment(LIBPROF_HTTP="nowhere", LIBPROF_LOG=d + "/log")
    check(e.get("LIBPROF_HTTP") == "nowhere" and "LIBPROF_DUMP" not in e, "the environment counts")
    check("is not a variable" not in open(d + "/log").read(), "every variable is known")
    os.unlink("f")
    other = subprocess.run(["sh", "-c", "ldd /bin/ls | sed -n 's/.*=> \\(.*libc.so.6\\).*/\\1/p'"],
                           capture_output=True, check=True).stdout.decode().strip()
    e = environment("-o", d + "/f", LD_PRELOAD=other)
    check(e.get("LD_PRELOAD") == preload + ":" + other, "what was preloaded stays, after ours")
    e = environment("-o", d + "/f", profrun, "-o", d + "/g")
    check(e.get("LD_PRELOAD") == preload, "profrun under profrun preloads once")
    link = d + "/a library.so"
    os.symlink(preload, link)
    e = environment("-o", d + "/f", LIBPROF_PRELOAD=link)
    check(e.get("LD_PRELOAD") == preload, "LIBPROF_PRELOAD: a link is followed")
    os.mkdir(d + "/a b")
    shutil.copy(preload, d + "/a b/lib.so")
    refused(2, "space colon LIBPROF_PRELOAD", "-o", d + "/f", "true",
            env=clean_env(LIBPROF_PRELOAD=d + "/a b/lib.so"))


def program_of(path):
    """The file of the main mapping of a valid heap profile."""
    data = open(path, "rb").read()
    problems = pprof.check(pprof.parse(data), data, "heap")
    check(not problems, "%s: %s" % (path, problems[:3]))
    profile = pprof.parse(data)
    return os.path.basename(profile.string_table[profile.mapping[0].filename]).decode()


def test_dump(d):
    hold = "import os; x = [bytes(1000) for i in range(5000)]; os.chdir('/')"
    status, _, err = run("-o", "relative.pb.gz", "--heap-rate", "1k", sys.executable, "-c", hold, cwd=d)
    check((status, err) == (0, ""), "silent: %d %r" % (status, err))
    check(program_of(d + "/relative.pb.gz").startswith("python"), "relative to where it started")
    check(stat.S_IMODE(os.stat(d + "/relative.pb.gz").st_mode) == 0o600, "for the user's eyes")

    os.mkdir(d + "/per 100%")
    script_text = "echo $$; ls / >/dev/null; exit 0"
    run("-o", "%n.%p.%%.pb", "bash", "-c", script_text, cwd=d + "/per 100%")
    names = os.listdir(d + "/per 100%")
    check(len(names) == 1 and re.fullmatch(r"bash\.\d+\.%\.pb", names[0]),
          "the program that was asked for, and no child of its: %s" % names)
    os.unlink(d + "/per 100%/" + names[0])
    run("--children", "-o", "%n.%p.%%.pb", "bash", "-c", script_text, cwd=d + "/per 100%")
    names = sorted(os.listdir(d + "/per 100%"))
    check(len(names) == 2 and all(re.fullmatch(r"(ls|bash)\.\d+\.%\.pb", n) for n in names),
          "one for each process: %s" % names)

    status, out, _ = run("-o", d + "/first.pb.gz", "bash", "-c", "(ls / >/dev/null); ls /; :")
    check(program_of(d + "/first.pb.gz") == "bash",
          "without %p it is the first program's: " + program_of(d + "/first.pb.gz"))

    # Without profrun: nothing on stderr even when it cannot be written.
    for dump in (d + "/nowhere/f", "%q", "/" + "x" * 5000):
        p = subprocess.run(["true"], env=clean_env(LD_PRELOAD=preload, LIBPROF_DUMP=dump,
                                                   LIBPROF_LOG=d + "/dump.log"),
                           capture_output=True, timeout=TIME_LIMIT_S, check=False)
        check((p.returncode, p.stdout, p.stderr) == (0, b"", b""), "silent: %r" % p.stderr)
    log = open(d + "/dump.log").read()
    check(log.count("\n") == 3, "but a line in the log for each: %r" % log)

    # A child's _exit() writes nothing, and says nothing.
    run("-o", d + "/child.pb.gz", sys.executable, "-c", "import os, sys; "
        "os._exit(0) if os.fork() == 0 else (os.wait(), sys.exit(os.path.exists('child.pb.gz')))",
        cwd=d)
    check(not os.path.exists(d + "/child.pb.gz.tmp") and os.path.exists(d + "/child.pb.gz"),
          "the parent's alone")


def test_little_room_for_data():
    """Guards: what keeps libprof from being loaded does not keep the program from running."""
    status, out, err = run("-o", "/dev/null", "echo", "ran", preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_DATA, (2 << 20, 2 << 20)))
    check((status, out) == (0, "ran\n"), "the program runs: %d %r" % (status, err))
    check(re.fullmatch(r"profrun: the program runs without a profile, .*\n", err),
          "and it is said why: %r" % err)


def compiled(d, name, text, *arguments):
    with open("%s/%s.c" % (d, name), "w") as f:
        f.write(text)
    subprocess.run(["gcc", "-g", "-O1", "%s/%s.c" % (d, name), *arguments], check=True)


def test_what_destructors_free_is_no_leak(d):
    """Guards: the profile at exit is taken after everything else that exit() calls."""
    compiled(d, "cached", "#include <stdlib.h>\nstatic void *cache[100];\n"
             "void fill_cache(void) { for (int i = 0; i < 100; i++) cache[i] = malloc(1000); }\n"
             "__attribute__((destructor)) static void drop_cache(void)\n"
             "{ for (int i = 0; i < 100; i++) free(cache[i]); }\n",
             "-shared", "-fPIC", "-o", d + "/libcached.so")
    compiled(d, "user", "#include <stdlib.h>\nvoid fill_cache(void);\nstatic void *own[10];\n"
             "static void drop(void) { for (int i = 0; i < 10; i++) free(own[i]); }\n"
             "__attribute__((noinline)) static void leak(void)\n"
             "{ static void *volatile lost; lost = malloc(500); }\n"
             "int main(void) { atexit(drop); fill_cache(); leak();\n"
             "for (int i = 0; i < 10; i++) own[i] = malloc(100); exit(0); }\n",
             d + "/libcached.so", "-Wl,-rpath," + d, "-o", d + "/user")
    status, _, err = run("--heap-rate", "1", "-o", d + "/end.pb.gz", d + "/user")
    check((status, err) == (0, ""), "silent: %d %r" % (status, err))
    data = open(d + "/end.pb.gz", "rb").read()
    profile = pprof.parse(data)
    in_use = profile.totals()
    check(in_use["inuse_space"] == 500 and in_use["alloc_objects"] >= 111,
          "only what is lost is left: %s" % in_use)


def test_sockets_of_children_that_leave(d):
    """Guards: a child that leaves by _exit() leaves no socket file of its own behind."""
    program = "import os, time\n" \
        "if os.fork() == 0:\n" \
        "    end = time.monotonic() + 20\n" \
        "    while not os.path.exists('%s/%%d.sock' %% os.getpid()) and time.monotonic() < end:\n" \
        "        time.sleep(0.01)\n" \
        "    print(os.path.exists('%s/%%d.sock' %% os.getpid()), flush=True)\n" \
        "    os._exit(0)\n" \
        "os.wait()\n" % (d, d)
    status, out, _ = run("--http", "unix:%s/%%p.sock" % d, sys.executable, "-c", program)
    check((status, out) == (0, "True\n"), "a child served: %d %r" % (status, out))
    check(os.listdir(d) == [], "no file is left: %s" % os.listdir(d))


def cpu_seconds(path):
    """The total of a valid CPU profile."""
    data = open(path, "rb").read()
    profile = pprof.parse(data)
    problems = pprof.check(profile, data, "profile")
    check(not problems, "%s: %s" % (path, problems[:3]))
    return profile.totals()["cpu"] / 1e9


BURN = """
import os, sys, threading, time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
threads = [threading.Thread(target=burn, args=(0.4,)) for i in range(2)]
for t in threads: t.start()
burn(0.4)
for t in threads: t.join()
"""


def test_cpu(d):
    refused(2, "--cpu -o", "--cpu", "0", "true")
    for wrong in ("", "x", "-1", "1.5", "1s", "99999999999"):
        refused(2, "seconds", "--cpu", wrong, "-o", d + "/f", "true")

    # The whole run, of the process and of a child that has its own file.
    status, out, err = run("--cpu", "0", "-o", "%n.%p.pb", sys.executable, "-c",
                           BURN + "print(time.process_time())", cwd=d)
    check((status, err) == (0, ""), "silent: %d %r" % (status, err))
    names = os.listdir(d)
    check(len(names) == 1, "one file: %s" % names)
    used, got = float(out), cpu_seconds(d + "/" + names[0])
    check(abs(got - used) <= 0.1 * used + 0.1, "%.2f s of the run's %.2f s" % (got, used))

    # Its first second only, written then.
    status, out, _ = run("--cpu", "1", "-o", d + "/first.pb", sys.executable, "-c", BURN +
                         "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
                         "before = os.stat(sys.argv[1])\n" "burn(0.5)\n"
                         "print(time.process_time())", d + "/first.pb")
    check(status == 0, "status %d" % status)
    check(cpu_seconds(d + "/first.pb") < float(out) - 0.3, "what came later is not in it")

    # A forked child goes on without a profile, or with its own where it has a file of its own.
    # Python 3.12 and later warn of a fork while there are threads, and count ours (docs/safety.md).
    fork = "import warnings; warnings.simplefilter('ignore')\n" + BURN + "pid = os.fork()\nif pid == 0: burn(0.3)\nelse: os.waitpid(pid, 0)\n"
    status, _, err = run("--cpu", "0", "-o", d + "/one.pb", sys.executable, "-c", fork)
    check((status, err) == (0, ""), "one file: %d %r" % (status, err))
    check(abs(cpu_seconds(d + "/one.pb") - 1.2) < 0.35, "the parent's: %.2f" %
          cpu_seconds(d + "/one.pb"))
    os.mkdir(d + "/each")
    status, _, err = run("--children", "--cpu", "0", "-o", d + "/each/%p", sys.executable, "-c", fork)
    check((status, err) == (0, ""), "two files: %d %r" % (status, err))
    each = sorted(cpu_seconds(d + "/each/" + n) for n in os.listdir(d + "/each"))
    check(len(each) == 2 and 0.2 < each[0] < 0.6 < each[1], "parent and child: %s" % each)


# --- serving -------------------------------------------------------------------------------------


def get(port, path="/debug/pprof/heap"):
    with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=60) as answer:
        return answer.read()


def wait_for(condition, what):
    limit = time.monotonic() + TIME_LIMIT_S
    while time.monotonic() < limit:
        try:
            value = condition()
        except OSError:
            value = None
        if value:
            return value
        time.sleep(0.02) # asking again; there is no other sign
    check(False, "in time: " + what)
    return None


ANNOUNCED = re.compile(r"profrun: http://127\.0\.0\.1:(\d+)/debug/pprof/ pid (\d+)\n")


def test_announcement():
    p = subprocess.Popen([profrun, "--http", "127.0.0.1:0", "--", "cat"], env=clean_env(),
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    line = p.stderr.readline().decode()
    m = ANNOUNCED.fullmatch(line)
    check(m is not None, "announced: %r" % line)
    if m:
        check(int(m[2]) == p.pid, "the program's own process id")
        data = get(int(m[1]))
        check(not pprof.check(pprof.parse(data), data, "heap"), "a heap profile is served")
    out, err = p.communicate(b"echoed", timeout=TIME_LIMIT_S)
    check((out, err, p.returncode) == (b"echoed", b"", 0), "and the program is not disturbed")

    for chain in (["sh", "-c", "true; ls / >/dev/null; exec true"], ["env", "A=1", "true"]):
        status, _, err = run("--http", "127.0.0.1:0", *chain)
        check(status == 0 and len(ANNOUNCED.findall(err)) == 1 and ANNOUNCED.fullmatch(err),
              "announced once, by %s: %r" % (chain[0], err))


def test_the_server_is_not_in_the_profile(d):
    """Every block of a small program, to the byte the same with and without the server."""
    rows = []
    for http in ([], ["--http", "127.0.0.1:0"]):
        run(*http, "--heap-rate", "1", "-o", d + "/pwd.pb.gz", "/bin/pwd")
        p = pprof.parse(open(d + "/pwd.pb.gz", "rb").read())
        rows.append(sorted(tuple(s.value) for s in p.sample))
    check(rows[0] and rows[0] == rows[1], "rows without and with the server: %s" % rows)


def test_programs_that_confine_themselves(d):
    """Which is for processes of one thread: stock programs do under profrun what they do without."""
    for command in (["unshare", "-Ur", "id", "-u"], ["unshare", "-Urmpf", "--mount-proc", "id", "-u"],
                    ["nsenter", "-t", str(os.getpid()), "-m", "echo", "entered"],
                    ["setpriv", "--reuid", str(NOBODY), "--clear-groups", "id", "-u"],
                    ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "id", "-u"]):
        if not shutil.which(command[0]):
            continue
        p = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT_S, check=False)
        want = (p.returncode, p.stdout.decode())
        if want[0] != 0:
            print("skipped, not allowed here: " + " ".join(command))
            continue
        for options in (["--http", "127.0.0.1:0"], ["--cpu", "60", "-o", d + "/cpu.pb"],
                        ["--http", "unix:%s/%%p" % d, "--cpu", "60", "-o", d + "/cpu.pb"]):
            status, out, err = run(*options, "--", *command)
            check((status, out) == want, "%s %s: %d %r, not %d %r: %s" %
                  (options[0], " ".join(command), status, out, *want, err))


def test_the_index_of_a_program_with_any_name(d):
    """Guards: what is not UTF-8 is shown as such, and the page is valid."""
    program = os.fsencode(d) + b"/\xff<b>\xc3(\xed\xa0\x80\xf5\xe2\x82\xac"
    os.symlink("/bin/sleep", program)
    p = subprocess.Popen([profrun, "--http", "127.0.0.1:0", program, "60"], env=clean_env(),
                         stderr=subprocess.PIPE)
    line = p.stderr.readline().decode(errors="replace")
    page = get(int(ANNOUNCED.fullmatch(line).group(1)), "/debug/pprof/").decode()
    check("\ufffd&lt;b&gt;\ufffd(\ufffd\ufffd\ufffd\ufffd\u20ac" in page, "the index: %s" %
          re.findall("[^ >]*&lt;b[^ <]*", page)[:2])
    p.terminate()
    p.communicate(timeout=TIME_LIMIT_S)


def test_a_taken_address(d):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        address = "127.0.0.1:%d" % s.getsockname()[1]
        status, out, err = run("--http", address, "--log", d + "/taken.log", "sh", "-c",
                               "ls / >/dev/null; echo goes on")
        check((status, out) == (0, "goes on\n"), "the program runs all the same")
        check(re.fullmatch(r"profrun: cannot serve on %s: .*\n" % re.escape(address), err),
              "one line on stderr: %r" % err)
        log = open(d + "/taken.log").read()
        check(log.count("cannot serve") == 2, "both say so in the log")
        check(len(set(re.findall(r"serving on unix:@libprof-(\d+)", log))) == 2,
              "and each has a socket of its own: %r" % log)
        for bad in (address, "nonsense", "", "unix:/nowhere/at/all"):
            p = subprocess.run(["true"], env=clean_env(LD_PRELOAD=preload, LIBPROF_HTTP=bad),
                               capture_output=True, timeout=TIME_LIMIT_S, check=False)
            check((p.returncode, p.stdout, p.stderr) == (0, b"", b""),
                  "without profrun nothing is said of %r: %r" % (bad, p.stderr))


def test_children_that_took_other_addresses(d):
    """Who looks for them looks at the port that was asked for."""
    port, script_text = free_port(), "import subprocess, sys; c = [subprocess.Popen([" \
        "sys.executable, '-c', 'import signal; signal.pause()']) for i in range(2)]; " \
        "print(*[p.pid for p in c], flush=True); sys.stdin.read(); [p.kill() for p in c]"
    p = subprocess.Popen([profrun, "--http", "127.0.0.1:%d" % port, sys.executable, "-c", script_text],
                         env=clean_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    pids = p.stdout.readline().decode().split()
    stranger = subprocess.Popen([profrun, "--http", "127.0.0.1:%d" % port, "sleep", "30"],
                                env=clean_env(), stderr=subprocess.DEVNULL)

    def lines():
        text = get(port, "/debug/pprof/?debug=1").decode()
        return re.findall(r"^other process: (\d+) unix:@libprof-\1 (\S+)$", text, re.M)
    wait_for(lambda: sorted(pid for pid, _ in lines()) == sorted(pids), "both, and no stranger")
    check(all(name.startswith("python") for _, name in lines()), "by name: %s" % lines())
    page = get(port, "/debug/pprof/").decode()
    check(all("--abstract-unix-socket libprof-%s " % pid in page for pid in pids), "and how to ask")
    stranger.kill()
    stranger.wait()
    _, err = p.communicate(b"")
    check(err.count(b"\n") == 1, "the address is printed once: %r" % err)


DAEMON = """
import os, sys, signal
%s
if os.fork():
    os._exit(0) if %d else sys.exit(0)
os.setsid()
if %d and os.fork():
    os._exit(0)
os.write(1, b"%%d\\n" %% os.getpid())
for fd in range(3):
    os.close(fd)
signal.pause()
"""


def test_daemons_go_on_serving(d):
    for name, hard, double in (("one fork", 0, 0), ("two forks", 1, 1)):
        port = free_port()
        p = subprocess.run([profrun, "--http", "127.0.0.1:%d" % port, "-o", d + "/daemon.pb.gz",
                            sys.executable, "-c", DAEMON % ("", hard, double)], env=clean_env(),
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                           timeout=TIME_LIMIT_S, check=False)
        daemon = int(p.stdout)
        page = wait_for(lambda: get(port, "/debug/pprof/"), "%s: the daemon serves" % name)
        check(page is not None and ("process %d" % daemon).encode() in page,
              "%s: and it is the daemon that does" % name)
        os.kill(daemon, signal.SIGTERM)


def test_a_forked_child_does_not_serve(d):
    """Unless each process has an address of its own."""
    program = "import os, signal; p = os.fork(); " \
        "os.write(1, b'%d %d\\n' % (os.getpid(), p)); signal.pause()"
    for address, served in (("unix:%s/%%p.sock" % d, 2), ("unix:%s/one.sock" % d, 1)):
        p = subprocess.Popen([profrun, "--http", address, sys.executable, "-c", program],
                             env=clean_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        first = p.stdout.readline().split()
        second = p.stdout.readline().split()
        child = max(int(first[1]), int(second[1]))
        names = [d + "/%d.sock" % p.pid, d + "/%d.sock" % child] if served == 2 else \
            [d + "/one.sock"]
        for name in names:
            def reached(name=name):
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(10)
                    s.connect(name)
                    s.sendall(b"GET /debug/pprof/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
                    return s.recv(1000).startswith(b"HTTP/1.")
            check(wait_for(reached, "%s answers" % name), "%s answers" % name)
        line = p.stderr.readline().decode()
        check(re.fullmatch(r"profrun: http://localhost/debug/pprof/ on unix:.* pid %d\n" % p.pid,
                           line), "announced: %r" % line)
        os.kill(child, signal.SIGTERM)
        p.terminate()
        check(p.communicate(timeout=TIME_LIMIT_S)[1] == b"", "nothing more on stderr")


MISSING = {
    # soname: what becomes of the profile, and the package that the words name
    "liblzma.so.5": (None, None),
    "libzstd.so.1": (None, None),
    "libprotobuf-c.so.1": ("text only", "libprotobuf-c1"),
    "libmicrohttpd.so.12": ("not served", "libmicrohttpd12"),
    "libz.so.1": ("none", "zlib1g"),
}


def test_a_missing_library_keeps_no_program_from_running(d):
    """Guards: what only reading needs, or only serving, is nothing that a program starts or ends
    by. A file of the library's name that is none stands for one that is not there."""
    program = d + "/program"
    with open(program + ".c", "w") as f:
        f.write("#include <stdlib.h>\n#include <unistd.h>\n"
                "int main(void) { for (int i = 0; i < 100; i++) if (!malloc(10000)) return 1;\n"
                "char c; return read(0, &c, 1) < 0 ? 1 : 7; }\n")
    subprocess.run(["gcc", "-g", "-o", program, program + ".c"], check=True)
    for soname, (becomes, package) in MISSING.items():
        os.mkdir(d + "/" + soname)
        with open("%s/%s/%s" % (d, soname, soname), "w") as f:
            f.write("no library\n")
        env = clean_env(LD_LIBRARY_PATH=d + "/" + soname, LIBPROF_LOG=d + "/log")
        text, served = "", becomes not in ("not served", "none")
        for preloaded in ("profrun", "preload"):
            if preloaded == "preload" and becomes == "none":
                continue # what recording needs is needed
            open(d + "/log", "w").close()
            if preloaded == "profrun":
                start = [profrun, "--heap-rate", "1", "--http", "127.0.0.1:0", "-o", d + "/dump",
                         program]
            else:
                start = [program]
                env.update(LD_PRELOAD=preload, LIBPROF_HTTP="127.0.0.1:0", LIBPROF_HEAP_RATE="1",
                           LIBPROF_DUMP=d + "/dump")
            p = subprocess.Popen(start, env=env, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            if served:
                wait_for(lambda: "serving on" in open(d + "/log").read(), soname + ": serves")
                port = re.search(r"serving on 127.0.0.1:(\d+)", open(d + "/log").read()).group(1)
                text = get(int(port), "/debug/pprof/heap?debug=1").decode()
                check("main" in text and "malloc" not in text.split("\n")[0],
                      soname + ": functions have names")
            err = p.communicate(b"x", timeout=TIME_LIMIT_S)[1].decode()
            said = text + err + open(d + "/log").read()
            check(p.returncode == 7, "%s, %s: the program ends as it does: %d %s" %
                  (soname, preloaded, p.returncode, err))
            check(os.path.exists(d + "/dump") == (becomes not in ("text only", "none")),
                  "%s, %s: a dump, or none" % (soname, preloaded))
            if package:
                check(package in said, "%s, %s: %s is named: %r" % (soname, preloaded, package, said))
            if os.path.exists(d + "/dump"):
                os.unlink(d + "/dump")


def main():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        count = [0]

        def fresh():
            count[0] += 1
            path = "%s/%d" % (os.path.realpath(directory), count[0])
            os.mkdir(path)
            return path

        test_help_and_version()
        test_wrong_use(fresh())
        test_programs_that_cannot_be_run(fresh())
        test_privileged_programs(fresh())
        test_the_program_runs_as_without(fresh())
        os.chdir(fresh())
        test_environment(fresh())
        test_dump(fresh())
        test_little_room_for_data()
        test_what_destructors_free_is_no_leak(fresh())
        test_cpu(fresh())
        if with_http:
            test_a_missing_library_keeps_no_program_from_running(fresh())
            test_announcement()
            test_the_server_is_not_in_the_profile(fresh())
            test_programs_that_confine_themselves(fresh())
            test_the_index_of_a_program_with_any_name(fresh())
            test_a_taken_address(fresh())
            test_children_that_took_other_addresses(fresh())
            test_daemons_go_on_serving(fresh())
            test_a_forked_child_does_not_serve(fresh())
            test_sockets_of_children_that_leave(fresh())
        os.chdir("/")
    return report()


sys.exit(main())
