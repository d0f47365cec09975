#!/usr/bin/env python3
"""viewer_threads.py - threads one by one, and deadlocks wherever they are looked for.

    viewer_threads.py STUCK SERVICE_CC

Chromium, as in viewer_page.py.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser  # noqa: E402
from checks import check  # noqa: E402
from viewing import *  # noqa: E402,F403


def by_name(b):
    """{name: [{column: text}]} of the table's threads."""
    listed = b.run("""return [...document.querySelectorAll("#threads-table tr[data-thread]")].map((tr) =>
        Object.fromEntries([...tr.cells].map((td) => [td.dataset.column, td.textContent])));""")
    out = {}
    for thread in listed:
        out.setdefault(thread["name"], []).append(thread)
    return out


def test_deadlock(b, program):
    where = program.root
    status, page = get(where)
    check("class='dead'" in page and "2 threads wait for each other" in page and "(payer)" in page,
          "the index has a banner")
    status, answer = get(where + "threads?debug=1")
    check("\n# deadlock: 2 threads wait for each other" in answer, "debug=1 says it")
    status, answer = get(where + "?debug=1")
    check("\ndeadlock: 2 threads" in answer, "so does the index as text")
    status, answer = get(where.replace("debug/pprof/", "metrics"))
    check("\nlibprof_deadlocked_threads 2\n" in answer, "and the metrics")

    b.open(where)
    b.click(".dead a")
    settled(b, "threads, from the banner")
    equal(b.run("return [app.state.name, app.page.view().id];"), ["threads", "threads"],
          "the banner leads to the threads")
    first = b.run("return document.querySelector('#threads').firstElementChild.className;")
    equal(first, "deadlock", "the deadlock is at the top")
    said = text(b, ".deadlock")
    check("2 threads wait for each other" in said and "(payer) waits for mutex 0x" in said, said)
    red = b.run("return getComputedStyle(document.querySelector('.deadlock')).color;")
    check(re.match(r"rgb\(1[5-9]\d, [0-6]\d, [0-6]\d\)", red), "in red: " + red)
    threads = by_name(b)
    equal(sorted(len(t) for t in threads.values()), [1, 1, 1, 3], "every thread: %r" % threads)
    payer, auditor = threads["payer"][0], threads["auditor"][0]
    check(re.match(r"mutex 0x[0-9a-f]+ for [\d.]+ (s|min)$", payer["waits for"]),
          "for what, and since when: %r" % payer)
    check(re.match(r"thread %s \(auditor\)( for [\d.]+ (s|min))?$" % auditor["thread"],
                   payer["held by"]), "who holds it: %r" % payer)
    check(re.match(r"\d+\.\d\d s$", payer["processor time"]), "processor time: %r" % payer)
    check("sleeping" in payer["state"], "state: %r" % payer)
    equal([t["labels"] for t in threads["server"]].count("queue=mail"), 1, "labels")
    groups = b.run("return [...document.querySelectorAll('#threads tr.group')].map("
                   "(r) => r.textContent);")
    check(any(re.match(r". 3 threads: wait_for_work ", g) for g in groups),
          "equal stacks are one group, named by the program's own: %r" % groups)
    check(re.match(r". 1 thread: transfer ", groups[0]), "the deadlocked first: %r" % groups)
    press(b, "#threads", groups[0])
    check("pthread_mutex_lock" in text(b, "#threads ol"), "its stack: " + text(b, "#threads ol"))
    picture(b, "threads-deadlock")
    enter(b, "#search", "mail")
    equal({k: len(v) for k, v in by_name(b).items()}, {"server": 1}, "a search keeps what matches")
    enter(b, "#search", "")
    at = b.run("return app.page.shown.at;")
    press(b, "#view-tools", "Refresh")
    b.wait("app.page.shown.at !== %d && !app.page.busy" % at, "new ones")
    equal(b.run("return app.page.view().id;"), "threads", "still on the threads")
    b.command("/refresh")
    settled(b)
    check("2 threads wait" in text(b, ".deadlock"), "and after a reload")
    b.click("#tab-flame")
    check(drawn(b) > 3 and "transfer" in names(b), "the same as a graph")
    check("⚠ deadlock" in text(b, "#notes"), "which has a note of it: " + text(b, "#notes"))
    b.command("/refresh")
    settled(b)
    equal(b.run("return app.page.view().id;"), "flame", "another tab of threads is kept, too")


def main(stuck, service_cc):
    with browser.Browser(1440, 900) as b:
        with Program([stuck], env=quiet_environment()) as program:
            test_deadlock(b, program)
        with Program([stuck, "sound"], env=quiet_environment()) as program:
            _, page = get(program.root)
            check("class='dead'" not in page, "no banner without a deadlock")
            _, answer = get(program.root.replace("debug/pprof/", "metrics"))
            check("\nlibprof_deadlocked_threads 0\n" in answer, "0 in the metrics")
            open_page(b, program.root, "#threads")
            check(not visible(b, ".deadlock") and not visible(b, "#notes"), "nor in the page")
        with demo(service_cc) as program:
            open_page(b, program.root, "#threads")
            groups = b.run("return [...document.querySelectorAll('#threads tr.group')].map("
                           "(r) => r.textContent);")
            check(any("shop::Pool::run" in g for g in groups), "C++ by its own names: %r" % groups)
        no_complaints(b, "threads")


if __name__ == "__main__":
    sys.exit(run_parts({sys.argv[1]: lambda *rest: main(sys.argv[1], *rest)}))
