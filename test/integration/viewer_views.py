#!/usr/bin/env python3
"""viewer_views.py - each view of the viewer, by mouse and by keys.

    viewer_views.py views SERVICE_CC            of a C++ service
    viewer_views.py source SERVICE SERVICE_CC   source files beside values, and only where allowed

Chromium, as in viewer_page.py.
"""
import base64
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser  # noqa: E402
from checks import check  # noqa: E402
from viewing import *  # noqa: E402,F403

# --- views --------------------------------------------------------------------------------------


def point(b, selector, x, y, kind="mousemove"):
    """A mouse event at a place in an element."""
    b.run("""const c = document.querySelector(a[0]), r = c.getBoundingClientRect();
        c.dispatchEvent(new MouseEvent(a[3], {clientX: r.left + a[1], clientY: r.top + a[2],
          bubbles: true}));""", selector, x, y, kind)


def test_my_code(b, root):
    """The first row of Top is the program's own function, not what it asked for memory."""
    open_page(b, root, "#heap?tab=top")
    table = rows(b, "#top-table")
    check(table[0][-1].startswith("shop::Audit::remember"), "the leak is first: %r" % table[0])
    check(b.run("return document.querySelector('#mine').checked;"), "my code is on at first")
    total = sum_of(b)
    b.click("#mine-label")
    table = rows(b, "#top-table")
    check("std::" in table[0][-1], "off, the library is first: %r" % table[0])
    equal(sum_of(b), total, "the sum is the same")
    check("mine=0" in b.run("return location.hash;"), "and the URL says so")
    b.click("#mine-label")
    check(rows(b, "#top-table")[0][-1].startswith("shop::Audit::remember"), "and on again")
    # The reader's own list.
    b.click("#filter")
    b.click("#own summary")
    enter(b, "#own-foreign", "^shop::Audit\n(")
    b.click("#own-keep")
    check("(" in text(b, "#own-error"), "a bad line is told: " + text(b, "#own-error"))
    enter(b, "#own-foreign", "^shop::Audit")
    b.click("#own-keep")
    check(rows(b, "#top-table")[0][-1].startswith("shop::Service::handle"),
          "who is not mine is charged to its caller: %r" % rows(b, "#top-table")[0])
    open_page(b, root, "#heap?tab=top")
    check(rows(b, "#top-table")[0][-1].startswith("shop::Service::handle"), "and it is kept")
    b.click("#filter")
    b.click("#own summary")
    enter(b, "#own-mine", "Audit")
    b.click("#own-keep")
    check(rows(b, "#top-table")[0][-1].startswith("shop::Audit::remember"), "mine after all")
    enter(b, "#own-mine", "")
    enter(b, "#own-foreign", "")
    b.click("#own-keep")
    b.keys(ESCAPE)


