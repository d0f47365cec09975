"""compare.py - two runs of the bench: which rows became worse, and which better.

Compared is what each candidate adds to its base (own), or its median where it has none. A change
counts where it is beyond

  - twice the sum of both runs' spreads, half the distance between the quartiles of what is compared,
  - and how far the base itself has moved from one run to the other, with the same work and without
    us: that much is the machine's,
  - and one percent of the median, or of one instruction: less is the luck of where memory lies and
    of which blocks are sampled.

So a row that scatters can only be told to be worse when it is much worse; the last column says how
much that would be. Rows of one run only are named. Peers are compared too, and marked, as they say
how alike the two runs are, but do not decide.
"""

import json

from bench import PEERS, number

LEAST = 0.01  # of the median


def load(path):
    with open(path, encoding="utf-8") as f:
        run = json.load(f)
    if not isinstance(run, dict) or not isinstance(run.get("rows"), list):
        raise ValueError("%s was not written by --json" % path)
    return run


def figures_of(run):
    """{(section, row, unit, candidate): figures}, with those of the base, if any, under "base"."""
    found = {}
    for row in run["rows"]:
        of = row["figures"]
        for name, f in of.items():
            base = of.get(row.get("bases", {}).get(name))
            found[row["section"], row["row"], row["unit"], name] = dict(f, base=base)
    return found


def is_ours(name):
    return not name.startswith(PEERS)


def judge(unit, a, b):
    """(before, after, noise, verdict) of one candidate of one row in two runs."""
    what = "own" if "own" in a and "own" in b else "median"
    noise = 2 * sum(f.get(what + "_spread", f["spread"]) for f in (a, b))
    noise += abs(b["base"]["median"] - a["base"]["median"]) if a["base"] and b["base"] else 0
    noise = max(noise, LEAST * max(abs(a["median"]), 1 if unit == "instructions" else 0))
    change = b[what] - a[what]
    verdict = "worse" if change > noise else "better" if change < -noise else ""
    return a[what], b[what], noise, verdict


def unlike(a, b):
    """What makes two runs no fair comparison."""
    return ["%s: %s, then %s" % (what, a.get(key), b.get(key))
            for what, key in (("machine", "machine"), ("quick", "quick"), ("rounds", "rounds"))
            if a.get(key) != b.get(key)]


def compare(path_a, path_b, show_all=False):
    """Print what has changed; how many of our rows are worse."""
    a, b = load(path_a), load(path_b)
    for line in unlike(a, b):
        print("the runs differ in " + line)
    before, after = figures_of(a), figures_of(b)
    layout = "%-9s %-66s %-22s %9s %9s %9s  %s"
    print(layout % ("section", "row", "", "before", "after", "noise", "verdict"))
    count = {"worse": 0, "better": 0, "": 0}
    for key, f in before.items():
        section, row, unit, name = key
        if key not in after:
            continue
        was, now, noise, verdict = judge(unit, f, after[key])
        if is_ours(name):
            count[verdict] += 1
        elif verdict:
            verdict += ", a peer"
        if verdict or show_all:
            print(layout % (section, row + ", " + unit, name, number(was), number(now),
                            number(noise), verdict))
    for title, one, other in (("gone", before, after), ("new", after, before)):
        for section, row, unit, name in sorted(set(one) - set(other)):
            print("%-9s %-66s %-22s %s" % (section, row + ", " + unit, name, title))
    print("%d worse, %d better, %d within the noise" % (count["worse"], count["better"], count[""]))
    return count["worse"]
