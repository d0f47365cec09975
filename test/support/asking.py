"""asking.py - every page of a server, as a test asks for it, through a Unix socket."""
import socket

# One request each; all of them are answered 200 by a program of which nothing is withheld.
PAGES = ["/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/pprof/heap",
         "/debug/pprof/heap?debug=1", "/debug/pprof/allocs", "/debug/pprof/heap?seconds=1",
         "/debug/pprof/block", "/debug/pprof/mutex", "/debug/pprof/threadcreate?debug=1",
         "/debug/pprof/goroutine", "/debug/pprof/goroutine?debug=2", "/debug/pprof/profile?seconds=1",
         "/metrics"]


def connect(path, timeout_s=60):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(timeout_s)
    s.connect("\0" + path[1:] if path[0] == "@" else path)
    return s


def send(s, page, method="GET"):
    s.sendall(("%s %s HTTP/1.0\r\nHost: localhost\r\n\r\n" % (method, page)).encode())


def receive(s):
    """(status, body) of an answer, up to the end of the connection; 0: there is none."""
    data = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            data += piece
    except OSError:
        return 0, data
    head, _, body = data.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head.startswith(b"HTTP/") else 0), body


def ask(path, page, timeout_s=60):
    """The same; 0 also when nobody is there."""
    try:
        with connect(path, timeout_s) as s:
            send(s, page)
            return receive(s)
    except OSError:
        return 0, b""