def test_flame(b, root):
    open_page(b, root, "#heap?mine=0")
    inlined = b.run("return app.page.selection.frame.filter((f) => f.inlined).map((f) => f.name);")
    check("shop::Audit::remember" in inlined, "inlined frames are told apart: %r" % inlined)
    # The tooltip is at the pointer, and tells value, share and place.
    point(b, "#flame canvas", 40, 30)
    tip = text(b, "#tip")
    check("MiB" in tip and "% of all" in tip, "the tooltip: " + tip)
    near = b.run("const r = document.querySelector('#tip').getBoundingClientRect(), c ="
                 " document.querySelector('#flame canvas').getBoundingClientRect();"
                 "return [r.left - c.left - 40, r.top - c.top - 30];")
    check(0 < near[0] < 40 and 0 < near[1] < 40, "at the pointer: %r" % near)
    node = b.run("return [...app.page.tree('calls').key].indexOf("
                 "app.page.selection.keys.indexOf('shop::Audit::remember'));")
    lines = b.run("const { describe } = await import(new URL('views/graph.js', location));"
                  "const f = app.flameView.flame; return describe(f, f.boxOf.get(a[0])).flat();", node)
    check("inlined into its caller" in lines and any("service.cc:" in x for x in lines),
          "inlined, and where: %r" % lines)
    # Value and share are inside the boxes.
    label = b.run("""const f = app.flameView.flame, seen = [];
        const c = CanvasRenderingContext2D.prototype, fill = c.fillText;
        c.fillText = function (text, ...rest) { seen.push(text); fill.call(this, text, ...rest); };
        f.draw(); c.fillText = fill; return seen;""")
    check("shop::Audit::remember" in label and any(re.match(r"[\d.]+ MiB  [\d.]+ %$", x)
                                                  for x in label), "in the boxes: %r" % label[:12])
    # By mouse: the row of the root's first child, the second from the top.
    point(b, "#flame canvas", 20, 30, "click")
    settled(b)
    equal(b.run("return app.flameView.flame.root;"), b.run(
        "return app.page.tree('calls').children(0)[0];"), "a click zooms to the box under it")
    check(text(b, "#detail") and "Callers" in text(b, "#detail"), "and chooses its function")
    go(b, zoom=[])
    # Inverted: the leaves first, then their callers.
    press(b, "#view-tools", "Inverted")
    first = b.run("const t = app.flameView.flame.tree, s = app.page.selection;"
                  "return t.children(0).map((n) => s.keys[t.key[n]]);")
    flat = b.run("return app.page.top().filter((r) => r.flat).map((r) => app.page.selection.keys[r.key]);")
    equal(set(first), set(flat), "inverted, it begins with the functions that hold the values")
    equal(b.run("return app.flameView.flame.tree.total[0];"), sum_of(b), "and holds all of it")
    check(drawn(b) > 3, "the inverted graph is drawn")
    picture(b, "inverted")
    press(b, "#view-tools", "Inverted")


def test_many_small(b):
    """What is too narrow to be seen is one box that can be looked into."""
    small = [("main", "f%d" % i) for i in range(3000)]
    data = small_profile([(("main", "large"), [1 << 20])] + [(s, [10]) for s in small])
    open_bytes(b, "small.pb.gz", data)
    rest = b.run("return app.flameView.flame.boxes.filter((x) => x.rest).map("
                 "(x) => [x.rest.count, x.rest.total, x.width]);")
    check(len(rest) == 1 and rest[0][:2] == [3000, 30000] and rest[0][2] >= 1,
          "3000 functions in one box: %r" % rest)
    at = b.run("const f = app.flameView.flame, x = f.boxes.find((x) => x.rest);"
               "return [x.x + x.width / 2, f.top(x.row) + 5];")
    point(b, "#flame canvas", *at)
    check("3,000 smaller functions" in text(b, "#tip"), "its tooltip: " + text(b, "#tip"))
    point(b, "#flame canvas", *at, "click")
    settled(b)
    check(b.run("return app.flameView.flame.boxes.filter((x) => !x.rest && !x.above &&"
                " app.flameView.flame.name(x.node).startsWith('f')).length;") > 100,
          "looked into, each has a box of its own")
    picture(b, "smaller")
    check("zoom=" in b.run("return location.hash;"), "and the URL knows")
    b.run("document.querySelector('#flame canvas').focus();")
    b.keys(ESCAPE)
    equal(b.run("return app.flameView.flame.from;"), 0, "Escape leads out")


