#!/usr/bin/env python3
"""pprof.py - read a pprof profile and say what any of its readers would object to.

A decoder of its own, so that a mistake in libprof's encoder cannot hide in a shared one. The rules
are the union of what pprof, Parca, Grafana Alloy, Pyroscope, Coroot and the OpenTelemetry collector
check or silently rely on.

  pprof.py check FILE [KIND]        one line for each violation; exit status 1 if there is one
  pprof.py top FILE [SAMPLE_TYPE]   flat and cumulative values by function
  pprof.py totals FILE              sum of each sample type
  pprof.py folded FILE [SAMPLE_TYPE]  "root;...;leaf value", as flame graph tools read

From a test: parse(data) -> Profile, check(profile, data, kind) -> [Problem],
assert_valid(data, kind) -> Profile.
KIND is a profile's name ("heap", "profile", a custom one), with "-delta" appended for a window.
"""

import gzip
import os
import re
import sys
import time
import zlib


class Malformed(Exception):
    """Not a profile at all: the bytes cannot be decoded."""


class Problem:
    """A violation: `rule` is its short name, stable, for tests; `text` says where."""

    def __init__(self, rule, text):
        self.rule, self.text = rule, text

    def __repr__(self):
        return "%s: %s" % (self.rule, self.text)


# --- wire format ---------------------------------------------------------------------------------


