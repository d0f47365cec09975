"""databases.py - memcached, postgres and node, with all default profiles on."""

import glob
import os
import shutil
import socket
import subprocess
import tempfile

from bench import Candidate, bases
from programs import needs, serve

# --- memcached -----------------------------------------------------------------------------------


def ask(connection, sent, replies):
    """Send, and read until so many lines that end a reply have come."""
    connection.sendall(sent)
    seen, tail = 0, b""
    while seen < replies:
        got = connection.recv(1 << 16)
        if not got:
            raise RuntimeError("memcached hangs up")
        data = tail + got
        whole, _, tail = data.rpartition(b"\r\n")
        seen += sum(line in (b"STORED", b"END") for line in whole.split(b"\r\n"))


def memcached_load(port, n):
    """n requests, three reads for each write, over some connections, ten at a time on each."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    try:
        value = b"v" * 200
        for i in range(0, n, 40):
            c = connections[i // 40 % len(connections)]
            for k in range(0, 40, 10):
                if k == 0:
                    ask(c, b"".join(b"set key:%d 0 0 %d\r\n%s\r\n" % ((i + j) % 5000, len(value), value)
                                    for j in range(10)), 10)
                else:
                    ask(c, b"".join(b"get key:%d\r\n" % ((i * 7 + j * k) % 5000) for j in range(10)), 10)
    finally:
        for c in connections:
            c.close()
    return n


def memcached(b):
    user = ["-u", "root"] if os.getuid() == 0 else []

    def command(port, _=None):
        return ["memcached", "-p", str(port), "-l", "127.0.0.1", "-U", "0", "-t", "1", "-m", "64"] + user

    if needs(b, "memcached"):
        n = b.less(20_000, 4_000)
        serve(b, "memcached, a request", command, lambda port: memcached_load(port, n),
              b.less(max(b.rounds // 2, 1), 2), [])


# --- programs that run to their end --------------------------------------------------------------


def by_cpu(b, title, unit, command, n, stdin=None, heaptrack=True):
    """A row of microseconds of processor time for one of n things, of a program that ends."""
    found = b.present([Candidate("no library"), b.libprof("libprof"),
                       b.libprof("profrun", HTTP="unix:" + os.path.join(b.tmp, "prof-%p.sock"))] +
                      b.peers(heaptrack=heaptrack))

    def work(c):
        with open(stdin or os.devnull, "rb") as f, subprocess.Popen(
                command(n), env=b.environment(c.env), stdin=f, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, cwd=b.empty) as p:
            said = p.stderr.read()
            _, status, used = os.wait4(p.pid, 0)
            p.returncode = os.waitstatus_to_exitcode(status)
        if p.returncode != 0:
            raise RuntimeError("%s: exit status %d: %s" % (p.args[0], p.returncode, said[-300:]))
        return (used.ru_utime + used.ru_stime) * 1e6 / n

    b.row(title, unit, b.interleave({c.name: lambda c=c: work(c) for c in found}), bases(found))


NODE = r"""
let kept = [];
for (let i = 0; i < +process.argv[1]; i++) {
    const doc = JSON.parse(JSON.stringify({ id: i, tags: Array.from({ length: 20 }, (_, k) => 't' + i * k % 97) }));
    const b = Buffer.alloc(2000 + i % 3000, 'x');
    kept.push([doc, require('zlib').deflateSync(b).length, b.toString('base64').length]);
    if (kept.length > 1000) kept = [];
}
"""


def node(b):
    if needs(b, "node"):
        by_cpu(b, "node, a document and a buffer", "us of CPU",
               lambda n: ["node", "-e", NODE, str(n)], b.less(10_000, 2_000))


POSTGRES_SQL = """\
create table t(id int primary key, name text, score float8)
insert into t select i, 'name ' || i || md5(i::text), i * 0.5 from generate_series(1, %(n)d) i
create index t_name on t(name)
update t set name = name || 'x' where id %% 3 = 0
select count(*), sum(length(name)), max(score) from t
select substr(name, 6, 2) as s, count(*), string_agg(name, ',') from t group by s order by s
select count(*) from t a join t b on a.id = b.id * 2 where a.name like '%%7%%'
delete from t where id %% 2 = 0
"""


def postgres(b):
    """A backend by itself (--single): the same code, and nobody else's processes."""
    programs = {name: shutil.which(name) or next(iter(sorted(glob.glob(
        "/usr/lib/postgresql/*/bin/" + name))), None) for name in ("postgres", "initdb")}
    if not all(programs.values()):
        needs(b, *[name for name, path in programs.items() if not path])
        return
    as_user, folder = [], tempfile.mkdtemp(prefix="prof-postgres")
    try:
        if os.getuid() == 0:  # it does not run as root
            if not needs(b, "setpriv"):
                return
            as_user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
            os.chown(folder, 65534, 65534)
        data = os.path.join(folder, "data")
        b.output(as_user + [programs["initdb"], "-D", data, "-A", "trust", "-U", "bench", "-N",
                            "--no-locale"], {"HOME": folder}, cwd=folder)
        n = b.less(40_000, 4_000)
        sql = os.path.join(folder, "sql")
        with open(sql, "w", encoding="ascii") as f:
            f.write(POSTGRES_SQL % {"n": n} + "drop table t\n")

        def command(_):
            return as_user + [programs["postgres"], "--single", "-D", data, "-c", "fsync=off", "-c",
                              "shared_buffers=64MB", "postgres"]

        # heaptrack ends it (abort) at its start.
        by_cpu(b, "postgres, a row of bulk work", "us of CPU", command, n, sql, heaptrack=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def databases(b):
    """memcached, postgres and node, by processor time."""
    b.each(memcached, postgres, node)
