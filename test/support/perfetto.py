#!/usr/bin/env python3
"""perfetto.py - read a Perfetto trace and say what its readers would object to.

A decoder of its own, by proto/perfetto.proto, so that a mistake in libprof's encoder cannot hide in
a shared one.

  perfetto.py check FILE     one line for each violation; exit status 1 if there is one
  perfetto.py show FILE      slices and moments of each track

From a test: load(data) -> Trace; its `problems` are sentences, [] if all is well. With `cut` it is the
beginning of a trace that somebody was killed over: what is missing at the end is no problem.
"""
import gzip
import os
import re
import struct
import sys

PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto",
                     "perfetto.proto")
VARINTS = {"uint64", "int64", "uint32", "int32", "bool"}
BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4
STATE_CLEARED, NEEDS_STATE = 1, 2


def read_schema():
    """{message: {field number: (name, type, repeated)}}, and the enums."""
    messages, enums, stack = {}, set(), []
    with open(PROTO, encoding="utf-8") as f:
        for line in f:
            line = line.split("//")[0].strip()
            if m := re.match(r"(message|enum|oneof) (\w+) {", line):
                stack.append(m[2] if m[1] != "oneof" else None)
                if m[1] == "enum":
                    enums.add(m[2])
                elif m[1] == "message":
                    messages[m[2]] = {}
            elif line == "}":
                stack.pop()
            elif m := re.match(r"(?:(optional|repeated) )?(\w+) (\w+) = (\d+);", line):
                owner = [s for s in stack if s][-1]
                messages[owner][int(m[4])] = (m[3], m[2], m[1] == "repeated")
    return messages, enums


MESSAGES, ENUMS = read_schema()


class Malformed(Exception):
    """The bytes are no such message."""


def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("a number is cut short or too long")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def decode(name, data):
    fields, out, at = MESSAGES[name], {}, 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if number not in fields:
            raise Malformed("%s has no field %d" % (name, number))
        field, kind, repeated = fields[number]
        if wire == 0:
            value, at = varint(data, at)
            if kind not in VARINTS and kind not in {k.split(".")[-1] for k in ENUMS}:
                raise Malformed("%s.%s is no number" % (name, field))
            if kind in ("int64", "int32") and value >> 63:
                value -= 1 << 64
        elif wire == 1:
            value = struct.unpack_from("<Q", data, at)[0]
            at += 8
        elif wire == 2:
            size, at = varint(data, at)
            if at + size > len(data):
                raise Malformed("%s.%s is cut short" % (name, field))
            piece = data[at:at + size]
            at += size
            if kind == "string":
                value = piece.decode("utf-8")
            elif kind == "bytes":
                value = piece
            else:
                value = decode(kind, piece)
        else:
            raise Malformed("wire type %d" % wire)
        if repeated:
            out.setdefault(field, []).append(value)
        else:
            out[field] = value
    return out


class Slice:
    """A slice or, if `moment`, what happened at `begin`."""

    def __init__(self, track, name, category, begin, notes, out, into, stack):
        self.track, self.name, self.category, self.begin = track, name, category, begin
        self.notes, self.flows_out, self.flows_in, self.stack = notes, out, into, stack
        self.end, self.depth, self.moment, self.parent = None, 0, False, None

    def __repr__(self):
        return "%s %s %d+%s %s" % (self.track, self.name, self.begin,
                                   self.end and self.end - self.begin, self.notes)


class Trace:
    def __init__(self):
        self.problems, self.tracks, self.slices, self.counters = [], {}, [], {}
        self.process = {}

    def of(self, **want):
        return [s for s in self.slices if all(getattr(s, k) == v for k, v in want.items())]

    def tid(self, s):
        return self.tracks[s.track].get("thread", {}).get("tid")

    def waker(self, s):
        """The moment that the flow into s comes from."""
        begun = [o for o in self.slices if set(o.flows_out) & set(s.flows_in)]
        return begun[0] if begun else None


INTERNED = {"event_categories": "name", "event_names": "name", "debug_annotation_names": "name",
            "function_names": "str", "build_ids": "str", "mapping_paths": "str",
            "source_paths": "str", "frames": None, "callstacks": None, "mappings": None}


def packets_of(data, cut):
    if not cut:
        return decode("Trace", data).get("packet", [])
    whole, at = [], 0
    while at < len(data):
        try:
            key, inner = varint(data, at)
            size, inner = varint(data, inner)
        except Malformed:
            break
        if key != 10: # a packet, of bytes
            raise Malformed("Trace has no %d" % key)
        if inner + size > len(data):
            break
        whole.append(decode("TracePacket", data[inner:inner + size]))
        at = inner + size
    return whole


