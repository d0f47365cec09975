#!/usr/bin/env python3
"""static.py - every way to link that docs/linking.md shows, by the commands that stand there.

    static.py BUILD [nohttp]

Installs BUILD below a temporary folder, runs each command of docs/linking.md with static.c as
service.c and static.cc as service.cc, and then the programs: they check what they see themselves,
and what they write is read here, and with go tool pprof where there is one. The fully static command
is also run with other compilers, linkers and options, and with an allocator of the program's own.
Ends with "N passed, N failed".
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from checks import add, check, report  # noqa: E402
import pprof  # noqa: E402

build = os.path.abspath(sys.argv[1])
with_http = "nohttp" not in sys.argv[2:]
TIME_LIMIT_S = 100


def environment(root):
    """For commands as a user has them, but that all is installed below `root`."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("LIBPROF_", "LD_", "MALLOC_", "PKG_CONFIG"))}
    pc = subprocess.check_output(["find", root, "-name", "libprof.pc"], text=True).split()[0]
    libdir = os.path.dirname(os.path.dirname(pc))
    return dict(env, PKG_CONFIG_PATH=os.path.dirname(pc), PKG_CONFIG_SYSROOT_DIR=root,
                LD_LIBRARY_PATH=libdir, HOME=root)


def commands():
    """Those of docs/linking.md that make a program."""
    with open(os.path.join(HERE, "..", "..", "docs", "linking.md")) as f:
        lines = re.findall(r"^    ((?:cc|c\+\+) .*)$", f.read(), re.M)
    if not with_http:
        lines = [re.sub(r"libprof-http(-static)? ", "", c) for c in lines]
    return lines


def compiled(command, d, env):
    """What the compiler says, or None if it made a program."""
    if os.path.exists(d + "/service"):
        os.remove(d + "/service")
    p = subprocess.run(["sh", "-c", command], cwd=d, env=env, capture_output=True, text=True,
                       errors="replace", timeout=TIME_LIMIT_S, check=False)
    return None if p.returncode == 0 and os.path.exists(d + "/service") else p.stdout + p.stderr


def read_profiles(what, d, names):
    for name in names:
        with open("%s/%s.pb.gz" % (d, name), "rb") as f:
            p = pprof.assert_valid(f.read(), name)
        check(len(p.sample) > 0, "%s: %s is not empty" % (what, name))


def top(source, env, d):
    p = subprocess.run(["go", "tool", "pprof", "-top", "-nodefraction=0", source], capture_output=True, text=True,
                       env=dict(env, PPROF_TMPDIR=d), timeout=TIME_LIMIT_S, check=False)
    return p.stdout + p.stderr


