#!/usr/bin/env python3
"""metrics.py - /metrics by Prometheus' own rules, its own linter, and a real Prometheus.

    metrics.py DEMO SERVICE      server_demo.c; demo/service.c for a load

Debian's package prometheus brings both programs; without it their part is skipped, and said so.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import harness
from harness import Connection, Demo, ask, check, equal, eventually, place
from ports import free_port  # noqa: E402 (harness knows where)

TYPE = "text/plain; version=0.0.4; charset=utf-8"
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-z]+="[^"\\\n]*",?)*)\})? (\S+)$')

# The families of libprof; one that vanishes breaks somebody's dashboard.
FAMILIES = {
    "process_cpu_seconds_total": "counter", "process_open_fds": "gauge",
    "process_max_fds": "gauge", "process_virtual_memory_max_bytes": "gauge",
    "process_virtual_memory_bytes": "gauge", "process_resident_memory_bytes": "gauge",
    "process_threads": "gauge", "process_start_time_seconds": "gauge",
    "libprof_heap_allocations_total": "counter", "libprof_heap_allocated_bytes_total": "counter",
    "libprof_heap_inuse_objects": "gauge", "libprof_heap_inuse_bytes": "gauge",
    "libprof_heap_watched": "gauge", "libprof_heap_bypassed_objects": "gauge",
    "libprof_mutex_contentions_total": "counter", "libprof_mutex_wait_seconds_total": "counter",
    "libprof_block_events_total": "counter", "libprof_block_wait_seconds_total": "counter",
    "libprof_cpu_samples_total": "counter", "libprof_deadlocked_threads": "gauge",
    "libprof_heap_sample_interval_bytes": "gauge",
    "libprof_block_sample_interval_seconds": "gauge", "libprof_mutex_sample_fraction": "gauge",
    "libprof_cpu_sample_rate_hertz": "gauge", "libprof_samples_lost_total": "counter",
    "libprof_stacks": "gauge", "libprof_self_memory_bytes": "gauge",
    "libprof_self_cpu_seconds_total": "counter", "libprof_build_info": "gauge",
    "libprof_samples_truncated_total": "counter", "libprof_http_requests_total": "counter",
    "libprof_profile_encode_seconds": "histogram", "libprof_http_requests_in_flight": "gauge",
    "libprof_http_connections_rejected_total": "counter",
}


def parse(body):
    """({family: type}, {series: value}), checking the form on the way."""
    text = body.decode()
    types, series, helped, current = {}, {}, set(), None
    check(text.endswith("\n"), "the last line is whole")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split(" ", 3)[2]
            check(current not in helped, "HELP once for " + current)
            helped.add(current)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            check(name == current and name not in types, "TYPE after HELP, once: " + name)
            types[name] = kind
        else:
            found = SAMPLE.match(line)
            if not check(found is not None, "a line in the form of a sample: " + line):
                continue
            name = found.group(1)
            if types.get(current) == "histogram":
                name = re.sub("_(bucket|sum|count)$", "", name)
            check(name == current, "samples of a family together: " + line)
            key = line.rsplit(" ", 1)[0]
            check(key not in series, "no series twice: " + key)
            series[key] = float(found.group(3))
    return types, series


def scrape(where):
    a = ask(where, "/metrics")
    equal(a.status, 200, "status")
    equal(a.header("Content-Type"), TYPE, "type")
    return parse(a.body)


def counters(scraped):
    types, series = scraped
    return {k: v for k, v in series.items() if types.get(k.split("{")[0], "counter") == "counter"}


def fell(before, after):
    return {k: (v, after.get(k)) for k, v in before.items() if not after.get(k, -1) >= v}


def test_form(demo):
    types, series = scrape(demo.where)
    equal(types, FAMILIES, "the families")
    equal(series["process_threads"], float(len(os.listdir("/proc/%d/task" % demo.pid))),
          "process_threads is what /proc says")
    equal(series["process_open_fds"], float(len(demo.descriptors())),
          "process_open_fds counts the program's, and not the server's")
    check(abs(series["process_start_time_seconds"] - time.time()) < 600, "the start time")
    equal(series["libprof_heap_sample_interval_bytes"], 1.0, "the heap's rate: each block")
    losses = {k: v for k, v in series.items() if k.startswith("libprof_samples_lost_total")}
    equal((len(losses), sum(losses.values())), (6, 0.0), "losses, each by its reason, all 0")
    equal(ask(demo.where, "/metrics", "POST", body=b"").status, 405, "POST is refused")
    equal(ask(demo.where, "/metrics", "HEAD").status, 200, "HEAD is answered")
    equal(ask(demo.where, "/metrics/x").status, 404, "nothing below it")


def test_requests(demo):
    def count(handler, code):
        key = 'libprof_http_requests_total{handler="%s",code="%s"}' % (handler, code)
        return scrape(demo.where)[1].get(key, 0)

    for target, handler, code in (
            ("heap", "heap", 200), ("heap?seconds=-1", "heap", 400), ("nothing", "other", 404),
            ("", "index", 200), ("ui/", "ui", 200), ("ui/%3Cscript%3E", "ui", 404),
            ("vars", "vars", 200), ("trace?as=x", "trace", 400), ("my.custom", "custom", 200), ("cmdline", "cmdline", 200)):
        before = count(handler, code)
        ask(demo.where, "/debug/pprof/" + target)
        equal(count(handler, code), before + 1, "requests by handler and code: " + target)
    text = ask(demo.where, "/metrics").body
    check(b"my.custom" not in text and b"<script" not in text, "no name from outside is a label")


def test_histogram(demo):
    name = "libprof_profile_encode_seconds"

    def read(profile):
        series = scrape(demo.where)[1]
        start = '%s_bucket{profile="%s",le="' % (name, profile)
        buckets = [(float(k[len(start):-2]), v) for k, v in series.items() if k.startswith(start)]
        return (buckets, series['%s_count{profile="%s"}' % (name, profile)],
                series['%s_sum{profile="%s"}' % (name, profile)])

    ask(demo.where, "/debug/pprof/trace?seconds=0.01")
    count = re.compile(name + r'_count\{profile="(\w+)"\}')
    equal(sorted(m.group(1) for m in map(count.fullmatch, scrape(demo.where)[1]) if m),
          ["allocs", "block", "custom", "goroutine", "heap", "holders", "leaks", "memory", "mmap",
           "mutex", "profile", "threadcreate", "threads"], "one for each profile, and no other")
    ask(demo.where, "/debug/pprof/threads")
    _, before, spent = read("heap")
    ask(demo.where, "/debug/pprof/heap")
    ask(demo.where, "/debug/pprof/heap?seconds=1")
    ask(demo.where, "/debug/pprof/heap?seconds=-1")
    buckets, count, total = read("heap")
    equal(count, before + 2, "a profile written is counted, a refusal is not")
    check(0 < total - spent < 1, "its time without the wait of a window: %g s" % (total - spent))
    equal(buckets, sorted(buckets), "classes upwards, each with all below it")
    equal(buckets[-1], (float("inf"), count), "the last class has all")
    equal(scrape(demo.where)[1]["libprof_http_requests_in_flight"], 1.0, "one request: this one")


def test_in_flight(demo):
    def in_flight():
        return scrape(demo.where)[1]["libprof_http_requests_in_flight"]

    with harness.Connection(demo.where) as waiting:
        waiting.request("/debug/pprof/heap?seconds=600")
        check(eventually(lambda: in_flight() == 2), "a request that waits is in flight")
    check(eventually(lambda: in_flight() == 1), "until its client is gone")


def test_feed(demo):
    before = scrape(demo.where)
    demo.tell("feed", "64", "1048576")
    after = scrape(demo.where)
    equal(fell(counters(before), counters(after)), {}, "counters do not fall")
    for name, grown in (("libprof_heap_allocations_total", 64), ("libprof_heap_inuse_objects", 64),
                        ("libprof_heap_allocated_bytes_total", 64 << 20),
                        ("libprof_heap_inuse_bytes", 64 << 20)):
        equal(after[1][name] - before[1][name], grown, name + " follows")


def test_own(demo):
    equal(demo.tell("metrics", "demo_jobs_total"), "0", "the program adds its own")
    types, series = scrape(demo.where)
    equal((types.get("demo_jobs_total"), series.get("demo_jobs_total")), ("counter", 7.0),
          "and they are there")
    if shutil.which("promtool"):
        lint(demo.where)
    equal(demo.tell("metrics", "fail"), "0", "one that fails is added")
    equal(ask(demo.where, "/metrics").status, 500, "then the scrape fails, and does not lie")


def lint(where):
    p = subprocess.run(["promtool", "check", "metrics"], input=ask(where, "/metrics").body,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    equal((p.returncode, p.stdout), (0, b""), "promtool check metrics")


CONFIG = """
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - job_name: service
    static_configs: [ { targets: [ "%s" ] } ]
