#!/usr/bin/env python3
"""test_pprof_checker.py - the checker of test/support/pprof.py finds each violation.

Takes a profile that breaks no rule, damages it in one way, and expects that rule, by name, to be
reported. Every rule that the checker can report must be met here.
"""

import copy
import gzip
import os
import re
import sys

SUPPORT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support")
sys.path.insert(0, SUPPORT)
import pprof  # noqa: E402
from checks import check, report  # noqa: E402
from pprof import Function, Label, Line, Location, Mapping, Profile, Sample, ValueType  # noqa: E402

NOW = 1700000000 * 10**9


def good_profile(kind="heap"):
    p = Profile(string_table=[b""], time_nanos=NOW, period=524288)
    types, period, default = pprof.KINDS.get(kind, ([(kind, "count")], (kind, "count"), ("",)))
    s = p.intern
    p.sample_type = [ValueType(type=s(t), unit=s(u)) for t, u in types]
    p.period_type = ValueType(type=s(period[0]), unit=s(period[1]))
    p.default_sample_type = s(default[0])
    p.mapping = [
        Mapping(id=1, memory_start=0x400000, memory_limit=0x500000, filename=s("/bin/app"),
                build_id=s("00ff"), has_functions=1, has_filenames=1, has_line_numbers=1,
                has_inline_frames=1),
        Mapping(id=2, memory_start=0x600000, memory_limit=0x700000, file_offset=0x1000,
                filename=s("/lib/libc.so.6")),
    ]
    p.function = [
        Function(id=1, name=s("leaf"), system_name=s("leaf"), filename=s("/src/a.c"), start_line=3),
        Function(id=2, name=s("main"), system_name=s("main"), filename=s("/src/a.c")),
    ]
    p.location = [
        Location(id=1, mapping_id=1, address=0x400010,
                 line=[Line(function_id=1, line=4), Line(function_id=2, line=9)]),
        Location(id=2, mapping_id=1, address=0x400020, line=[Line(function_id=2, line=10)]),
        Location(id=3, mapping_id=2, address=0x600010),
    ]
    values = {"profile": [2, 20000000]}.get(kind, [3, 48, 1, 16][: len(types)])
    p.sample = [Sample(location_id=[1, 2], value=list(values)),
                Sample(location_id=[3, 2], value=list(values))]
    if kind in ("heap", "allocs"):
        for sample in p.sample:
            sample.label = [Label(key=s("bytes"), num=16)]
    else:
        p.period = 1
    if kind == "profile":
        p.period, p.duration_nanos = 10000000, 10**9
    return p


def rules(p, kind="heap", raw=None, **options):
    return {problem.rule for problem in pprof.check(p, raw, kind, now_ns=NOW, **options)}


def body(p):
    return gzip.compress(p.encode(), mtime=0)


def set_string(p, old, new):
    p.string_table[p.string_table.index(old)] = new


def many(p, what, n):
    """n valid entries in place of what is there."""
    if what == "samples":
        for l in range(4, n + 4):
            p.location.append(Location(id=l, mapping_id=2, address=0x600010 + l))
            p.sample.append(Sample(location_id=[l], value=[1, 1, 1, 1], label=p.sample[0].label))
    elif what == "labels":
        p.sample[0].label += [Label(key=p.intern("k%d" % i), num=1) for i in range(n)]
    elif what == "depth":
        p.sample[0].location_id = [1] * n


