#!/usr/bin/env python3
"""profctl_reach.py - profctl finds what runs, whoever's it is and wherever it is.

    profctl_reach.py PROFCTL PROFRUN SERVICE

Ten processes of two users; a network namespace; a pid namespace; names that others hold; users that
are refused; programs that sleep until they are asked; rates; and top as a terminal shows it. What
needs root is told as skipped where the test has not got it.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, environment, have, run_all

PROFCTL, PROFRUN, SERVICE = map(os.path.abspath, sys.argv[1:4])
PATIENCE_S = 30
NOBODY = 65534
is_root = os.geteuid() == 0
started = []


def start(args, user=None, **more):
    """In a group of its own, so that what it starts is ended with it."""
    p = subprocess.Popen([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, env=environment(**more), user=user,
                         group=user, extra_groups=[] if user else None, start_new_session=True)
    started.append(p)
    return p


def end(p):
    try:
        os.killpg(p.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    p.wait()
    started.remove(p)


def profctl(*args, user=None, **more):
    return subprocess.run([PROFCTL, *map(str, args)], capture_output=True, text=True, timeout=90,
                          env=environment(**more), user=user, group=user,
                          extra_groups=[] if user else None)


def until(true, what):
    end_s = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end_s:
            return check(False, what)
        time.sleep(0.02)
    return True


def threads(pid):
    found = []
    for tid in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/comm" % (pid, tid)) as f:
                found.append(f.read().strip())
        except OSError:
            pass
    return found


def listens(pid, inner=None):
    """Its name is there, in its own network namespace."""
    def look():
        try:
            with open("/proc/%d/net/unix" % pid) as f:
                return re.search(r"@libprof-%d(-\d+)?$" % (inner or pid), f.read(), re.M)
        except OSError:
            return False
    return look


def dormant(*args, user=None, **more):
    p = start([PROFRUN, "--dormant", "--", *args], user, **more)
    until(listens(p.pid), "%s listens" % (args,))
    return p


def listed(*args):
    r = profctl("list", "--json", *args)
    check(r.returncode == 0, r.stderr)
    return {p["pid"]: p for p in json.loads(r.stdout)}


def can_be_reached_by_nobody():
    return is_root and all(os.stat(d).st_mode & 1 for d in parents(PROFRUN))


def parents(path):
    while path != "/":
        path = os.path.dirname(path)
        yield path


def test_ten_processes_of_two_users():
    users = [None, NOBODY] if can_be_reached_by_nobody() else [None]
    if len(users) == 1:
        print("skipped: another user's processes: the test is not root, or its build not his to read")
    ours = [dormant("sleep", "300", user=users[i % len(users)]) for i in range(10)]
    have_them = listed()
    for p in ours:
        row = have_them.get(p.pid, {})
        check(row.get("state") == "asleep" and row.get("name") == "sleep", "%s: %s" % (p.pid, row))
    check(all("prof-control" in threads(p.pid) for p in ours), "nobody was woken by being listed")
    if len(users) == 2:
        r = profctl("list", user=NOBODY)
        rows = [int(m) for m in re.findall(r"^ *(\d+) ", r.stdout, re.M)]
        check(not any(p.pid in rows for p in ours[0::2]), "another user's are not shown: " + r.stdout)
        check(all(p.pid in rows for p in ours[1::2]), "one's own are: " + r.stdout)
        check("of other users" in r.stdout, r.stdout)
        check(all(len(line) <= 80 for line in r.stdout.splitlines()), r.stdout)
        r = profctl("list", "--all", user=NOBODY)
        check(re.search(r"^ *%d .*not yours" % ours[0].pid, r.stdout, re.M), r.stdout)
        check(profctl("heap", ours[1].pid, user=NOBODY).returncode == 0, "one's own")
        check(profctl("heap", ours[1].pid).returncode == 0, "root sees another user's")
        r = profctl("heap", ours[0].pid, user=NOBODY)
        check(r.returncode == 4 and "only that user and root" in r.stderr, r.stderr)
    for p in ours:
        end(p)


def test_a_foreign_user_is_refused_and_wakes_nobody():
    if not can_be_reached_by_nobody():
        print("skipped: a foreign user needs root")
        return
    p = dormant("sleep", "300")
    address = "unix:@libprof-%d" % p.pid # as an address, profctl does not know whose it is
    done = profctl("rates", address, user=NOBODY)
    check(done.returncode == 4 and "only the user" in done.stderr, "while it sleeps: " + done.stderr)
    check("prof-control" in threads(p.pid), "it was not woken: %s" % threads(p.pid))
    check(profctl("heap", p.pid).returncode == 0 and "prof-http" in threads(p.pid), "by its user it is")
    done = profctl("rates", address, user=NOBODY)
    check(done.returncode == 4 and "only the user" in done.stderr, "when it serves: " + done.stderr)
    end(p)


def test_a_daemon_that_gave_up_root():
    """The kernel lets it look at none of its threads that wait; root may, and is shown them."""
    if not can_be_reached_by_nobody():
        print("skipped: to give up root needs root")
        return
    p = dormant(sys.executable, "-c", "import os, time\nos.setgid(%d)\nos.setuid(%d)\n"
                "print(flush=True)\ntime.sleep(300)" % (NOBODY, NOBODY))
    p.stdout.readline()
    until(lambda: "sleep" in open("/proc/%d/wchan" % p.pid).read(), "it waits")
    r = profctl("threads", "unix:@libprof-%d" % p.pid)
    check("Permission denied" in r.stdout and "as root" in r.stdout, "what it can say itself: %s" % r)
    r = profctl("threads", p.pid)
    check("nanosleep" in r.stdout and "[unreadable stack]" not in r.stdout, "%s" % r)
    end(p)


def test_a_network_namespace():
    if not is_root or subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        print("skipped: a network namespace needs root")
        return
    p = start(["unshare", "-n", PROFRUN, "--dormant", "--", "sleep", "300"])
    until(listens(p.pid), "it listens there")
    with open("/proc/net/unix") as f:
        check("@libprof-%d\n" % p.pid not in f.read(), "and not here")
    check(listed().get(p.pid, {}).get("state") == "asleep", "it is listed")
    r = profctl("heap", p.pid)
    check(r.returncode == 0 and "heap of sleep (%d)" % p.pid in r.stdout, r.stderr)
    end(p)


def test_a_pid_namespace_shares_the_names():
    """Two processes that are both number 1 to themselves, in one network namespace."""
    command = ["unshare", "-p", "-f", "--kill-child", "--mount-proc"]
    if not is_root or subprocess.run([*command, "true"], capture_output=True).returncode:
        print("skipped: a pid namespace needs root")
        return
    outer = [start([*command, PROFRUN, "--dormant", "--", "sleep", "300"]) for _ in range(2)]
    inner = []
    for p in outer:
        children = "/proc/%d/task/%d/children" % (p.pid, p.pid)
        until(lambda: open(children).read().strip(), "a child")
        pid = int(open(children).read())
        until(lambda: "prof-control" in threads(pid), "it listens: %s" % threads(pid))
        inner.append(pid)
    for pid in inner:
        until(lambda: profctl("rates", pid).returncode == 0, "process %d answers" % pid)
        check(profctl("rates", pid, "heap=%d" % pid).returncode == 0, "a rate of its own")
    for pid in inner:
        rates = json.loads(profctl("rates", pid, "--json").stdout)
        check(rates["heap"] == pid, "%d is not taken for the other: %s" % (pid, rates))
    for p in outer:
        end(p)


def test_a_name_that_another_holds_is_not_believed():
    p = start([SERVICE, "unix:@other-%d" % os.getpid()], LIBPROF_CONTROL="0")
    until(lambda: "prof-http" in threads(p.pid), "it serves")
    impostor = socket.socket(socket.AF_UNIX)
    impostor.bind("\0libprof-%d" % p.pid)
    impostor.listen(5)
    impostor.settimeout(0.2)
    r = profctl("heap", p.pid)
    check(r.returncode == 0 and "heap of service" in r.stdout, "found by what it serves: " + r.stderr)
    asked = b""
    try:
        while True:
            with impostor.accept()[0] as c:
                c.settimeout(1)
                asked += c.recv(100)
    except OSError:
        pass
    check(asked == b"", "the impostor was asked nothing: %s" % asked)
    impostor.close()
    end(p)


def test_a_process_that_ends_leaves_nothing():
    """PID reuse: the name goes with the process, so the next one of that number is itself."""
    p = dormant("sleep", "300")
    pid = p.pid
    end(p)
    with open("/proc/net/unix") as f:
        check("@libprof-%d\n" % pid not in f.read(), "no stale name")
    check(profctl("heap", pid).returncode == 3, "there is no such process")


def test_the_switch():
    p = start([SERVICE, "unix:" + os.path.abspath("switch")], LIBPROF_CONTROL="0")
    until(lambda: os.path.exists("switch"), "it serves")
    check(not listens(p.pid)(), "LIBPROF_CONTROL=0: no name")
    r = profctl("heap", p.pid)
    check(r.returncode == 0, "found by the socket file that it serves on: " + r.stderr)
    r = profctl("rates", p.pid, "heap=1k")
    check(r.returncode == 4 and "control socket" in r.stderr, "no rate is changed there: " + r.stderr)
    end(p)
    p = start(["sleep", "300"], LIBPROF_CONTROL="0", LD_PRELOAD=preload())
    until(lambda: "libprof" in open("/proc/%d/maps" % p.pid).read(), "it has libprof in it")
    r = profctl("rates", p.pid)
    check(r.returncode == 6 and "LIBPROF_CONTROL" in r.stderr, r.stderr)
    r = profctl("heap", p.pid)
    check(r.returncode == 0 and "heap of sleep" in r.stdout, "its tables are read from outside: " + r.stdout + r.stderr)
    check(threads(p.pid) == ["sleep"], "and no thread: %s" % threads(p.pid))
    end(p)


def preload():
    return os.path.join(os.path.dirname(PROFRUN), "../preload/libprof-preload.so")


def test_dormant_until_it_is_told():
    p = start([PROFRUN, "--dormant", "--", sys.executable, "-c",
               "import time\nkeep = []\nwhile True:\n keep.append(bytearray(100000))\n time.sleep(0.01)"],
              PYTHONMALLOC="malloc")
    until(listens(p.pid), "it listens")
    check(len(threads(p.pid)) == 2 and "prof-control" in threads(p.pid), "%s" % threads(p.pid))
    check(json.loads(profctl("heap", p.pid, "--json").stdout)["total"] == 0, "nothing is recorded")
    r = profctl("rates", p.pid, "heap=1")
    check(r.returncode == 0 and re.search(r"^heap +1 ", r.stdout, re.M), r.stdout + r.stderr)
    until(lambda: json.loads(profctl("heap", p.pid, "--json").stdout)["total"] > 1000000,
          "now it is recorded")
    for bad in ("heap=x", "heap", "cpu=1000", "nonsense=1", "heap=2000g"):
        check(profctl("rates", p.pid, bad).returncode == 2, bad)
    end(p)


def test_a_daemon_can_be_asked():
    code = "import os, time\nif os.fork(): time.sleep(300)\nos.setsid(); print(os.getpid(), flush=True); time.sleep(300)"
    p = dormant(sys.executable, "-c", code)
    pid = int(p.stdout.readline())
    until(listens(pid), "the daemon listens")
    check(profctl("rates", pid).returncode == 0, "and answers")
    end(p)
    if os.path.exists("/proc/%d" % pid):
        os.kill(pid, signal.SIGKILL)


def test_forked_children():
    code = "import os, time\npid = os.fork()\nif pid: print(pid, flush=True)\ntime.sleep(300)"
    p = start([sys.executable, "-c", code], LD_PRELOAD=preload())
    child = int(p.stdout.readline())
    r = profctl("rates", child)
    check(r.returncode == 6 and "forked child" in r.stderr, r.stderr)
    check(len(threads(child)) == 1, "no thread is started in it: %s" % threads(child))
    end(p)
    p = start([sys.executable, "-c", code], LD_PRELOAD=preload(), LIBPROF_CONTROL="children")
    child = int(p.stdout.readline())
    until(listens(child), "LIBPROF_CONTROL=children: it listens")
    check(profctl("rates", child).returncode == 0, "and answers")
    end(p)


def test_calls_for_one_thread():
    """unshare(CLONE_NEWUSER) is refused to a process of two threads; ours leaves and comes back."""
    code = ("import ctypes, os, time\nc = ctypes.CDLL(None, use_errno=True)\n"
            "r = c.unshare(0x10000000)\nprint(r, ctypes.get_errno(), flush=True)\ntime.sleep(300)")
    p = dormant(sys.executable, "-c", code)
    said = p.stdout.readline()
    plain = subprocess.run([sys.executable, "-c", code.replace("time.sleep(300)", "")],
                           capture_output=True, text=True, timeout=PATIENCE_S, env=environment())
    check(said == plain.stdout, "as without libprof: %r, %r" % (said, plain.stdout))
    until(listens(p.pid), "it listens again")
    end(p)


def test_top_in_a_terminal():
    if not have("tmux"):
        return
    p = start([SERVICE, "unix:@top-%d" % os.getpid()])
    until(listens(p.pid), "it listens")
    tmux = ["tmux", "-L", "profctl-%d" % os.getpid(), "-f", "/dev/null"]

    def screen():
        return subprocess.run([*tmux, "capture-pane", "-p"], capture_output=True, text=True,
                              timeout=PATIENCE_S).stdout

    def press(key):
        subprocess.run([*tmux, "send-keys", key], check=True, timeout=PATIENCE_S)

    subprocess.run([*tmux, "new-session", "-d", "-x", "80", "-y", "24",
                    "%s top %d --seconds 0.5; echo ended $?; sleep 300" % (PROFCTL, p.pid)],
                   check=True, timeout=PATIENCE_S, env=environment(TERM="xterm-256color"))
    until(lambda: "heap of service" in screen() and "audit_remember" in screen(), "the heap\n")
    first = screen()
    check("inuse_space" in first and "pid %d" % p.pid in first and "q quit" in first, first)
    check(len(first.splitlines()) <= 24 and all(len(x) <= 80 for x in first.splitlines()), first)
    press("d")
    until(lambda: "since the start" in screen(), "the difference")
    press("c")
    until(lambda: "cpu of service" in screen() and re.search(r"work|checksum|buffer_new", screen()),
          "the CPU")
    press("s")
    until(lambda: re.search(r"100\.0  (start_thread|clone3|work)", screen()), "by cum")
    press("q")
    until(lambda: "ended 0" in screen(), "it ends, and gives the terminal back")
    check("FUNCTION" not in screen(), "the screen is as it was: " + screen())
    subprocess.run([*tmux, "kill-server"], capture_output=True, timeout=PATIENCE_S)
    end(p)


def test_watch_and_the_browser():
    p = start([SERVICE, "unix:@watch-%d" % os.getpid()])
    until(listens(p.pid), "it listens")
    r = profctl("watch", p.pid, "--rows", 2, "--seconds", 0.3, "--json")
    lines = [json.loads(line) for line in r.stdout.splitlines()]
    check(len(lines) == 2 and all(n["rss_bytes"] > 0 and n["heap_bytes"] > 0 for n in lines), r.stdout)
    r = profctl("watch", p.pid, "--rows", 1)
    check(all(len(line) <= 80 for line in r.stdout.splitlines()), r.stdout)
    profctl("heap", p.pid, "-o", "kept.pb")
    for target, name in ((p.pid, "heap"), ("kept.pb", "file1-kept.pb")):
        check_browser(target, name)
    end(p)


def check_browser(target, name):
    import http.client
    ui = start([PROFCTL, "ui", target])
    url = re.match(r"http://127\.0\.0\.1:(\d+)(/\?key=(\w+))", next(
        line for line in ui.stdout if line.startswith("http")))

    def get(path, method="GET", **headers):
        c = http.client.HTTPConnection("127.0.0.1", int(url[1]), timeout=PATIENCE_S)
        c.request(method, path, headers=headers)
        r = c.getresponse()
        return r, r.read()

    check(get("/debug/pprof/")[0].status == 403, "not without the key")
    check(get("/?key=" + "0" * 32)[0].status == 403, "nor with another")
    r, _ = get(url[2])
    check(r.status == 303 and r.headers["Location"].startswith("/debug/pprof/ui/"), str(r.status))
    cookie = r.headers["Set-Cookie"].split(";")[0]
    check("HttpOnly" in r.headers["Set-Cookie"] and "SameSite=Strict" in r.headers["Set-Cookie"], "")
    check(get("/debug/pprof/ui/", Cookie=cookie)[0].status == 200, "the viewer")
    r, body = get("/debug/pprof/" + name, Cookie=cookie)
    check(r.status == 200 and body[:2] == b"\x1f\x8b", "the profile: %d" % r.status)
    check(name.encode() in get("/debug/pprof/?debug=1", Cookie=cookie)[1], "it is in the index")
    check(get("/debug/pprof/rates?heap=1", "POST", Cookie=cookie)[0].status == 405, "no change by it")
    other = {"Cookie": cookie, "Sec-Fetch-Site": "cross-site"}
    check(get("/debug/pprof/", **other)[0].status == 403, "nor another site's page")
    ui.send_signal(signal.SIGTERM)
    check(ui.wait(PATIENCE_S) == 0, "it ends")
    started.remove(ui)


if __name__ == "__main__":
    try:
        status = run_all(globals(), "profctl-reach-")
    finally:
        for p in list(started):
            end(p)
    sys.exit(status)
