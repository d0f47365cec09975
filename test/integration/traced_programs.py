#!/usr/bin/env python3
"""traced_programs.py - other people's programs at work while timelines of them are taken.

    traced_programs.py PROFRUN PROGRAM

As waiting_programs.py, whose programs and loads these are: once plain, once under profrun, and nobody
may be able to tell them apart. Here the flight recorder is on all the time, and traces with system
calls and context switches are taken one after the other, as long as the load lasts. Each has to be
one that readers take, and together they show who waits for what in this program, and who woke it.
Exit status 77 if the program is not on this machine.
"""
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
import perfetto  # noqa: E402
import real_programs as real  # noqa: E402
import waiting_programs as waiting  # noqa: E402
from checks import check, report  # noqa: E402

QUERY = "trace?seconds=%s&io=1&sched=1&cpu=0"
LOOKED_AT = 3 # of the traces of the load; looking takes a second each
LIMIT_S = 60


class Tracer:
    """Traces of a program, back to back, from before its load until enough()."""

    def __init__(self, run):
        self.run, self.got, self.stopping = run, [], threading.Event()
        self.thread = threading.Thread(target=self.go)
        real.wait_for(lambda: os.path.exists(run.socket), "the socket of the profiles", run.proc)
        self.got.append(run.fetch(QUERY % 0.05))
        self.thread.start()

    def go(self):
        while not self.stopping.is_set():
            self.got.append(self.run.fetch(QUERY % 0.3))

    def enough(self):
        """The first of the load, one of the rest that follows it, and what the recorder has."""
        self.stopping.set()
        self.thread.join()
        return self.got[:LOOKED_AT] + [self.run.fetch(QUERY % 0.3), self.run.fetch("trace?last=1")]


# --- the programs that waiting_programs.py does not have ------------------------------------------