def read_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data):
            raise Malformed("a number is cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise Malformed("a number is longer than 10 bytes")
    if value >> 64:
        raise Malformed("a number is larger than 64 bits")
    return value, at


def read_fields(data):
    """Yield (field number, wire type, value): an int, or bytes."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise Malformed("field number 0")
        if wire == 0:
            value, at = read_varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, at = int.from_bytes(data[at : at + size], "little"), at + size
        elif wire == 2:
            size, at = read_varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise Malformed("wire type %d" % wire)
        if at > len(data):
            raise Malformed("a field is cut short")
        yield number, wire, value


def signed(value):
    return value - (1 << 64) if value >> 63 else value


class Message:
    """Decodes itself from FIELDS: number -> (name, kind[, class]). A scalar that is absent is 0."""

    FIELDS = {}

    def __init__(self, **values):
        for name, kind, _ in self.fields():
            if kind == "message":
                setattr(self, name, None)
            else:
                setattr(self, name, [] if kind.startswith("repeated") else 0)
        for name, value in values.items():
            setattr(self, name, value)

    @classmethod
    def fields(cls):
        for number, spec in cls.FIELDS.items():
            yield spec[0], spec[1], number

    @classmethod
    def decode(cls, data, counts=None):
        m = cls()
        for number, wire, value in read_fields(data):
            if counts is not None:
                counts[number] = counts.get(number, 0) + 1
            if number not in cls.FIELDS:
                continue  # a newer writer's: readers skip it
            name, kind, *of = cls.FIELDS[number]
            if kind in ("int", "uint", "bool"):
                if wire != 0:
                    raise Malformed("%s.%s has wire type %d" % (cls.__name__, name, wire))
                setattr(m, name, value if kind == "uint" else signed(value))
            elif kind in ("repeated int", "repeated uint"):
                numbers = [value] if wire == 0 else []
                at = 0
                while wire == 2 and at < len(value):
                    one, at = read_varint(value, at)
                    numbers.append(one)
                if kind == "repeated int":
                    numbers = [signed(n) for n in numbers]
                getattr(m, name).extend(numbers)
            elif wire != 2:
                raise Malformed("%s.%s has wire type %d" % (cls.__name__, name, wire))
            elif kind == "message":
                setattr(m, name, of[0].decode(value))
            elif kind == "repeated message":
                getattr(m, name).append(of[0].decode(value))
            elif kind == "repeated bytes":
                getattr(m, name).append(value)
        return m

    def encode(self):
        out = bytearray()

        def varint(value):
            value &= (1 << 64) - 1
            while value >= 0x80:
                out.append(value & 0x7F | 0x80)
                value >>= 7
            out.append(value)

        def block(number, data):
            varint(number << 3 | 2)
            varint(len(data))
            out.extend(data)

        for name, kind, number in self.fields():
            value = getattr(self, name)
            if kind in ("int", "uint", "bool"):
                if value:
                    varint(number << 3)
                    varint(int(value))
            elif kind in ("repeated int", "repeated uint"):
                for one in value:  # unpacked: just as valid, and simpler
                    varint(number << 3)
                    varint(one)
            elif kind == "message":
                if value is not None:
                    block(number, value.encode())
            elif kind == "repeated message":
                for one in value:
                    block(number, one.encode())
            else:
                for one in value:
                    block(number, one)
        return bytes(out)


class ValueType(Message):
    FIELDS = {1: ("type", "int"), 2: ("unit", "int")}


class Label(Message):
    FIELDS = {1: ("key", "int"), 2: ("str", "int"), 3: ("num", "int"), 4: ("num_unit", "int")}


class Sample(Message):
    FIELDS = {
        1: ("location_id", "repeated uint"),
        2: ("value", "repeated int"),
        3: ("label", "repeated message", Label),
    }


class Mapping(Message):
    FIELDS = {
        1: ("id", "uint"),
        2: ("memory_start", "uint"),
        3: ("memory_limit", "uint"),
        4: ("file_offset", "uint"),
        5: ("filename", "int"),
        6: ("build_id", "int"),
        7: ("has_functions", "bool"),
        8: ("has_filenames", "bool"),
        9: ("has_line_numbers", "bool"),
        10: ("has_inline_frames", "bool"),
    }


class Line(Message):
    FIELDS = {1: ("function_id", "uint"), 2: ("line", "int"), 3: ("column", "int")}


class Location(Message):
    FIELDS = {
        1: ("id", "uint"),
        2: ("mapping_id", "uint"),
        3: ("address", "uint"),
        4: ("line", "repeated message", Line),
        5: ("is_folded", "bool"),
    }


class Function(Message):
    FIELDS = {
        1: ("id", "uint"),
        2: ("name", "int"),
        3: ("system_name", "int"),
        4: ("filename", "int"),
        5: ("start_line", "int"),
    }


class Profile(Message):
    """The message as it came: texts are indexes into string_table, which holds bytes."""

    FIELDS = {
        1: ("sample_type", "repeated message", ValueType),
        2: ("sample", "repeated message", Sample),
        3: ("mapping", "repeated message", Mapping),
        4: ("location", "repeated message", Location),
        5: ("function", "repeated message", Function),
        6: ("string_table", "repeated bytes"),
        7: ("drop_frames", "int"),
        8: ("keep_frames", "int"),
        9: ("time_nanos", "int"),
        10: ("duration_nanos", "int"),
        11: ("period_type", "message", ValueType),
        12: ("period", "int"),
        13: ("comment", "repeated int"),
        14: ("default_sample_type", "int"),
        15: ("doc_url", "int"),
    }

    counts = None  # field number -> how often it came; None: built by hand

    def string(self, index):
        """A text; invalid UTF-8 comes as U+FFFD, an index out of range as "?N"."""
        if not 0 <= index < len(self.string_table):
            return "?%d" % index
        return self.string_table[index].decode("utf-8", "replace")

    def intern(self, text):
        """Index of `text`, added if need be; bytes are taken as they are."""
        data = text if isinstance(text, bytes) else text.encode()
        if data not in self.string_table:
            self.string_table.append(data)
        return self.string_table.index(data)

    def types(self):
        """[(type, unit)]"""
        return [(self.string(t.type), self.string(t.unit)) for t in self.sample_type]

    def value_index(self, name=None):
        """Position of sample type `name`; without a name, of the one shown by default."""
        names = [t for t, _ in self.types()]
        if name is None:
            name = self.string(self.default_sample_type) if self.default_sample_type else names[-1]
        return names.index(name)

    def totals(self):
        """{type: sum}"""
        return {t: sum(s.value[i] for s in self.sample) for i, (t, _) in enumerate(self.types())}

    def comments(self):
        return [self.string(i) for i in self.comment]

    def labels(self, sample):
        """{key: text or number}"""
        return {
            self.string(l.key): self.string(l.str) if l.str else l.num for l in sample.label
        }

    def frames(self, sample):
        """[(function, file, line)], leaf first, inlined ones expanded. Without symbols the function
        is "file+0xoffset"."""
        out = []
        for i in sample.location_id:
            location = self.location[i - 1]
            for line in location.line:
                f = self.function[line.function_id - 1]
                out.append((self.string(f.name), self.string(f.filename), line.line))
            if not location.line:
                m = self.mapping[location.mapping_id - 1] if location.mapping_id else Mapping()
                offset = location.address - m.memory_start + m.file_offset
                name = os.path.basename(self.string(m.filename))
                out.append(("%s+%#x" % (name, offset), "", 0))
        return out

    def stacks(self):
        """[(function names leaf first, values, labels)]"""
        return [
            ([f for f, _, _ in self.frames(s)], list(s.value), self.labels(s)) for s in self.sample
        ]

    def flat(self, name=None):
        """{function: value of the samples that end in it}"""
        return self._by_function(name, lambda frames: frames[:1])

    def cum(self, name=None):
        """{function: value of the samples that it is in}"""
        return self._by_function(name, set)

    def _by_function(self, name, which):
        at = self.value_index(name)
        out = {}
        for s in self.sample:
            for f in which([f for f, _, _ in self.frames(s)]):
                out[f] = out.get(f, 0) + s.value[at]
        return out


def uncompress(data):
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as e:
        raise Malformed("gzip: %s" % e)


def parse(data):
    """Decode a profile, gzipped or not; raises Malformed. No rule is checked."""
    if not data:
        raise Malformed("empty")
    counts = {}
    profile = Profile.decode(uncompress(data), counts)
    profile.counts = counts
    return profile


# --- rules ---------------------------------------------------------------------------------------

HEAP_TYPES = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
]
WAIT_TYPES = [("contentions", "count"), ("delay", "nanoseconds")]

# kind -> sample types, period type, default sample type. Scrapers know profiles by these strings.
KINDS = {
    "heap": (HEAP_TYPES, ("space", "bytes"), ("", "inuse_space")),
    "allocs": (HEAP_TYPES, ("space", "bytes"), ("alloc_space",)),
    "profile": (
        [("samples", "count"), ("cpu", "nanoseconds")],
        ("cpu", "nanoseconds"),
        ("", "cpu"),
    ),
    "holders": (HEAP_TYPES[2:], ("space", "bytes"), ("", "inuse_space")),
    "leaks": (HEAP_TYPES[2:], ("space", "bytes"), ("", "inuse_space")),
    "memory": ([(name, "bytes") for name in ("mapped", "huge", "swapped", "resident")],
               ("space", "bytes"), ("", "resident")),
    "mutex": (WAIT_TYPES, ("contentions", "count"), ("", "delay")),
    "block": (WAIT_TYPES, ("contentions", "count"), ("", "delay")),
}

HOUR_NS = 3600 * 10**9
LIMITS = {
    "bytes": 4 << 20,
    "samples": 16000,
    "labels": 100,
    "depth": 1000,
    "string": 65535,
}
PAGE = 4096


def kind_of(kind):
    """"heap-delta" -> "heap", True"""
    if kind and kind.endswith("-delta"):
        return kind[: -len("-delta")], True
    return kind, False


def check(profile, raw=None, kind=None, now_ns=None, content_type=None, limits=True):
    """All violations, as Problems; none: [].

    raw           the body as it was served; None skips what only it can tell
    kind          None skips what depends on which profile it is
    now_ns        of the wall clock; None: now. 0 skips the comparison
    content_type  the header, when there was a response
    limits        whether default limits of the receivers count
    """
    found = []

    def problem(rule, text, *args):
        found.append(Problem(rule, text % args if args else text))

    name, is_delta = kind_of(kind)
    if content_type is not None and not content_type.startswith("application/octet-stream"):
        problem("content-type", "%s", content_type)
    if raw is not None:
        check_body(raw, problem)
        if limits and len(uncompress(raw)) > LIMITS["bytes"]:
            problem("limit-bytes", "%d bytes uncompressed", len(uncompress(raw)))
    check_strings(profile, problem, limits)
    check_tables(profile, problem)
    check_samples(profile, problem, limits, may_be_negative=is_delta)
    check_head(profile, problem, name, is_delta, time.time_ns() if now_ns is None else now_ns)
    if name is not None and not [p for p in found if p.rule in ("string-index", "value-count")]:
        check_kind(profile, problem, name, is_delta)
    return found


def check_body(raw, problem):
    if raw[:2] != b"\x1f\x8b":
        problem("gzip", "starts with %r", raw[:2])
        return
    if raw[4:8] != b"\0\0\0\0":
        problem("gzip-time", "names a time, so equal profiles differ")
    stream = zlib.decompressobj(31)
    try:
        stream.decompress(raw)
    except zlib.error as e:
        problem("gzip", "%s", e)
        return
    if not stream.eof:
        problem("gzip", "is cut short")
    if stream.unused_data:
        problem("gzip-concatenated", "%d bytes follow the gzip member", len(stream.unused_data))


def check_strings(p, problem, limits):
    if not p.string_table or p.string_table[0] != b"":
        problem("string-0", 'string_table[0] is not ""')
    for i, s in enumerate(p.string_table):
        try:
            s.decode("utf-8")
        except UnicodeDecodeError:
            problem("utf8", "string %d: %r", i, s[:80])
        if limits and len(s) > LIMITS["string"]:
            problem("limit-string", "string %d has %d bytes", i, len(s))

    def check_index(what, index):
        if not 0 <= index < len(p.string_table):
            problem("string-index", "%s: %d of %d", what, index, len(p.string_table))

    for t in p.sample_type:
        check_index("sample_type.type", t.type)
        check_index("sample_type.unit", t.unit)
    if p.period_type is not None:
        check_index("period_type.type", p.period_type.type)
        check_index("period_type.unit", p.period_type.unit)
    for s in p.sample:
        for l in s.label:
            check_index("label.key", l.key)
            check_index("label.str", l.str)
            check_index("label.num_unit", l.num_unit)
    for m in p.mapping:
        check_index("mapping.filename", m.filename)
        check_index("mapping.build_id", m.build_id)
    for f in p.function:
        check_index("function.name", f.name)
        check_index("function.system_name", f.system_name)
        check_index("function.filename", f.filename)
    for i in p.comment:
        check_index("comment", i)
    for what in ("drop_frames", "keep_frames", "default_sample_type", "doc_url"):
        check_index(what, getattr(p, what))


def check_tables(p, problem):
    for what in ("mapping", "location", "function"):
        for i, entry in enumerate(getattr(p, what)):
            if entry.id != i + 1:
                problem("id", "%s %d has id %d", what, i + 1, entry.id)
    check_mappings(p, problem)
    check_locations(p, problem)
    for f in p.function:
        if not p.string(f.name):
            problem("function-name", "function %d has none", f.id)
        if not p.string(f.system_name):
            problem("function-system-name", "function %d has none", f.id)
        if f.start_line < 0:
            problem("line-number", "function %d starts at %d", f.id, f.start_line)
    seen = set()
    for f in p.function:
        key = (f.name, f.system_name, f.filename, f.start_line)
        if key in seen:
            problem("function-twice", "%s", p.string(f.name)[:80])
        seen.add(key)


def check_mappings(p, problem):
    used = {}
    for l in p.location:
        used.setdefault(l.mapping_id, []).append(l)
    for m in p.mapping:
        if m.memory_start >= m.memory_limit:
            problem("mapping-range", "mapping %d: [%#x, %#x)", m.id, m.memory_start, m.memory_limit)
        for what in ("memory_start", "memory_limit", "file_offset"):
            if getattr(m, what) % PAGE:
                problem("mapping-page", "mapping %d: %s %#x", m.id, what, getattr(m, what))
        if not p.string(m.filename):
            problem("mapping-file", "mapping %d has no name", m.id)
        if p.string(m.filename).endswith(" (deleted)"):
            problem("mapping-file", "mapping %d: %s", m.id, p.string(m.filename))
        if not re.fullmatch(r"([0-9a-f]{2})*", p.string(m.build_id)):
            problem("build-id", "mapping %d: %s", m.id, p.string(m.build_id))
        lines = [line for l in used.get(m.id, []) for line in l.line]
        ids = {line.function_id for line in lines}
        functions = [p.function[i - 1] for i in ids if 0 < i <= len(p.function)]
        # A flag tells that there is such information, as pprof's own symbolizer sets them: that
        # every location has it cannot be had, as not even crt1.o brings lines.
        if m.has_functions and not any(p.string(f.name) for f in functions):
            problem("flags", "mapping %d: has_functions, but no location has one", m.id)
        if m.has_filenames and not any(p.string(f.filename) for f in functions):
            problem("flags", "mapping %d: has_filenames, but no function has one", m.id)
        if m.has_line_numbers and not any(n.line > 0 for n in lines):
            problem("flags", "mapping %d: has_line_numbers, but no line has one", m.id)
        # "prog+0x12" is no name: go tool pprof is to look for itself, where the right file may be.
        names = [n for n in (p.string(f.name) for f in functions)
                 if n and not re.search(r"^[^/]*\+0x[0-9a-f]+$", n)]
        if names and not m.has_functions | m.has_filenames:
            # go tool pprof would look for itself, and put others in place of ours.
            problem("flags", "mapping %d: has names, but does not say so", m.id)
    # "[unknown]" may span others.
    files = [m for m in p.mapping if not p.string(m.filename).startswith("[")]
    by_start = sorted(files, key=lambda m: m.memory_start)
    for a, b in zip(by_start, by_start[1:]):
        if a.memory_limit > b.memory_start:
            problem("mapping-overlap", "mappings %d and %d", a.id, b.id)


def check_locations(p, problem):
    seen = {}
    for l in p.location:
        if not 1 <= l.mapping_id <= len(p.mapping):
            problem("location-mapping", "location %d: mapping %d", l.id, l.mapping_id)
        else:
            m = p.mapping[l.mapping_id - 1]
            if not m.memory_start <= l.address < m.memory_limit:
                problem("address-range", "location %d: %#x, mapping %d", l.id, l.address, m.id)
        if l.address == 0:
            problem("address-zero", "location %d", l.id)
        elif l.address in seen:
            problem("address-twice", "%#x: locations %d and %d", l.address, seen[l.address], l.id)
        seen[l.address] = l.id
        for n in l.line:
            if not 1 <= n.function_id <= len(p.function):
                problem("line-function", "location %d: function %d", l.id, n.function_id)
            if n.line < 0:
                problem("line-number", "location %d: line %d", l.id, n.line)


def check_samples(p, problem, limits, may_be_negative):
    if not p.sample_type:
        problem("sample-type", "there is none")
    for type_, unit in p.types():
        if not type_ or not unit:
            problem("sample-type", "%r in %r", type_, unit)
        if "-" in type_ or "-" in unit:
            problem("sample-type-dash", "%s/%s", type_, unit)
    names = [t for t, _ in p.types()]
    if len(set(names)) != len(names):
        problem("sample-type", "one comes twice: %s", names)
    if len(p.sample_type) > 4:
        problem("limit-values", "%d values in a sample", len(p.sample_type))
    if p.default_sample_type and p.string(p.default_sample_type) not in names:
        problem("default-type", "%s is no sample type", p.string(p.default_sample_type))
    if limits and len(p.sample) > LIMITS["samples"]:
        problem("limit-samples", "%d samples", len(p.sample))
    seen = set()
    for i, s in enumerate(p.sample):
        if len(s.value) != len(p.sample_type):
            problem("value-count", "sample %d: %d of %d", i, len(s.value), len(p.sample_type))
        if not any(s.value):
            problem("value-zero", "sample %d has nothing but zeros", i)
        if not may_be_negative and any(v < 0 for v in s.value):
            problem("value-negative", "sample %d: %s", i, s.value)
        if not s.location_id:
            problem("sample-empty", "sample %d has no location", i)
        for l in s.location_id:
            if not 1 <= l <= len(p.location):
                problem("sample-location", "sample %d: location %d", i, l)
        if limits and len(s.location_id) > LIMITS["depth"]:
            problem("limit-depth", "sample %d: %d locations", i, len(s.location_id))
        if limits and len(s.label) > LIMITS["labels"]:
            problem("limit-labels", "sample %d: %d labels", i, len(s.label))
        check_labels(p, problem, i, s)
        labels = tuple(sorted((l.key, l.str, l.num, l.num_unit) for l in s.label))
        key = (tuple(s.location_id), labels)
        if key in seen:
            problem("sample-twice", "sample %d has stack and labels of an earlier one", i)
        seen.add(key)


def check_labels(p, problem, i, s):
    keys = [l.key for l in s.label]
    if len(set(keys)) != len(keys):
        problem("label-twice", "sample %d", i)
    for l in s.label:
        key = p.string(l.key)
        if not key:
            problem("label-key", "sample %d: a label has none", i)
        if key.startswith("pprof::"):
            problem("label-reserved", "sample %d: %s", i, key)
        if l.str and (l.num or l.num_unit):
            problem("label-both", "sample %d: %s is a text and a number", i, key)


def check_head(p, problem, name, is_delta, now_ns):
    t = p.period_type
    if t is None or not p.string(t.type) or not p.string(t.unit):
        problem("period-type", "is missing")
    if p.period < 0:
        problem("period", "%d", p.period)
    if p.counts is not None:
        for number in (9, 10, 11, 12, 14):  # those that a profile has one of
            if p.counts.get(number, 0) > 1:
                what = Profile.FIELDS[number][0]
                problem("concatenated", "%s comes %d times", what, p.counts[number])
    if p.time_nanos <= 0:
        problem("time", "is missing")
    elif now_ns and not now_ns - HOUR_NS <= p.time_nanos <= now_ns + HOUR_NS // 6:
        problem("time", "%d, and now it is %d", p.time_nanos, now_ns)
    if p.duration_nanos < 0:
        problem("duration", "%d", p.duration_nanos)
    if name is not None:
        if (is_delta or name == "profile") and p.duration_nanos == 0:
            problem("duration", "a window has one")
        if not is_delta and name != "profile" and p.duration_nanos != 0:
            problem("duration", "a snapshot has none, this %d", p.duration_nanos)
    infos = [c for c in p.comments() if c.startswith("executableInfo=")]
    if infos and len(infos) != len(p.mapping):
        problem("executable-info", "%d for %d mappings", len(infos), len(p.mapping))
    url = p.string(p.doc_url)
    if url and not re.match(r"https?://", url):
        problem("doc-url", "%s is not absolute", url)


def check_kind(p, problem, name, is_delta):
    own = name.replace("-", "_")  # no sample type has a "-"
    types, period, default = KINDS.get(name, ([(own, "count")], (own, "count"), ("", own)))
    if p.types() != types:
        problem("kind-types", "%s", p.types())
        return
    if p.period_type is not None:
        got = (p.string(p.period_type.type), p.string(p.period_type.unit))
        if got != period:
            problem("kind-period", "%s", got)
    if p.string(p.default_sample_type) not in default:
        problem("kind-default", "%s", p.string(p.default_sample_type))
    if name == "profile":
        if p.period <= 0:
            problem("kind-period", "%d", p.period)
        for i, s in enumerate(p.sample):
            if s.value[1] != s.value[0] * p.period:
                problem("kind-values", "sample %d: %s with period %d", i, s.value, p.period)
    elif name in ("heap", "allocs"):
        for i, s in enumerate(p.sample):
            if "bytes" not in [p.string(l.key) for l in s.label]:
                problem("kind-bytes", "sample %d has no size", i)
            if not is_delta and (s.value[2] > s.value[0] or s.value[3] > s.value[1]):
                problem("kind-values", "sample %d: more in use than allocated: %s", i, s.value)
    elif name not in ("leaks", "holders") and p.period != 1:
        problem("kind-period", "%d", p.period)


def assert_valid(raw, kind=None, **options):
    """Parse and check; AssertionError lists the violations. Returns the profile."""
    profile = parse(raw)
    found = check(profile, raw, kind, **options)
    assert not found, "%d problems:\n%s" % (len(found), "\n".join(map(repr, found[:20])))
    return profile


# --- command line --------------------------------------------------------------------------------


def command_check(path, kind=None):
    with open(path, "rb") as f:
        raw = f.read()
    try:
        # By the file's own time, so that a profile saved yesterday is not called too old.
        found = check(parse(raw), raw, kind, now_ns=os.stat(path).st_mtime_ns)
    except Malformed as e:
        found = [Problem("malformed", str(e))]
    for p in found:
        print(p)
    return 1 if found else 0


def command_top(path, sample_type=None):
    p = load(path)
    flat, cum = p.flat(sample_type), p.cum(sample_type)
    unit = p.types()[p.value_index(sample_type)][1]
    print("%16s %16s  function (%s)" % ("flat", "cum", unit))
    for name in sorted(cum, key=lambda f: (-flat.get(f, 0), -cum[f], f)):
        print("%16d %16d  %s" % (flat.get(name, 0), cum[name], name))
    return 0


def command_totals(path):
    p = load(path)
    for (type_, unit), total in zip(p.types(), p.totals().values()):
        print(type_, unit, total)
    return 0


def command_folded(path, sample_type=None):
    p = load(path)
    at = p.value_index(sample_type)
    for s in p.sample:
        names = [f.replace(";", ":") for f, _, _ in reversed(p.frames(s))]
        print("%s %d" % (";".join(names), s.value[at]))
    return 0


def load(path):
    with open(path, "rb") as f:
        return parse(f.read())


def main(argv):
    commands = {
        "check": command_check,
        "top": command_top,
        "totals": command_totals,
        "folded": command_folded,
    }
    most = {"totals": 3}.get(argv[1] if len(argv) > 1 else "", 4)
    if not 3 <= len(argv) <= most or argv[1] not in commands:
        sys.stderr.write(__doc__)
        return 2
    try:
        return commands[argv[1]](*argv[2:])
    except (Malformed, OSError) as e:
        sys.stderr.write("%s: %s\n" % (argv[2], e))
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
