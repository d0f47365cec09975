#!/usr/bin/env python3
"""profctl.py - what profctl shows of a process, of a file and of two, and how it ends.

    profctl.py PROFCTL SERVICE

The process is the demo's service, of which is known where its memory goes.
"""
import gzip
import json
import os
import random
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import perfetto
import pprof
from checks import check, environment, run_all

PROFCTL, SERVICE = map(os.path.abspath, sys.argv[1:3])
service = None


def begin():
    global service
    service = subprocess.Popen([SERVICE, "unix:" + os.path.abspath("socket")], text=True,
                               stdout=subprocess.PIPE, env=environment())
    wait_for_requests(2000)


def wait_for_requests(n):
    for line in service.stdout:
        m = re.match(r"handled (\d+) requests", line)
        if m and int(m.group(1)) >= n:
            return


def profctl(*args, **more):
    return subprocess.run([PROFCTL, *map(str, args)], capture_output=True, text=True, timeout=90,
                          env=environment(**more))


def shows(*args):
    r = profctl(*args)
    check(r.returncode == 0, "%s: %d %s" % (" ".join(map(str, args)), r.returncode, r.stderr[:300]))
    return r.stdout


def rows(table):
    """{function: (flat, flat%, cum, cum%)} of a table."""
    return {m[5]: (m[1], float(m[2]), m[3], float(m[4])) for m in re.finditer(
        r"^ *(\S+) +(-?[\d.]+) +(\S+) +(-?[\d.]+)  (\S+)", table, re.M)}


def test_a_table_fits_80_columns_and_names_the_leak():
    out = shows("heap", service.pid)
    check(all(len(line) <= 80 for line in out.splitlines() if line[:1] != "#"), out)
    table = rows(out)
    check(max(table, key=lambda f: table[f][1]) == "audit_remember", out)
    check(abs(table["main"][3] + table["work"][3] - 100) < 0.5, "two threads, all of it: " + out)
    check("\033" not in out, "no colour where no terminal is")
    check("\033[1m" in shows("heap", service.pid, "--color", "always"), "colour where it is asked for")


def test_all_forms_tell_the_same():
    subprocess.run([PROFCTL, "heap", str(service.pid), "-o", "heap.pb"], check=True,
                   capture_output=True, env=environment())
    check(os.stat("heap.pb").st_mode & 0o777 == 0o600, "nobody else may read it")
    with open("heap.pb", "rb") as f:
        profile = pprof.assert_valid(f.read(), "heap")
    column = [profile.string(t.type) for t in profile.sample_type].index("inuse_space")
    want = {}
    for frames, values, _ in profile.stacks():
        want[frames[0]] = want.get(frames[0], 0) + values[column]
    total = sum(want.values())

    answer = json.loads(shows("heap", "heap.pb", "--json", "--all-code"))
    check(answer["type"] == "inuse_space" and answer["total"] == total, str(answer)[:300])
    flat = {f["name"]: f["flat"] for f in answer["functions"] if f["flat"]}
    check(flat == {k: v for k, v in want.items() if v}, "%s, not %s" % (flat, want))

    folded = shows("heap", "heap.pb", "--folded")
    check(sum(int(line.rsplit(" ", 1)[1]) for line in folded.splitlines()) == total, folded[:500])
    check("audit_remember" in shows("heap", "heap.pb", "--flame"), "the flame graph names it")
    check("alloc_objects" in shows("heap", "heap.pb", "--type", "alloc_objects"), "another type")


def test_a_difference_is_what_came_between():
    shows("heap", service.pid, "-o", "a.pb")
    wait_for_requests(6000)
    shows("heap", service.pid, "-o", "b.pb")
    sizes = [json.loads(shows("heap", f, "--json"))["total"] for f in ("a.pb", "b.pb")]
    answer = json.loads(shows("diff", "a.pb", "b.pb", "--json"))
    check(answer["total"] == sizes[1] - sizes[0] > 0, "%s %s" % (answer["total"], sizes))
    check(answer["functions"][0]["name"] == "audit_remember", str(answer)[:300])
    check(json.loads(shows("diff", "a.pb", "a.pb", "--json"))["functions"] == [], "nothing")
    shows("diff", "a.pb", "b.pb", "-o", "d.pb")
    check(json.loads(shows("heap", "d.pb", "--json"))["total"] == sizes[1] - sizes[0], "as a file")
    check(profctl("diff", "a.pb", "b.pb", "--type", "no").returncode == 3, "no such type")