"""


class Prometheus:
    """A real one, on loopback, its data in a folder of its own."""

    def __init__(self, target):
        self.folder = tempfile.mkdtemp(prefix="prometheus-")
        config = os.path.join(self.folder, "prometheus.yml")
        with open(config, "w") as f:
            f.write(CONFIG % target)
        self.port = free_port()
        self.process = subprocess.Popen(
            ["prometheus", "--config.file=" + config, "--storage.tsdb.path=" + self.folder + "/data",
             "--web.listen-address=127.0.0.1:%d" % self.port], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def query(self, expression):
        """[(labels, value)], [] while it starts."""
        url = "http://127.0.0.1:%d/api/v1/query?%s" % (
            self.port, urllib.parse.urlencode({"query": expression}))
        try:
            with urllib.request.urlopen(url, timeout=10) as a:
                return [(r["metric"], r.get("value") or r.get("values"))
                        for r in json.load(a)["data"]["result"]]
        except OSError:
            return []

    def value(self, expression):
        found = self.query(expression)
        return float(found[0][1][1]) if found else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def test_documented():
    """The configuration that docs/fleet.md gives is one that Prometheus takes."""
    page = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "fleet.md")
    with open(page) as f:
        config = re.search(r"```yaml\n(# prometheus.yml\n.*?)```", f.read(), re.S).group(1)
    with tempfile.TemporaryDirectory() as folder:
        token = os.path.join(folder, "token")
        path = os.path.join(folder, "prometheus.yml")
        with open(token, "w") as f:
            f.write("secret")
        with open(path, "w") as f:
            f.write(config.replace("/etc/prometheus/libprof.token", token))
        p = subprocess.run(["promtool", "check", "config", path], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
        check(p.returncode == 0, "promtool takes the documented configuration: " + p.stdout)


def test_prometheus(service):
    process = subprocess.Popen([service, "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().split()[-1]
    try:
        lint(place(address))
        with Prometheus(address) as p:
            check(eventually(lambda: p.value("up") == 1, 60), "Prometheus says: up")
            check(eventually(
                lambda: (p.value("count_over_time(up[1m])") or 0) >= 5, 60), "it has come 5 times")
            equal(p.value("min_over_time(up[1m])"), 1.0, "up each time")
            equal(p.value("scrape_samples_scraped"),
                  p.value("scrape_samples_post_metric_relabeling"), "no series was dropped")
            here = {k: v for k, v in scrape(place(address))[1].items()}
            taken = p.value("scrape_samples_scraped")
            check(taken is not None and 0.9 * len(here) <= taken <= len(here),
                  "as many samples as there are: %r of %d" % (taken, len(here)))
            for name, kind in FAMILIES.items():
                if kind == "counter":
                    equal([str(m) for m, v in p.query("resets(%s[1m])" % name)
                           if float(v[1]) != 0], [], name + " never falls")
            check((p.value("increase(libprof_heap_allocations_total[1m])") or 0) > 0,
                  "the load shows")
            duplicates = p.query("prometheus_target_scrapes_sample_duplicate_timestamp_total > 0")
            equal(duplicates, [], "no duplicates")
    finally:
        process.terminate()
        process.communicate()


def test_held(path):
    """A function of the program's that does not return keeps a server from stopping; the next one
    does not call it a second time, and goes on."""
    with Demo(path) as d:
        d.start()
        equal(d.tell("metrics", "hold"), "0", "a function that does not return")
        first = Connection(d.where)
        first.request("/metrics")
        equal(d.tell("metrics", "other"), "0", "another one")
        check(harness.eventually(lambda: d.tell("held") == "1"), "the server waits for it")
        r = d.tell("stop")
        if not check(r.startswith("-115"), "it cannot stop now: " + r):
            return
        d.start()
        for _ in range(2):
            a = ask(d.where, "/metrics")
            check(a.status == 503 and b"prof_metrics_add" in a.body, "the next server says: %r" % a)
        equal(ask(d.where, "/debug/pprof/heap").status, 200, "and serves")
        equal(d.tell("release"), "1", "how many were in it at a time")
        check(harness.eventually(lambda: ask(d.where, "/metrics").status == 200), "then it goes on")
        text = ask(d.where, "/metrics").body.decode()
        check("\nlibprof_http_requests_in_flight 1\n" in text, "and nothing is in flight but this: %s"
              % re.findall("in_flight [0-9.-]+", text))
        first.close()


def main():
    harness.limit_time()
    test_held(sys.argv[1])
    with Demo(sys.argv[1]) as demo:
        demo.start()
        demo.tell("add", "1")
        test_form(demo)
        test_requests(demo)
        test_histogram(demo)
        test_in_flight(demo)
        test_feed(demo)
        test_own(demo)
    if shutil.which("prometheus") and shutil.which("promtool") and len(sys.argv) > 2:
        test_documented()
        test_prometheus(sys.argv[2])
    else:
        print("skipped: no real Prometheus; the package prometheus is not installed")
    return harness.report()


if __name__ == "__main__":
    sys.exit(main())
