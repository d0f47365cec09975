"""ports.py - a port for a program that must be told one.

Between asking for a free port and the program's taking it nobody else may get it. So it is none of
those that the kernel hands out by itself, to whoever asks for port 0 or connects; and tests that run
at the same time try different ones first.
"""
import os
import socket

FIRST = 12000 # browsers refuse 10080
EACH = 8 # for a process, until it comes near those of others
tried = 0


def end_of_ours():
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
            return min(int(f.read().split()[0]), 1 << 15)
    except (OSError, ValueError):
        return 1 << 15


def free_port():
    global tried
    n = end_of_ours() - FIRST
    for _ in range(max(n, 0)):
        port = FIRST + (os.getpid() * EACH + tried) % n
        tried += 1
        try:
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
                return port
        except OSError:
            continue
    with socket.socket() as s: # the kernel hands out nearly all there are
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