def test_a_damaged_profile_harms_nobody():
    """Cut off, and with bytes changed, packed and not: a table or a sentence, and never a signal."""
    shows("heap", service.pid, "-o", "whole.pb")
    with open("whole.pb", "rb") as f:
        packed = f.read()
    plain = gzip.decompress(packed)
    chance = random.Random(1)
    for i in range(48):
        data = bytearray(plain if i % 3 else packed)
        if i % 2:
            del data[chance.randrange(len(data)):]
        for _ in range(i % 5):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        with open("some.pb", "wb") as f:
            f.write(data)
        form = ("--text", "--flame", "--json", "--folded")[i // 4 % 4]
        r = subprocess.run([PROFCTL, "heap", "some.pb", form], capture_output=True, timeout=60,
                           env=environment())
        check(r.returncode in (0, 1), "%d %s: %d" % (i, form, r.returncode))
    check(shows("diff", "whole.pb", "whole.pb") != "", "of itself")


def test_own_texts():
    check("deadlock" not in shows("threads", service.pid), "there is none")
    check("session_open" in shows("leaks", service.pid, "--age", 1), "the leak")
    held = shows("holders", service.pid, "--site", "^audit_remember$")
    check("global audit_log" in held, held[:500])
    check("libprof_heap_inuse_bytes" in shows("metrics", service.pid), "metrics")
    check("heap" in shows("vars", service.pid), "vars")
    json.loads(shows("vars", service.pid, "--json"))
    shows("trace", service.pid, "--seconds", 1, "-o", "t.pftrace")
    with open("t.pftrace", "rb") as f:
        trace = perfetto.load(f.read())
    check(trace.problems == [] and trace.process["pid"] == service.pid, "a timeline: %s" % trace.problems)
    check(json.loads(shows("trace", service.pid, "--json"))["traceEvents"] != [], "and as JSON")
    text = shows("trace", service.pid, "--json", "--io", "--sched")
    names = {e.get("name") for e in json.loads(text)["traceEvents"]}
    check("running" in names or "perf_event_open() is refused" in text, "--sched: %s" % sorted(map(str, names))[:40])
    check(not names.isdisjoint({"nanosleep", "clock_nanosleep", "usleep", "poll", "pthread_cond_wait"}), "--io: %s" % names)
    last = profctl("trace", service.pid, "--last")
    check(last.returncode != 0 and "LIBPROF_TRACE" in last.stderr, "--last, and nothing is kept: " + last.stderr)
    table = rows(shows("threads", service.pid, "--pprof", "-o", "/dev/null") +
                 shows("threads", service.pid, "--flame"))
    check(table == {}, "a flame graph is no table")


def test_windows():
    out = shows("cpu", service.pid, "--seconds", 1)
    check("cpu of" in out and rows(out), out)
    out = shows("allocs", service.pid, "--seconds", 1)
    check("handle_request" in out and ", in 1s" in out, out)


def test_it_ends_as_documented():
    sleeper = subprocess.Popen(["sleep", "60"], env=environment())
    cases = [
        (2, []), (2, ["heap"]), (2, ["heap", "1", "2"]), (2, ["nonsense"]), (2, ["heap", "--nonsense"]),
        (2, ["list", "--flame"]), (2, ["heap", service.pid, "--seconds", "x"]),
        (2, ["heap", service.pid, "--seconds", "0"]), (2, ["threads", service.pid, "--sort", "x"]),
        (2, ["heap", "https://localhost/"]),
        (3, ["heap", "999999999"]), (3, ["heap", "no-such-program"]), (3, ["heap", "./no-such-file"]),
        (5, ["heap", "unix:@nobody-listens-here"]), (5, ["heap", "http://127.0.0.1:1"]),
        (6, ["block", sleeper.pid]),
    ]
    for status, args in cases:
        r = profctl(*args)
        check(r.returncode == status, "%s: %d, not %d: %s" % (args, r.returncode, status, r.stderr))
        check(r.stderr.startswith("profctl: ") or not args, "%s says why: %s" % (args, r.stderr))
        check(r.stdout == "" or not args, "%s: stdout is for answers" % args)
    sleeper.kill()
    sleeper.wait()
    with open("damaged", "wb") as f:
        f.write(b"\x1f\x8bnonsense")
    check(profctl("heap", "damaged").returncode == 1, "a damaged file")
    for args in (["--help"], ["help", "heap"], ["heap", "--help"], ["--version"]):
        check(profctl(*args).returncode == 0, "%s" % args)
    for name in re.findall(r"^  (?!profctl|completion)([a-z]+) ", profctl("--help").stdout, re.M):
        check("usage: profctl " + name in shows("help", name), "help of " + name)


def test_a_reader_that_leaves_is_no_failure():
    """As `profctl ... | head` does."""
    for form in ([], ["--folded"], ["--pprof"], ["--json"]):
        p = subprocess.Popen([PROFCTL, "heap", str(service.pid), *form], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, env=environment())
        p.stdout.close()
        error = p.stderr.read()
        check(p.wait() == 0 and error == "", "%s: %d %s" % (form, p.returncode, error))


def test_completion():
    words = re.findall(r"^  (?!profctl|completion)([a-z]+) ", profctl("--help").stdout, re.M)
    script = shows("completion", "bash")
    r = subprocess.run(["bash", "-c", script + "\nCOMP_WORDS=(profctl '') COMP_CWORD=1; _profctl; echo ${COMPREPLY[*]}"],
                       capture_output=True, text=True, timeout=60, env=environment())
    check(r.returncode == 0 and set(words) <= set(r.stdout.split()), r.stdout + r.stderr)
    check("#compdef profctl" in shows("completion", "zsh"), "zsh")
    check(profctl("completion", "fish").returncode == 2, "there is none for others")


def test_list():
    answer = json.loads(shows("list", "--json"))
    ours = [p for p in answer if p["pid"] == service.pid]
    check(len(ours) == 1 and ours[0]["state"] == "serving", str(answer)[:500])
    check(ours[0]["heap_bytes"] > 1 << 20 and ours[0]["lost"] == 0, str(ours))
    check(re.search(r"^ *%d .* service" % service.pid, shows("list"), re.M), "a row")


def test_a_name_is_any_bytes_and_json_is_not():
    odd = b'od"d\\\xff\x01'
    os.symlink(SERVICE, odd)
    with subprocess.Popen([os.path.abspath(os.fsdecode(odd)), "unix:" + os.path.abspath("odd")],
                          stdout=subprocess.PIPE, env=environment()) as p:
        p.stdout.readline()
        names = [e["name"] for e in json.loads(shows("list", "--json")) if e["pid"] == p.pid]
        p.kill()
    check(len(names) == 1 and names[0].startswith('od"d\\\ufffd'), str(names))


def end():
    service.kill()
    service.wait()


if __name__ == "__main__":
    status = run_all(globals(), "profctl-", begin)
    end()
    sys.exit(status)
