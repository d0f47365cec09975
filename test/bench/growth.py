"""growth.py - what costs grow with: threads, live samples, stacks, the heap, depth, mappings.

state_bench is brought into a state, and asked what a pair of malloc and free costs then, sampled
and not, and how long a profile takes. Operations may cost what a larger hash table does, and no
more; a request grows with what it has to tell.
"""

from bench import Candidate, Target
from serving import State

PAIR_LIMIT = 2.0     # of the cost in the smallest state
SAMPLED_LIMIT = 3.0


def by_state(b, what, title, sizes, request="heap"):
    candidate = b.libprof("libprof", None)
    pair, sampled, asked, resident = {}, {}, {}, {}
    for n in sizes:
        with State(b, candidate, what, n, serve=True) as s:
            name = format(n, ",")
            costs = [s.costs() for _ in range(b.less(3, 1))]
            pair[name] = [c[0] for c in costs]
            sampled[name] = [c[1] for c in costs]
            s.get(request)
            asked[name] = [s.get(request)[0] for _ in range(b.less(3, 1))]
            resident[name] = s.resident_kib()
        with State(b, Candidate("no library"), what, n) as s:
            s.costs()
            resident[name] = (resident[name] - s.resident_kib()) / 1024
    least, most = next(iter(pair)), list(pair)[-1]
    its_base = {name: least for name in pair if name != least}
    b.row("malloc(64)+free by " + title, "ns", pair, its_base,
          [Target(most, "ratio", PAIR_LIMIT)])
    b.row("a sampled block by " + title, "ns", sampled, its_base,
          [Target(most, "ratio", SAMPLED_LIMIT)])
    b.row("a warm %s request by %s" % (request, title), "ms", asked, its_base)
    b.row("resident beyond the same without libprof, by " + title, "MiB", resident, its_base)


def by_depth(b):
    candidate = b.libprof("libprof", None, HEAP_RATE=16)
    got = {}
    for depth in (5, 20, 60, 128):
        work = [b.tool("sample_bench"), depth, 1000, b.less(50_000, 10_000)]
        got["%d frames" % depth] = [(b.numbers(work, candidate.env)[0] - b.numbers(work)[0])
                                    for _ in range(b.less(5, 2))]
    b.row("a sampled block by depth, 1,000 stacks", "ns", got)
    b.row("a sampled block by depth, 1,000 stacks", "ns a frame",
          {name: [v / int(name.split()[0]) for v in of] for name, of in got.items()})


def growth(b):
    """Threads, live samples, distinct stacks, heap, depth, mappings: what costs grow with."""
    def threads(b):
        by_state(b, "threads", "threads", b.less((1, 100, 2000), (1, 500)), "threads")

    def live(b):
        by_state(b, "live", "live samples", b.less((100, 10_000, 100_000, 1_000_000), (100, 100_000)))

    def stacks(b):
        by_state(b, "stacks", "distinct stacks", b.less((100, 10_000, 1_000_000), (100, 100_000)))

    def heap(b):
        by_state(b, "heap", "MiB of heap, in blocks of 1 MiB", b.less((1024, 10_240), (1024, 4096)))

    def mappings(b):
        by_state(b, "mappings", "mappings", b.less((10, 100, 1000), (10, 1000)))

    b.each(threads, live, stacks, heap, mappings, by_depth)