def test_search(b, root):
    open_page(b, root, "#heap")
    enter(b, "#search", "shop::(Audit|Cache)")
    found = text(b, "#found")
    check(re.match(r"\d+ · [\d.]+ %$", found), "how many were found, and how much of it: " + found)
    count = int(found.split()[0])
    check(count >= 2, "both are there: " + found)
    seen = []
    for i in range(count + 1):
        b.click("#next")
        check(text(b, "#found").startswith("%d/%d" % (i % count + 1, count)),
              "next is the %d: %s" % (i + 1, text(b, "#found")))
        seen.append(b.run("return app.flameView.flame.marked;"))
    equal((len(set(seen)), seen[0]), (count, seen[-1]), "each once, and round again")
    b.click("#previous")
    equal(b.run("return app.flameView.flame.marked;"), seen[count - 1], "previous goes back")
    check(b.run("return app.flameView.flame.matches.some(Boolean);"), "matches are marked")
    enter(b, "#search", "shop(")
    check("Not a regular expression" in text(b, "#search-error"),
          "what is wrong is told below the field: " + text(b, "#search-error"))
    equal(b.run("return document.querySelector('#search').getAttribute('aria-invalid');"), "true",
          "and to who cannot see it")
    picture(b, "bad-search")
    enter(b, "#search", "")
    check(not visible(b, "#search-error"), "and goes away")
    b.click("#tab-top")
    enter(b, "#search", "parse|checksum|Audit")
    equal(text(b, "#found").split(" ")[0], str(len(rows(b, "#top-table"))),
          "in the table the search counts rows")
    enter(b, "#search", "")


def test_filters(b, root):
    open_page(b, root, "#heap?mine=0")
    whole = b.run("return app.page.whole.total;")
    b.click("#filter")
    enter(b, "#focus", "shop::Cache")
    b.keys(ESCAPE)
    part = sum_of(b)
    check(0 < part < whole, "focus keeps a part")
    total = text(b, "#total")
    check(re.match(r"[\d.]+( \w+)? of [\d.]+ [KM]iB \([\d.]+ %\) inuse_space$", total),
          "the part of the whole: " + total)
    equal(b.run("return app.page.whole.total;"), whole, "which stays what it is")
    b.click("#tab-top")
    share = float(rows(b, "#top-table")[0][3].split()[0])
    check(share < 50, "shares are of the whole, whatever is filtered: %g" % share)
    equal(text(b, "#chips"), "focus: shop::Cache✕", "a chip says what is filtered")
    b.run("document.querySelector('#chips button').click();")
    equal((text(b, "#chips"), sum_of(b)), ("", whole), "and can be taken away")
    go(b, ignore="shop::Cache")
    equal(sum_of(b), whole - part, "ignore drops that part")
    # Everything of a stack hidden: the stack stays, and its value.
    go(b, ignore="", hide=".")
    equal((names(b), sum_of(b)), (["[hidden]"], whole), "stacks with nothing left are [hidden]")
    go(b, hide="shop::|std::|libc")
    check("[hidden]" in names(b) or len(names(b)) > 1, "some are left: %r" % names(b)[:5])
    equal(sum_of(b), whole, "and no value is lost")
    go(b, hide="", focus="no such name")
    check("no stack passes the filters" in text(b, "#empty"), "nothing left: " + text(b, "#empty"))
    press(b, "#empty", "Take all filters away")
    equal(sum_of(b), whole, "and out of it again")
    go(b, focus="(")
    b.click("#filter")
    check("Not a regular expression" in text(b, "#focus-error"), "a bad pattern is told at its field")
    equal(sum_of(b), whole, "and filters nothing")
    equal(b.run("return document.querySelectorAll('.chip.wrong').length;"), 1, "nor does its chip")
    b.keys(ESCAPE)
    go(b, focus="")