def load(data, cut=False):
    t = Trace()
    bad = t.problems.append
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if len(data) > 1 << 31:
        bad("larger than the viewer can hold")
    state, tables, last, open_of = False, {}, 0, {}
    flows_out, flows_in = {}, {}

    def lookup(table, iid, what):
        if iid not in tables.get(table, {}):
            bad("%s %s is used before it is interned" % (what, iid))
            return None
        return tables[table][iid]

    def frame_names(stack):
        names = []
        for iid in stack.get("frame_ids", []):
            frame = lookup("frames", iid, "frame") or {}
            lookup("mappings", frame.get("mapping_id"), "mapping")
            if "source_path_iid" in frame:
                lookup("source_paths", frame["source_path_iid"], "source")
            name = (lookup("function_names", frame["function_name_id"], "function")
                    if "function_name_id" in frame else None)
            names.append(name.decode("utf-8") if name else "?")
        return names[::-1]

    for number, p in enumerate(packets_of(data, cut)):
        if not p.get("trusted_packet_sequence_id"):
            bad("packet %d has no sequence" % number)
        flags = p.get("sequence_flags", 0)
        if flags & STATE_CLEARED:
            state, tables = True, {}
            if p.get("trace_packet_defaults", {}).get("timestamp_clock_id") is None:
                bad("the state is cleared and no clock is named")
        elif not (flags & NEEDS_STATE and state):
            bad("packet %d needs a state, and does not say so or has none" % number)
        for table, entries in p.get("interned_data", {}).items():
            for entry in entries:
                if not entry.get("iid"):
                    bad("%s without a number" % table)
                if entry["iid"] in tables.setdefault(table, {}):
                    bad("%s %d is interned twice" % (table, entry["iid"]))
                value = INTERNED[table]
                tables[table][entry["iid"]] = entry[value] if value else entry
        if "timestamp" in p:
            if p["timestamp"] < last:
                bad("packet %d goes back in time by %d" % (number, last - p["timestamp"]))
            if "clock_snapshot" not in p:
                last = p["timestamp"]
        if d := p.get("track_descriptor"):
            if d["uuid"] in t.tracks:
                bad("track %d is there twice" % d["uuid"])
            if "parent_uuid" in d and d["parent_uuid"] not in t.tracks:
                bad("track %d before its parent" % d["uuid"])
            t.tracks[d["uuid"]] = d
            if "process" in d:
                t.process = d["process"]
        if not (e := p.get("track_event")):
            continue
        uuid = e.get("track_uuid")
        if uuid not in t.tracks:
            bad("an event of track %s, which is not there" % uuid)
            continue
        if e["type"] == COUNTER:
            if "counter" not in t.tracks[uuid]:
                bad("a number on a track that is no counter's")
            t.counters.setdefault(t.tracks[uuid].get("name"), []).append(
                (p["timestamp"], e["counter_value"]))
            continue
        stack = open_of.setdefault(uuid, [])
        if e["type"] == END:
            if not stack:
                bad("an end without a begin on track %d" % uuid)
            else:
                stack.pop().end = p["timestamp"]
            continue
        name = e.get("name")
        if "name_iid" in e:
            name = lookup("event_names", e["name_iid"], "name")
        categories = [lookup("event_categories", c, "category") for c in e["category_iids"]]
        notes = {}
        for a in e.get("debug_annotations", []):
            key = lookup("debug_annotation_names", a.pop("name_iid"), "annotation")
            notes[key] = next(iter(a.values()), None)
        frames = []
        if "callstack_iid" in e:
            frames = frame_names(lookup("callstacks", e["callstack_iid"], "stack") or {})
        s = Slice(uuid, name, categories[0], p["timestamp"], notes, e.get("flow_ids", []),
                  e.get("terminating_flow_ids", []), frames)
        for flow in s.flows_out:
            flows_out[flow] = flows_out.get(flow, 0) + 1
        for flow in s.flows_in:
            flows_in[flow] = flows_in.get(flow, 0) + 1
        s.depth, s.parent = len(stack), stack[-1] if stack else None
        if e["type"] == BEGIN:
            stack.append(s)
        else:
            s.end, s.moment = s.begin, True
        t.slices.append(s)
    for uuid, stack in open_of.items():
        if stack and not cut:
            bad("%d slices of track %d have no end" % (len(stack), uuid))
    for flow in set(flows_out) | set(flows_in):
        if not cut and (flows_out.get(flow), flows_in.get(flow)) != (1, 1):
            bad("flow %d has %s begins and %s ends" % (flow, flows_out.get(flow), flows_in.get(flow)))
    for uuid, d in t.tracks.items():
        if "counter" not in d and "process" not in d and "thread" not in d and "name" not in d:
            bad("track %d has no name" % uuid)
    return t


def main():
    with open(sys.argv[2], "rb") as f:
        t = load(f.read())
    if sys.argv[1] == "show":
        for s in sorted(t.slices, key=lambda s: (s.track, s.begin)):
            print("  " * s.depth + repr(s))
    for problem in t.problems:
        print(problem)
    return 1 if t.problems else 0


if __name__ == "__main__":
    sys.exit(main())