def serve(what, program, env, d):
    """The program by HTTP."""
    with subprocess.Popen([program, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=env, text=True) as p:
        url = "http://%s/debug/pprof/" % p.stdout.readline().strip()
        for name in "heap", "threads", "profile?seconds=1", "mutex":
            raw = urllib.request.urlopen(url + name, timeout=TIME_LIMIT_S).read()
            pprof.assert_valid(raw, name.split("?")[0])
        check("</html>" in urllib.request.urlopen(url).read().decode(), what + ": index")
        if shutil.which("go"):
            shown = top(url + "heap", env, d)
            check("by_malloc" in shown, "%s: go tool pprof, by HTTP:\n%s" % (what, shown))
        p.stdin.close()
        check(p.wait(TIME_LIMIT_S) == 0, what + ": stops in order")


def use(what, d, env, is_cpp, *more):
    """Run what was just compiled."""
    profiles = d + "/profiles"
    shutil.rmtree(profiles, ignore_errors=True)
    os.mkdir(profiles)
    p = subprocess.run([d + "/service", "check", profiles, *more], env=env, capture_output=True,
                       text=True, errors="replace", timeout=TIME_LIMIT_S, check=False)
    got = re.search(r"^(\d+) passed, (\d+) failed$", p.stdout, re.M)
    check(got and p.returncode == 0, "%s: status %d\n%s" %
          (what, p.returncode, (p.stdout + p.stderr)[-3000:]))
    if not got:
        return
    add(int(got.group(1)), int(got.group(2)))
    names = ["heap"] if is_cpp else ["heap", "mutex", "block", "threads", "profile"]
    read_profiles(what, profiles, names)
    if shutil.which("go"):
        word = "shop::make" if is_cpp else "by_malloc"
        shown = top(profiles + "/heap.pb.gz", env, d)
        check(word in shown, "%s: go tool pprof:\n%s" % (what, shown))


def needs(program):
    """The shared libraries that it names."""
    out = subprocess.check_output(["readelf", "-dW", program], text=True)
    return re.findall(r"NEEDED.*\[(.*)\]", out)


def test_commands_of_the_manual(d, env):
    count = 0
    for command in commands():
        is_static, is_cpp = " -static " in command, command.startswith("c++")
        if is_static and not has_static_libc(d, env):
            print("skipped, no static libc: " + command)
            continue
        said = compiled(command, d, env)
        check(said is None, "%s:\n%s" % (command, said))
        if said is not None:
            continue
        count += 1
        libraries = needs(d + "/service")
        if is_static:
            check(libraries == [], "%s: needs %s" % (command, libraries))
        if is_static or "--static" in command:
            check(not any("libprof" in n for n in libraries), "%s: needs %s" % (command, libraries))
        dynamic_wrap = "libprof-wrap" in command and not is_static
        use(command, d, env, is_cpp, *(["own"] if dynamic_wrap else []))
        if with_http and not is_cpp:
            serve(command, d + "/service", env, d)
    check(count >= 5, "only %d commands in docs/linking.md make a program" % count)


def has_static_libc(d, env):
    return compiled("echo 'int main(void) { return 0; }' >empty.c && cc -static empty.c -o service",
                    d, env) is None


def test_other_ways_to_be_static(d, env):
    if not has_static_libc(d, env):
        return
    c = next(c for c in commands() if c.startswith("cc -static"))
    cpp = next(c for c in commands() if c.startswith("c++ -static"))
    ways = [("cc -static -O2 -flto", c), ("cc -static -O2 -Wl,--gc-sections -ffunction-sections", c),
            ("cc -static static_malloc.c", c)]
    if shutil.which("clang"):
        ways += [("clang -static -O2", c)]
        if shutil.which("ld.lld"):
            ways += [("clang -static -fuse-ld=lld", c)]
    if shutil.which("clang++"):
        ways += [("clang++ -static -O1", cpp)]
    for way, command in ways:
        is_cpp = command is cpp
        command = command.replace("c++ -static" if is_cpp else "cc -static", way)
        said = compiled(command, d, env)
        check(said is None, "%s:\n%s" % (command, said))
        if said is None:
            use(way, d, env, is_cpp)


def test_static_pie(d, env):
    for command in [c for c in commands() if " -static " in c]:
        is_cpp = command.startswith("c++")
        command = command.replace("-static", "-static-pie -fPIE", 1)
        said = compiled(command, d, env)
        check(said is None, "%s:\n%s" % (command, said))
        if said is None:
            use("static PIE", d, env, is_cpp)
            if with_http and not is_cpp:
                serve("static PIE", d + "/service", env, d)


def main():
    with tempfile.TemporaryDirectory() as d:
        root, work = d + "/root", d + "/work"
        os.mkdir(work)
        subprocess.run([os.environ.get("MESON", "meson"), "install", "-C", build, "--no-rebuild",
                        "--destdir", root], stdout=subprocess.DEVNULL, check=True)
        for name, to in (("static.c", "service.c"), ("static.cc", "service.cc"),
                         ("static_malloc.c", "static_malloc.c"), ("../support/check.h", "check.h"),
                         ("../support/text_profile.h", "text_profile.h")):
            with open(os.path.join(HERE, name)) as f, open("%s/%s" % (work, to), "w") as out:
                out.write("" if with_http else "#define WITHOUT_HTTP\n")
                out.write(f.read())
        env = environment(root)
        test_commands_of_the_manual(work, env)
        test_other_ways_to_be_static(work, env)
        test_static_pie(work, env)
    return report()


if __name__ == "__main__":
    sys.exit(main())