def test_tables(b, root):
    open_page(b, root, "#heap?tab=top&mine=0")
    heads = b.run("return [...document.querySelectorAll('#top-table th')].map((h) => h.textContent);")
    equal(len(heads), 6, "columns: %r" % heads)
    column = {"flat": 0, "cum": 2, "freed": 4}
    for name, at in column.items():
        b.run("[...document.querySelectorAll('#top-table th button')].find("
              "(x) => x.textContent.startsWith(a[0])).click();", name)
        if not b.run("return document.querySelectorAll('#top-table th')[a[0]].textContent"
                     ".endsWith('↓');", at):
            b.run("[...document.querySelectorAll('#top-table th button')].find("
                  "(x) => x.textContent.startsWith(a[0])).click();", name)
        values = b.run("return [...document.querySelectorAll('#top-table tbody tr')].map("
                       "(r) => Number(r.cells[a[0]].dataset.value));", at)
        check(len(values) > 3 and values == sorted(values, reverse=True), "top sorts by " + name)
    equal(b.run("return document.querySelectorAll('#top-table th')[4].getAttribute('aria-sort');"),
          "descending", "the order is told")
    check("sort=freed" in b.run("return location.hash;"), "and is in the URL")
    # What is allocated and freed at once, against what stays.
    freed = {r[5].split("inlined")[0].split("/")[0]: r[4] for r in rows(b, "#top-table")}
    go(b, mine=None)
    freed = {r[5]: r[4] for r in rows(b, "#top-table")}
    of = lambda name: [v for k, v in freed.items() if k.startswith(name)][0]  # noqa: E731
    check("(0.0 %)" in of("shop::Audit::remember"), "the leak frees nothing: %r" % freed)
    churn = [k for k in freed if k.startswith(("shop::Service::start", "shop::Service::parse"))
             and re.search(r"\((9\d|100)\.\d %\)", freed[k])]
    check(churn, "churn is freed: %r" % freed)
    picture(b, "top")
    b.run("[...document.querySelectorAll('#top-table th button')].pop().click();")
    listed = [r[-1] for r in rows(b, "#top-table")]
    check(len(listed) > 3 and listed[0] < listed[-1], "top sorts by name: %r" % listed[:3])
    for group, wanted in (("line", "service.cc:"), ("file", "service.cc"), ("module", "/service-cc"),
                          ("function", "shop::")):
        go(b, group=group)
        check(any(wanted in name for name in names(b)), "by %s: %r" % (group, names(b)[:5]))

    # One function between its callers and what it calls.
    go(b, sort="", mine=False)
    b.run("[...document.querySelectorAll('#top-table td.name button')]"
          ".find((x) => x.textContent === 'shop::Audit::remember').click();")
    check("shop::Audit::remember" in text(b, "#detail"), "a row is chosen: " + text(b, "#detail"))
    press(b, "#detail", "Callers")
    equal(text(b, "#peek-name"), "shop::Audit::remember", "and leads to its callers")
    check("shop::Service::handle" in rows(b, "#callers-table")[0][2], "callers: %r" %
          rows(b, "#callers-table"))
    check(any("std::" in r[2] for r in rows(b, "#callees-table")), "callees")
    both = b.run("""const { callersOf, calleesOf } = await import(new URL("tree.js", location));
        const k = app.page.chosen(), s = app.page.selection, row = app.page.row(k);
        const trees = [app.page.tree("above " + k, callersOf(k)), app.page.tree("below " + k, calleesOf(k))];
        return trees.map((t) => [t.total[0] === row.cum, t.children(0).map((n) => s.keys[t.key[n]])]);""")
    equal(both, [[True, ["shop::Audit::remember"]]] * 2, "the sandwich: all of it, and from it")
    picture(b, "callers")


def test_sizes_and_labels(b, root):
    open_page(b, root, "#heap?tab=sizes")
    key = b.run("return app.page.selection.ids[app.page.top().map((r) => r.key).find("
                "(k) => app.page.selection.keys[k] === 'shop::Audit::remember')];")
    everything = rows(b, "#sizes-table")
    check(any(r[0] == "8 KiB – 16 KiB" for r in everything), "sizes: %r" % everything)
    go(b, key=key)
    equal(text(b, "#sizes-of"), "Blocks of shop::Audit::remember and what it calls", "of one function")
    table = rows(b, "#sizes-table")
    sums = b.run("return [...document.querySelectorAll('#sizes-table tbody tr')].map("
                 "(r) => Number(r.cells[3].dataset.value)).reduce((x, y) => x + y, 0);")
    equal(sums, b.run("return app.page.row(app.page.chosen()).cum;"),
          "the histogram adds up to what the function holds: %r" % table)
    picture(b, "sizes")

    b.click("#tab-labels")
    table = rows(b, "#labels-table")
    equal({r[-1] for r in table}, {"acme", "globex", "without it"}, "by tenant: %r" % table)
    check(table[0][-1] == "acme", "the largest first")
    press(b, "#labels", "Only this")
    equal(b.run("return app.state.label;"), {"key": "tenant", "value": "acme"}, "one can be chosen")
    equal(text(b, "#chips"), "tenant=acme✕", "with a chip")
    acme = sum_of(b)
    go(b, label={"key": "tenant", "value": None})
    none = sum_of(b)
    go(b, label={"key": "tenant", "value": "globex"})
    equal(acme + none + sum_of(b), b.run("return app.page.whole.total;"), "the parts are the whole")
    go(b, label=None)
    press(b, "#view-tools", "Group graphs by it")
    b.click("#tab-flame")
    first = b.run("const t = app.flameView.flame.tree, s = app.page.selection;"
                  "return t.children(0).map((n) => s.keys[t.key[n]]);")
    equal(set(first), {"[tenant acme]", "[tenant globex]", "[without tenant]"}, "graphs by label")
    picture(b, "by-label")
    go(b, root="")
    b.click("#tab-about")
    check("inuse_space" in text(b, "#about"), "about tells the types")


