#!/usr/bin/env python3
"""stock_programs.py - programs of every Debian system, with libprof preloaded and without: same
standard output, same exit status, same (in general no) standard error, and none is slower to end
than the limit.

    stock_programs.py PRELOAD

A program that is not installed is skipped, loudly. Ends with "N passed, N failed".
"""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402

preload = os.path.abspath(sys.argv[1])
TIME_LIMIT_S = 60
SOURCE = r'#include <stdio.h>\nint main(void) { puts("built"); return 3; }\n'

# Each line is for bash. What varies from run to run (times, process ids) is left out.
LINES = r"""
ls -la /usr/bin
ls /nowhere
cat /etc/passwd
bash -c 'for i in 1 2 3; do echo $i; done; x=$(echo sub); echo $x; exit 4'
dash -c 'echo $((1 + 2)); (exit 5)'
bash -c 'echo a | tr a b | sed s/b/c/ | cat; wait'
python3 -c 'import json, os; print(json.dumps(list(range(1000)))); os._exit(6)'
python3 -c 'import threading; t = [threading.Thread(target=print, args=(i,)) for i in range(1)]; [x.start() for x in t]; [x.join() for x in t]'
python3 -c 'import subprocess; print(subprocess.run(["echo", "child"], capture_output=True).stdout)'
python3 -W ignore -c 'import os; p = os.fork(); p or os._exit(7); print(os.waitpid(p, 0)[1] >> 8)'
python3 -c 'import multiprocessing as m; print(m.Pool(2).map(abs, [-1, -2]))'
perl -e 'my %h = map { $_ => $_ * 2 } 1..1000; print join(",", map { $h{$_} } sort keys %h), "\n"; exit 8'
perl -e 'exec "echo", "from exec"'
awk 'BEGIN { for (i = 0; i < 1000; i++) s = s i; print length(s); exit 9 }'
sed -n '1,5p' /etc/group
grep -c root /etc/passwd
grep -r nothing-like-it /etc/hostname
find /usr/lib/python3 -maxdepth 1
sort --parallel=2 -S 1M -R --random-source=/etc/passwd /etc/services
sort -u /etc/group
seq 1 20000 | sort --parallel=4 -n -r | head -n 3
wc -l /etc/services
tar -cf - -C /etc hostname passwd | tar -tf -
gzip -c /etc/passwd | gzip -dc
xz -T2 -c /etc/services | xz -dc | md5sum
bzip2 -c /etc/services | bzip2 -dc | md5sum
zstd -T2 -q -c /etc/services | zstd -q -dc | md5sum
printf 'SOURCE' | gcc -x c - -o "$DIR/built" && "$DIR/built"
printf 'SOURCE' | clang -x c - -o "$DIR/built2" && "$DIR/built2"
printf 'int x;' | g++ -x c++ -c - -o "$DIR/o.o" && nm "$DIR/o.o"
make -n -f /dev/null nothing
git init -q "$DIR/repository" && git -C "$DIR/repository" status --short && git -C "$DIR/repository" rev-parse HEAD
ssh -V
openssl version && echo abc | openssl dgst -sha256
curl -s http://127.0.0.1:1/
gdb -nx -batch -ex 'print 1 + 1'
objdump -f /bin/ls
readelf -hW /bin/ls
strings -n 20 /bin/true
file -b /etc/passwd
diff /etc/passwd /etc/group
env -i A=1 env
date -u -d @0
id -u
su --version
stat -c %n /
dd if=/dev/zero bs=64k count=16 status=none | sha256sum
xargs -n 1 -P 4 true < /etc/hostname
timeout 5 true
timeout -s KILL 0.1 sleep 5
nohup true
setsid -w sh -c 'echo session; exit 3'
ps --version
sqlite3 :memory: 'create table t(a); insert into t values (1), (2); select sum(a) from t;'
redis-server --version
jq -n '[range(100)] | add'
tclsh <<< 'puts [expr 6 * 7]'
ruby -e 'puts (1..100).sum'
node -e 'console.log(6 * 7)'
lua -e 'print(6 * 7)'
go version
java -version
ldconfig -p
locale -a
iconv -f utf8 -t latin1 /etc/hostname
getent passwd root
bc <<< '2^100'
"""


def run(line, more):
    with tempfile.TemporaryDirectory() as directory:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("LIBPROF_", "LD_"))}
        # A fixed path, since programs print it and it must be the same both times.
        place = os.path.join(directory, "x")
        os.mkdir(place)
        env.update(more, DIR=place, LC_ALL="C.UTF-8", GIT_CONFIG_GLOBAL="/dev/null",
                   PYTHONHASHSEED="0", HOME=place)
        try:
            p = subprocess.run(["bash", "-c", line], env=env, stdin=subprocess.DEVNULL,
                               capture_output=True, timeout=TIME_LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            return None
        return [p.returncode] + [text.replace(directory.encode(), b"DIR")
                                 for text in (p.stdout, p.stderr)]


def main():
    tried = 0
    for line in LINES.replace("SOURCE", SOURCE).strip().splitlines():
        program = "gcc" if "| gcc" in line else "clang" if "| clang" in line else \
            "g++" if "| g++" in line else line.split()[0]
        if not shutil.which(program):
            print("skipped, not installed: " + program)
            continue
        plain = run(line, {})
        again = run(line, {})
        if plain is None or plain != again:
            print("skipped, differs from run to run by itself: " + line)
            continue
        tried += 1
        for how, more in (("by default", {}), ("every block", {"LIBPROF_HEAP_RATE": "1"}),
                          ("off", {"LIBPROF_HEAP_RATE": "0"})):
            if how == "off" and tried % 4:
                continue # what is off does less; a quarter will do
            with_libprof = run(line, dict(more, LD_PRELOAD=preload))
            check(with_libprof == plain, "%s, %s: %.400r without libprof, %.400r with it"
                  % (line, how, plain, with_libprof))
    check(tried >= 40, "%d programs tried, not 40" % tried)
    return report()


sys.exit(main())
