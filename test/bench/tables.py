"""tables.py - the tables of docs/overhead.md, from what --json wrote.

Written is what stands between two comments in that file, so that figures are never copied by hand:
one row for each of the run's, by section, with what libprof adds, its target, and what the peers add.
"""

import os
import re

from bench import PEERS, ROOT, number, shown

DOCUMENT = os.path.join(ROOT, "docs/overhead.md")
BEGIN = "<!-- figures: written by test/bench/run --docs -->"
END = "<!-- end of the figures -->"


def cell(unit, f):
    """What a candidate adds, where there is something that it is added to; else what it takes."""
    if "own" not in f:
        return "%s ± %s" % (number(f["median"]), number(f["spread"])) if f["spread"] else number(f["median"])
    own = "%+.*f" % (0 if abs(f["own"]) >= 100 else 1 if abs(f["own"]) >= 10 else 2, f["own"])
    noise = " ± " + number(f["own_spread"]) if f["own_spread"] else ""
    if "ratio" in f and (unit == "us of CPU" or unit == "instructions" and f["median"] > 1000):
        return "×%.4f (%s%s)" % (f["ratio"], own, noise)
    return own + noise


def of_row(row):
    unit, bases, figures = row["unit"], row.get("bases", {}), row["figures"]
    base, ours, peers = [], [], []
    for name, f in figures.items():
        text = cell(unit, f)
        if name.startswith(PEERS) or name in ("bare jump", "slow hook", "try first", "empty handler"):
            if name not in bases.values() or name == "empty handler":  # else only what it is added to
                peers.append("%s %s" % (name, text))
        elif name in bases.values():
            base.append(number(f["median"]))
        else:
            ours.append((name, text))
    said = [("%s%s%s" % ("" if t["met"] else "**missed** ", "×" if t["what"] == "ratio" else "",
                         shown(t["what"], t["limit"])), t["who"]) for t in row["targets"]]
    if len({limit for limit, _ in said}) == 1 and len(said) == len(ours):
        targets = [said[0][0]]  # the same for all is said once
    else:
        targets = ["%s %s" % (who, limit) for limit, who in said]
    mine = "; ".join(text if len(ours) == 1 and name == "libprof" else "%s %s" % (name, text)
                     for name, text in ours)
    return "| %s | %s | %s | %s | %s |" % (
        (row["row"] + ", " + unit).replace("|", "\\|"), "; ".join(base), mine, "; ".join(targets),
        "; ".join(peers))


def text_of(run):
    lines = [BEGIN, "",
             "%s.%s %d rounds; the whole run took %.0f minutes." % (
                 run["machine"], " Rough (`--quick`)." if run["quick"] else "", run["rounds"],
                 sum(run["seconds"].values()) / 60), ""]
    met = [t["met"] for row in run["rows"] for t in row["targets"]]
    lines += ["%d of %d targets met.%s" % (
        sum(met), len(met), " Not measured: %s." % ", ".join(run["failed"] + run["left_out"])
        if run["failed"] or run["left_out"] else ""), ""]
    section = None
    for row in run["rows"]:
        if row["section"] != section:
            section = row["section"]
            lines += ([""] if lines[-1] else []) + [
                "### " + section, "",
                "| work | without | libprof adds, or takes | at most | peers add |",
                "| --- | --- | --- | --- | --- |"]
        if "by function" not in row["row"]:
            lines.append(of_row(row))
    return "\n".join(lines + ["", END])


def write(run):
    """Replace what stands between the comments."""
    with open(DOCUMENT, encoding="utf-8") as f:
        document = f.read()
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        raise ValueError("%s has not got one place for the figures, between\n%s and\n%s" % (
            DOCUMENT, BEGIN, END))
    text = text_of(run)
    with open(DOCUMENT, "w", encoding="utf-8") as f:
        f.write(re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: text, document, flags=re.S))