def answer(b, name, data):
    """Have the program answer with `data` when it is asked for that profile; window.asked is the URL."""
    b.run("""
        const fetched = window.fetch, bytes = Uint8Array.from(atob(a[1]), (c) => c.charCodeAt(0));
        window.fetch = (url, ...rest) => {
          if (!String(url).startsWith("../" + a[0]))
            return fetched(url, ...rest);
          window.asked = String(url);
          return Promise.resolve(new Response(bytes));
        };""", name, base64.b64encode(data).decode())


def test_leaks_and_holders(b, root):
    """Profiles that come with a way to be looked at: leaks by kind, and who holds a function's blocks."""
    stacks = [(("main", "lose"), [5, 500]), (("main", "perhaps"), [1, 100])]
    types = (("inuse_objects", "count"), ("inuse_space", "bytes"))
    open_page(b, root, "#heap")
    answer(b, "leaks", small_profile(stacks, types, [{"kind": "unreferenced"}, {"kind": "possible"}]))
    b.run("await app.page.take('leaks');")
    settled(b)
    first = b.run("const t = app.flameView.flame.tree, s = app.page.selection;"
                  "return t.children(0).map((n) => s.keys[t.key[n]]);")
    equal(first, ["[kind unreferenced]", "[kind possible]"], "what is only possible is apart")
    equal(text(b, "#chips"), "grouped by kind✕", "and it is said")
    colours = b.run("""const f = app.flameView.flame; f.draw();
        return f.byRow[1].map((x) => [...f.canvas.getContext("2d").getImageData(
          x.x + x.width - 3, f.top(1) + 2, 1, 1).data].join());""")
    check(len(set(colours)) == 2, "each with a colour: %r" % colours)
    picture(b, "leaks")
    b.run("document.querySelector('#chips button').click();")
    equal(b.run("return [app.page.tree('calls', null).children(0).length, app.state.root];"), [1, "-"],
          "or together")
    answer(b, "leaks", small_profile([], types))
    b.run("await app.page.take('leaks');")
    settled(b)
    check("No leaks were found" in text(b, "#empty"), "none: " + text(b, "#empty"))

    open_page(b, root, "#heap")
    b.run("const s = app.page.selection;"
          "await app.page.go({ key: s.ids[s.keys.indexOf('shop::Audit::remember')] });")
    press(b, "#detail", "Who holds it?")
    b.wait("app.state.name === 'holders' && !app.page.busy", "the holders")
    settled(b)
    check("site=^shop::Audit::remember" in b.run(
        "return document.querySelector('#shown').selectedOptions[0].text;"), "the capture says of what")
    check("with=site" in b.run("return location.hash;"), "and the URL")
    stacks = b.run("return app.page.tree('calls', null).children(0).map((n) => app.page.selection.keys["
                   "app.page.tree('calls', null).key[n]]);")
    check(stacks and not any("shop::" in name for name in stacks), "from a root: %r" % stacks)
    leaves = [name for name, (flat, _) in top_rows(b).items() if flat]
    equal([name.split("(")[0] for name in leaves], ["shop::Audit::remember"], "to that function")
    picture(b, "holders")