# What the damage must be called, and the damage. Where kind is not heap it is the third column.
DAMAGE = [
    ("string-0", lambda p: p.string_table.__setitem__(0, b"x")),
    ("string-0", lambda p: p.string_table.clear()),
    ("string-index", lambda p: setattr(p.sample_type[0], "type", 9999)),
    ("string-index", lambda p: setattr(p.sample_type[0], "unit", -1)),
    ("string-index", lambda p: setattr(p.period_type, "type", 9999)),
    ("string-index", lambda p: setattr(p.period_type, "unit", 9999)),
    ("string-index", lambda p: setattr(p.sample[0].label[0], "key", 9999)),
    ("string-index", lambda p: setattr(p.sample[0].label[0], "str", 9999)),
    ("string-index", lambda p: setattr(p.sample[0].label[0], "num_unit", 9999)),
    ("string-index", lambda p: setattr(p.mapping[0], "filename", 9999)),
    ("string-index", lambda p: setattr(p.mapping[0], "build_id", 9999)),
    ("string-index", lambda p: setattr(p.function[0], "name", 9999)),
    ("string-index", lambda p: setattr(p.function[0], "system_name", 9999)),
    ("string-index", lambda p: setattr(p.function[0], "filename", 9999)),
    ("string-index", lambda p: p.comment.append(9999)),
    ("string-index", lambda p: setattr(p, "drop_frames", 9999)),
    ("string-index", lambda p: setattr(p, "keep_frames", 9999)),
    ("string-index", lambda p: setattr(p, "default_sample_type", 9999)),
    ("string-index", lambda p: setattr(p, "doc_url", 9999)),
    ("utf8", lambda p: set_string(p, b"leaf", b"le\xffaf")),
    ("utf8", lambda p: set_string(p, b"leaf", b"\xc0\x80")),
    ("utf8", lambda p: set_string(p, b"leaf", b"\xed\xa0\x80")),
    ("limit-string", lambda p: set_string(p, b"leaf", b"f" * 65536)),
    ("id", lambda p: setattr(p.mapping[1], "id", 7)),
    ("id", lambda p: setattr(p.location[0], "id", 0)),
    ("id", lambda p: setattr(p.location[1], "id", 1)),
    ("id", lambda p: p.function.reverse()),
    ("function-name", lambda p: setattr(p.function[0], "name", 0)),
    ("function-system-name", lambda p: setattr(p.function[0], "system_name", 0)),
    ("function-twice", lambda p: p.function.append(
        Function(id=3, name=p.function[1].name, system_name=p.function[1].name,
                 filename=p.function[1].filename))),
    ("line-number", lambda p: setattr(p.function[0], "start_line", -1)),
    ("line-number", lambda p: setattr(p.location[0].line[0], "line", -1)),
    ("mapping-range", lambda p: setattr(p.mapping[1], "memory_limit", 0x600000)),
    ("mapping-page", lambda p: setattr(p.mapping[1], "memory_limit", 0x700001)),
    ("mapping-page", lambda p: setattr(p.mapping[1], "file_offset", 0x10)),
    ("mapping-file", lambda p: setattr(p.mapping[1], "filename", 0)),
    ("mapping-file", lambda p: set_string(p, b"/bin/app", b"/bin/app (deleted)")),
    ("mapping-overlap", lambda p: setattr(p.mapping[0], "memory_limit", 0x601000)),
    ("build-id", lambda p: set_string(p, b"00ff", b"00FF")),
    ("build-id", lambda p: set_string(p, b"00ff", b"0ff")),
    ("flags", lambda p: setattr(p.mapping[1], "has_functions", 1)),
    ("flags", lambda p: [l.line.clear() for l in p.location]),
    ("flags", lambda p: [setattr(f, "filename", 0) for f in p.function]),
    ("flags", lambda p: [setattr(n, "line", 0) for l in p.location for n in l.line]),
    ("flags", lambda p: p.mapping.__setitem__(0, Mapping(
        id=1, memory_start=0x400000, memory_limit=0x500000, filename=p.mapping[0].filename))),
    ("location-mapping", lambda p: setattr(p.location[0], "mapping_id", 0)),
    ("location-mapping", lambda p: setattr(p.location[0], "mapping_id", 3)),
    ("address-range", lambda p: setattr(p.location[0], "address", 0x500000)),
    ("address-zero", lambda p: setattr(p.location[0], "address", 0)),
    ("address-twice", lambda p: setattr(p.location[0], "address", 0x400020)),
    ("line-function", lambda p: setattr(p.location[0].line[0], "function_id", 0)),
    ("line-function", lambda p: setattr(p.location[0].line[0], "function_id", 3)),
    ("sample-type", lambda p: p.sample_type.clear()),
    ("sample-type", lambda p: setattr(p.sample_type[0], "unit", 0)),
    ("sample-type", lambda p: setattr(p.sample_type[0], "type", p.sample_type[1].type)),
    ("sample-type-dash", lambda p: set_string(p, b"alloc_space", b"alloc-space")),
    ("limit-values", lambda p: p.sample_type.append(p.sample_type[0])),
    ("default-type", lambda p: setattr(p, "default_sample_type", p.intern("nosuch"))),
    ("limit-samples", lambda p: many(p, "samples", 16000)),
    ("limit-labels", lambda p: many(p, "labels", 100)),
    ("limit-depth", lambda p: many(p, "depth", 1001)),
    ("value-count", lambda p: p.sample[0].value.pop()),
    ("value-count", lambda p: p.sample[0].value.append(1)),
    ("value-zero", lambda p: setattr(p.sample[0], "value", [0, 0, 0, 0])),
    ("value-negative", lambda p: p.sample[0].value.__setitem__(3, -1)),
    ("sample-empty", lambda p: p.sample[0].location_id.clear()),
    ("sample-location", lambda p: p.sample[0].location_id.append(0)),
    ("sample-location", lambda p: p.sample[0].location_id.append(4)),
    ("sample-twice", lambda p: p.sample.append(copy.deepcopy(p.sample[0]))),
    ("label-twice", lambda p: p.sample[0].label.append(p.sample[0].label[0])),
    ("label-key", lambda p: setattr(p.sample[0].label[0], "key", 0)),
    ("label-reserved", lambda p: setattr(p.sample[0].label[0], "key", p.intern("pprof::base"))),
    ("label-both", lambda p: setattr(p.sample[0].label[0], "str", p.intern("text"))),
    ("period-type", lambda p: setattr(p, "period_type", None)),
    ("period-type", lambda p: setattr(p.period_type, "unit", 0)),
    ("period", lambda p: setattr(p, "period", -1)),
    ("time", lambda p: setattr(p, "time_nanos", 0)),
    ("time", lambda p: setattr(p, "time_nanos", NOW - 2 * pprof.HOUR_NS)),
    ("time", lambda p: setattr(p, "time_nanos", NOW + pprof.HOUR_NS // 5)),
    ("duration", lambda p: setattr(p, "duration_nanos", -1)),
    ("duration", lambda p: setattr(p, "duration_nanos", 1)),
    ("duration", lambda p: setattr(p, "duration_nanos", 0), "profile"),
    ("duration", lambda p: None, "heap-delta"),
    ("executable-info", lambda p: p.comment.append(p.intern("executableInfo=0/0"))),
    ("doc-url", lambda p: setattr(p, "doc_url", p.intern("/docs"))),
    ("kind-types", lambda p: p.sample_type.reverse()),
    ("kind-types", lambda p: set_string(p, b"delay", b"wait"), "mutex"),
    ("kind-types", lambda p: None, "nosuch"),
    ("sample-type-dash", lambda p: None, "my-own"),
    ("kind-period", lambda p: set_string(p, b"space", b"room")),
    ("kind-period", lambda p: setattr(p, "period", 2), "block"),
    ("kind-period", lambda p: setattr(p, "period", 0), "profile"),
    ("kind-default", lambda p: setattr(p, "default_sample_type", p.intern("alloc_space"))),
    ("kind-default", lambda p: setattr(p, "default_sample_type", 0), "allocs"),
    ("kind-values", lambda p: p.sample[0].value.__setitem__(1, 1), "profile"),
    ("kind-values", lambda p: p.sample[0].value.__setitem__(3, 49)),
    ("kind-bytes", lambda p: p.sample[0].label.clear()),
]

GOOD = ["heap", "allocs", "profile", "mutex", "block", "threads", "goroutine", "threadcreate",
        "my.own"]


def test_a_good_profile_of_each_kind_has_no_problem():
    for kind in GOOD:
        p = good_profile(kind)
        again = pprof.parse(body(p))
        check(rules(p, kind) == set(), "%s: %s" % (kind, pprof.check(p, None, kind, now_ns=NOW)))
        check(rules(again, kind, body(p)) == set(), "%s, encoded and decoded" % kind)
        check(again.encode() == p.encode(), "%s survives encoding" % kind)


def test_a_window_may_have_negative_values():
    p = good_profile("heap")
    p.duration_nanos = 10**9
    p.sample[0].value = [0, 0, -1, -16]
    check(rules(p, "heap-delta") == set(), "heap-delta: %s" % rules(p, "heap-delta"))


def test_each_damage_is_found():
    met = set()
    for rule, damage, *kind in DAMAGE:
        kind = kind[0] if kind else "heap"
        base = {"heap-delta": "heap", "nosuch": "heap"}.get(kind, kind)
        p = good_profile(base)
        damage(p)
        found = rules(p, kind)
        check(rule in found, "%s is reported, got %s" % (rule, sorted(found)))
        met.add(rule)
    return met


def test_each_damaged_body_is_found():
    met = set()
    p = good_profile()
    raw = body(p)
    bodies = [
        ("gzip", p.encode()),
        ("gzip", raw[:-4]),
        ("gzip", b"<html>not found</html>"),
        ("gzip-time", gzip.compress(p.encode(), mtime=1700000000)),
        ("gzip-concatenated", raw + raw),
        ("gzip-concatenated", raw + b"\n"),
    ]
    for rule, data in bodies:
        found = {x.rule for x in pprof.check(p, data, "heap", now_ns=NOW, limits=False)}
        check(rule in found, "%s is reported, got %s" % (rule, sorted(found)))
        met.add(rule)
    large = good_profile()
    large.string_table += [b"%d" % i + b"x" * 60000 for i in range(80)]
    check("limit-bytes" in rules(large, raw=body(large)), "limit-bytes is reported")
    twice = pprof.parse(gzip.compress(p.encode() + p.encode(), mtime=0))
    check("concatenated" in rules(twice), "concatenated is reported")
    check("content-type" in rules(p, content_type="text/html"), "content-type is reported")
    check(rules(p, content_type="application/octet-stream") == set(), "the right type is not")
    return met | {"limit-bytes", "concatenated", "content-type"}


def test_what_is_no_profile_is_malformed():
    wire = [b"", b"\x1f\x8b\x08", b"\x0a\x05ab", b"\x0f", b"\x48" + b"\xff" * 11, b"\x00\x00",
            b"<html>", b"\x08\x01", gzip.compress(b"\x0a\x7f")]
    for data in wire:
        try:
            pprof.parse(data)
            check(False, "%r is malformed" % data)
        except pprof.Malformed:
            check(True, "")


def test_every_rule_is_tested(met):
    with open(os.path.join(SUPPORT, "pprof.py")) as f:
        rules_there = set(re.findall(r'problem\(\s*"([a-z0-9-]+)"', f.read()))
    check(rules_there == met, "rules without a test: %s" % sorted(rules_there ^ met))


def test_sums_and_names():
    p = good_profile()
    check(p.totals() == {"alloc_objects": 6, "alloc_space": 96, "inuse_objects": 2,
                         "inuse_space": 32}, "totals: %s" % p.totals())
    check(p.flat() == {"leaf": 16, "libc.so.6+0x1010": 16}, "flat: %s" % p.flat())
    check(p.cum()["main"] == 32, "cum: %s" % p.cum())
    check(p.flat("alloc_space")["leaf"] == 48, "flat of alloc_space")
    check(p.labels(p.sample[0]) == {"bytes": 16}, "labels")


def main():
    test_a_good_profile_of_each_kind_has_no_problem()
    test_a_window_may_have_negative_values()
    met = test_each_damage_is_found() | test_each_damaged_body_is_found()
    test_every_rule_is_tested(met)
    test_what_is_no_profile_is_malformed()
    test_sums_and_names()
    return report()


if __name__ == "__main__":
    sys.exit(main())