def postgres_folder():
    """None: only clients are installed, or nothing."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    return os.path.dirname(found[-1]) if found else None


def postgres(run_in, _):
    """Its backends are children of fork(); the traces are of who forks them."""
    folder = postgres_folder()
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    def prepare(tmp):
        os.chmod(tmp, 0o777)
        os.chmod(os.path.dirname(tmp), 0o755)
        made = os.path.join(os.path.dirname(tmp), "made") # once for both lives
        if not os.path.exists(made):
            os.mkdir(made)
            os.chmod(made, 0o777)
            subprocess.run(as_nobody + [folder + "/initdb", "-N", "-A", "trust", "-D",
                                        made + "/data", "-U", "nobody"],
                           check=True, stdout=subprocess.DEVNULL, timeout=LIMIT_S)
        subprocess.run(as_nobody + ["cp", "-a", made + "/data", tmp], check=True, timeout=LIMIT_S)
        return [folder + "/postgres", "-D", tmp + "/data", "-k", tmp, "-c", "listen_addresses=",
                "-c", "autovacuum=off"]

    run = run_in(prepare, None, as_nobody)

    def client(*args):
        done = subprocess.run(as_nobody + list(args), cwd=run.tmp, timeout=LIMIT_S, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=dict(os.environ, PGHOST=run.tmp, PGDATABASE="postgres"))
        check(done.returncode == 0, "%s: %.300r" % (args, done.stderr))
        return done.stdout.decode()

    real.wait_for(lambda: os.path.exists(run.tmp + "/.s.PGSQL.5432") and
                  "accepting" in subprocess.run([folder + "/pg_isready", "-h", run.tmp], check=False,
                                                stdout=subprocess.PIPE).stdout.decode(),
                  "postgres listens", run.proc)
    client("pgbench", "-i", "-q", "-s", "1")
    # What each client adds is drawn from the seed: the sums are the same in whatever order.
    said = client("pgbench", "-n", "-c", "4", "-j", "2", "-t", "50", "--random-seed=7")
    seen = {"processed": [x for x in said.splitlines() if "processed" in x or "failed" in x],
            "sums": client("psql", "-At", "-c", "select sum(abalance), (select sum(bbalance) from "
                           "pgbench_branches), (select count(*) from pgbench_history) "
                           "from pgbench_accounts")}
    fetch(run, "postgres")
    seen["exit status"] = run.end(signal.SIGINT)
    return run, seen


# --- what is looked for ---------------------------------------------------------------------------

# Names of slices, all of which there are; those of which somebody was woken by a thread of the
# program.
SHOWS = {
    "memcached": ({"epoll_wait"}, {"wait: condition variable", "wait: mutex", "wait: semaphore"}),
    "redis": ({"epoll_wait"}, {"wait: mutex", "wait: condition variable"}),
    "nginx": ({"epoll_wait"}, {"wait: condition variable"}),
    "python": ({"read"}, {"wait: semaphore", "wait: condition variable"}),
    "postgres": ({"poll", "epoll_wait", "select"}, set()),
}


def fetch(run, program):
    if run.profiled:
        run.traces = run.tracer.enough()


def check_traces(name, traces):
    names, woken, states, events = set(), set(), 0, 0
    for i, data in enumerate(traces):
        t = perfetto.load(data)
        check(not t.problems, "%s: trace %d is one that readers take: %s" % (name, i,
                                                                           t.problems[:5]))
        names |= {s.name for s in t.slices}
        events += len(t.slices)
        into = {flow for s in t.slices for flow in s.flows_out}
        woken |= {s.name for s in t.slices if set(s.flows_in) & into}
        notes = " ".join(t.process.get("process_labels", []))
        states += len(t.of(category="state")) + ("no context switches" in notes)
    print("measured: %s: %d traces, %d events, %d kinds" % (name, len(traces), events, len(names)))
    expected, wakes = SHOWS[name]
    check(names & expected, "%s: somebody is in one of %s: %s" % (name, expected, sorted(names)))
    if wakes:
        check(woken & wakes, "%s: of %s somebody was woken: %s, %s" % (name, wakes, woken,
                                                                     sorted(names)))
    check(states > 0, "%s: when threads ran is told, or why not" % name)


PROGRAMS = dict({n: waiting.PROGRAMS[n] for n in SHOWS if n in waiting.PROGRAMS},
                postgres=(postgres, "pgbench"))


def life(function, profrun, tmp):
    """As real.life(), with a recorder and a tracer."""
    runs = []

    def run_in(argv, env=None, wrapper=()):
        argv = list(argv(tmp) if callable(argv) else argv)
        env = {k: v for k, v in (env or {}).items() if k not in waiting.RATES}
        if profrun:
            argv = [profrun, "--http", "unix:" + os.path.join(tmp, "prof.sock"), "--"] + argv
            env["LIBPROF_TRACE"] = "60s"
        run = real.Run(tmp, None, list(wrapper) + argv, env)
        runs.append(run)
        run.profiled = profrun is not None
        if profrun:
            run.tracer = Tracer(run)
        return run

    os.mkdir(tmp)
    try:
        run, seen = function(run_in, None)
        seen["standard output"], seen["standard error"] = run.printed(), run.complained()
        return run, seen
    finally:
        for run in runs:
            run.kill()


def main():
    profrun, name = os.path.abspath(sys.argv[1]), sys.argv[2]
    function, program = PROGRAMS[name]
    if not shutil.which(program):
        real.skip(program + " is not installed")
    if name == "postgres" and (os.geteuid() != 0 or not postgres_folder()):
        real.skip("postgres is not installed, or cannot be started as somebody else")
    waiting.fetch = fetch # where those programs look at what they were given
    tmp = tempfile.mkdtemp()
    try:
        _, plain = life(function, None, os.path.join(tmp, "plain"))
        run, traced = life(function, profrun, os.path.join(tmp, "traced"))
        for what in plain:
            if name != "postgres" or what != "standard error": # its log has times and numbers
                real.same(plain[what], traced.get(what), "%s: %s" % (name, what))
        check_traces(name, run.traces)
    finally:
        shutil.rmtree(tmp)
    return report()


if __name__ == "__main__":
    sys.exit(main())