def views(service_cc):
    with demo(service_cc) as program, browser.Browser(1440, 900) as b:
        root = program.root
        test_my_code(b, root)
        test_flame(b, root)
        test_many_small(b)
        test_search(b, root)
        test_filters(b, root)
        test_tables(b, root)
        test_sizes_and_labels(b, root)
        test_leaks_and_holders(b, root)
        # Where it changes nothing, the switch is not there.
        open_bytes(b, "own.pb.gz", small_profile([(("main", "work"), [7])]))
        check(not visible(b, "#mine-label"), "no switch where my code changes nothing")
        no_complaints(b, "the views", "willReadFrequently") # of the test's own reading


# --- source -------------------------------------------------------------------------------------


def source(service, service_cc):
    with browser.Browser(1440, 900) as b:
        with demo(service) as program:
            status, _ = get(program.root + "ui/source?address=0x1000&depth=0")
            equal(status, 403, "source is off at first")
            open_page(b, program.root, "#heap?tab=source")
            b.wait("document.querySelector('#source').textContent.includes('LIBPROF_UI_SOURCE')",
                   "the tab says how to switch it on")
            check(any(r[2] for r in rows(b, "#source-table")), "lines with values show all the same")
            b.log() # the 403
        with demo(service_cc, LIBPROF_UI_SOURCE="1") as program:
            open_page(b, program.root, "#heap?tab=source&mine=0")
            b.wait("document.querySelector('#source .hottest .code')?.textContent", "the source")
            equal(b.run("return document.querySelector('#source-file').selectedOptions[0].text;")
                  .split("/")[-1], "service.cc", "the first choice is the program's own file")
            check("log_[request.number] = request.body" in text(b, "#source .hottest .code"),
                  "the hottest line: " + text(b, "#source .hottest .code"))
            check(b.run("""const l = document.querySelector("#source .hottest").getBoundingClientRect(),
                p = document.querySelector("#source").getBoundingClientRect();
                return l.top >= p.top && l.bottom <= p.bottom;"""), "is scrolled to")
            b.run("document.querySelector('#source').scrollTop = 1e6;")
            check(b.run("const r = document.querySelector('#source-file').getBoundingClientRect(),"
                        "p = document.querySelector('#source').getBoundingClientRect();"
                        "return r.top >= p.top && r.bottom < p.top + 60;"),
                  "the file's name stays in sight")
            picture(b, "source")
        with demo(service, LIBPROF_UI_SOURCE="1") as program:
            open_page(b, program.root, "#heap")
            for function, line in (("audit_remember", "malloc(sizeof(*a))"),
                                   ("buffer_new", "malloc(size)")): # the second one is inlined
                b.run("const s = app.page.selection; await app.page.go({tab: 'source', mine: false,"
                      "key: s.ids[s.keys.indexOf(a[0])]});", function)
                b.wait("document.querySelector('#source table') && document.querySelector("
                       "'#source').textContent.includes('buffer_new')", "the source")
                found = [r for r in rows(b, "#source") if r[1] and line in r[3]]
                check(found and "iB" in found[0][0], "bytes beside %s: %r" % (line, found))
            no_complaints(b, "source")
            for query in ("", "?address=0", "?address=0x1&depth=0", "?address=/etc/passwd&depth=0",
                          "?address=0x1&depth=-1", "?address=0x1&depth=99999999999999999999",
                          "?file=/etc/passwd", "?address=&depth=&file=/etc/passwd",
                          "/etc/passwd", "%2f..%2f..%2fetc%2fpasswd"):
                status, answer = get(program.root + "ui/source" + query)
                check(status in (400, 404) and "root:" not in answer,
                      "no file is served by %r: %d" % (query, status))


if __name__ == "__main__":
    sys.exit(run_parts({"views": views, "source": source}))
