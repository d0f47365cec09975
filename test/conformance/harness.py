"""harness.py - what the conformance tests share: the demo program, and HTTP without a library.

A client of the standard library would hide half of what is looked at here (the exact header lines,
when the first byte came, what a connection does after an odd request), so requests are bytes and
answers are parsed by hand.
"""
import os
import select
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402,F401 (for all who have this module)

SUITE_LIMIT_S = 150 # for all of a test; one that waits for ever is ended and fails
ANSWER_LIMIT_S = 30 # for one answer; generous, since the machine may be busy


def equal(got, want, what):
    return check(got == want, "%s: got %r, want %r" % (what, got, want))


def limit_time(factor=1):
    signal.alarm(factor * SUITE_LIMIT_S)


class Answer:
    """Status, headers (names in lower case, each with the list of its values) and body."""

    def __init__(self, status, headers, body, complete, first_byte_s, seconds):
        self.status, self.headers, self.body = status, headers, body
        self.complete = complete # as long as announced, or ended by the end of the connection
        self.first_byte_s, self.seconds = first_byte_s, seconds

    def header(self, name):
        values = self.headers.get(name.lower())
        return None if values is None else ", ".join(values)

    def __repr__(self):
        return "Answer(%s, %r)" % (self.status, self.body[:80])


class Connection:
    """A connection that may ask several times. `where` is (host, port) or a Unix socket's path;
    one that begins with '@' is in the abstract name space."""

    def __init__(self, where, timeout_s=ANSWER_LIMIT_S, receive_buffer=None):
        family = socket.AF_UNIX if isinstance(where, str) else (
            socket.AF_INET6 if ":" in where[0] else socket.AF_INET)
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if isinstance(where, str) and where[0] == "@":
            where = "\0" + where[1:]
        self.socket.connect(where)
        self.data = b""

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def request(self, target, method="GET", headers=(), body=None, host="localhost", version="1.1"):
        lines = ["%s %s HTTP/%s" % (method, target, version)]
        if host is not None:
            lines.append("Host: " + host)
        lines += ["%s: %s" % h for h in headers]
        if body is not None:
            lines.append("Content-Length: %d" % len(body))
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))

    def _more(self):
        try:
            piece = self.socket.recv(65536)
        except ConnectionResetError:
            piece = b""
        self.data += piece
        return bool(piece)

    def answer(self, head_only=False):
        """Read one answer; None when the connection ends before one is complete."""
        begin = time.monotonic()
        first = None
        while b"\r\n\r\n" not in self.data:
            if not self._more():
                return None
            first = first or time.monotonic()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers.setdefault(name.lower(), []).append(value.strip())
        complete = True
        if head_only:
            body = b""
        elif "content-length" in headers:
            size = int(headers["content-length"][0])
            while len(self.data) < size and self._more():
                pass
            body, self.data = self.data[:size], self.data[size:]
            complete = len(body) == size
        elif "chunked" in headers.get("transfer-encoding", []):
            body = self._chunks()
        else:
            while self._more():
                pass
            body, self.data = self.data, b""
        now = time.monotonic()
        return Answer(status, headers, body, complete, (first or now) - begin, now - begin)

    def _chunks(self):
        body = b""
        while True:
            while b"\r\n" not in self.data:
                if not self._more():
                    return body
            size, self.data = self.data.split(b"\r\n", 1)
            size = int(size, 16)
            while len(self.data) < size + 2 and self._more():
                pass
            body, self.data = body + self.data[:size], self.data[size + 2:]
            if size == 0:
                return body

    def ended(self, within_s):
        """The server ends the connection, within that time."""
        self.socket.settimeout(within_s)
        try:
            while self.socket.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except socket.timeout:
            return False

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ask(where, target, method="GET", **options):
    """One request on a connection of its own; None when it ends without an answer."""
    timeout_s = options.pop("timeout_s", ANSWER_LIMIT_S)
    with Connection(where, timeout_s) as c:
        c.request(target, method, **options)
        return c.answer(head_only=method == "HEAD")


def place(address):
    """Where to connect for an address as prof_http_address() gives it."""
    if address.startswith("unix:"):
        return address[5:]
    host, port = address.rsplit(":", 1)
    host = host.strip("[]")
    return ("::1" if host == "::" else host, int(port))


def descriptors(pid, tid=None):
    """{number: what it is} in the table that the thread uses; the main thread's by default."""
    base = "/proc/%d/task/%d/fd" % (pid, tid or pid)
    out = {}
    for number in os.listdir(base):
        try:
            out[int(number)] = os.readlink("%s/%s" % (base, number))
        except FileNotFoundError:
            pass # closed meanwhile
    return out


class Demo:
    """server_demo.c at work. `where` is where it listens, after start()."""

    def __init__(self, path, *arguments, env=None, program=None):
        self.process = subprocess.Popen(
            [program or path] + list(arguments), executable=path, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env=dict(os.environ, **(env or {})))
        self.pid = self.process.pid
        self.where = None

    def tell(self, *words):
        self.process.stdin.write((" ".join(words) + "\n").encode())
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], ANSWER_LIMIT_S)
        if not ready:
            raise TimeoutError("no answer to " + " ".join(words))
        return self.process.stdout.readline().decode().rstrip("\n")

    def start(self, address="127.0.0.1:0", *token):
        r = self.tell("start", address, *token)
        if r == "0":
            self.where = place(self.tell("address"))
        return r

    def threads(self):
        """{name: thread id} of its threads."""
        names = {}
        base = "/proc/%d/task" % self.pid
        for tid in os.listdir(base):
            try:
                with open("%s/%s/comm" % (base, tid)) as f:
                    names[f.read().strip()] = int(tid)
            except FileNotFoundError:
                pass
        return names

    def status(self, tid=None):
        """The lines of /proc/PID/task/TID/status, as a dictionary."""
        with open("/proc/%d/task/%d/status" % (self.pid, tid or self.pid)) as f:
            return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)

    def descriptors(self, tid=None):
        return descriptors(self.pid, tid)

    def end(self):
        """Let main() return. The exit status."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            status = self.process.wait(ANSWER_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdout.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            equal(self.end(), 0, "exit status of the program")


def eventually(holds, within_s=ANSWER_LIMIT_S):
    """Poll until it holds. For what another process does in its own time."""
    end = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


if __name__ == "__main__":
    sys.exit("run one of the tests beside this file")
