"""browser.py - a headless Chromium for tests, driven through Debian's chromedriver.

Only the few WebDriver commands that are needed, over the standard library. Nothing is looked up or
fetched from outside: the driver and the pages are on loopback.
"""
import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from ports import free_port

COMMAND_LIMIT_S = 90
START_LIMIT_S = 60

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--disable-default-apps", "--disable-extensions",
         "--hide-scrollbars", "--force-color-profile=srgb"]


class BrowserError(Exception):
    pass


def missing():
    """What is not installed, or None."""
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            return program
    return None


class Browser:
    """with Browser(width=1200, height=800, dark=False) as b: ..."""

    def __init__(self, width=1200, height=800, dark=False):
        self.folder = tempfile.mkdtemp(prefix="browser-")
        self.downloads = os.path.join(self.folder, "downloads")
        os.mkdir(self.downloads)
        port = free_port()
        self.base = "http://127.0.0.1:%d" % port
        self.session = None
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=%d" % port], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env=dict(os.environ, HOME=self.folder))
        try:
            self._await_driver()
            flags = FLAGS + ["--user-data-dir=" + os.path.join(self.folder, "data"),
                             "--window-size=%d,%d" % (width, height)]
            if dark:
                flags.append("--force-dark-mode")
                flags.append("--blink-settings=preferredColorScheme=0")
            options = {"args": flags, "binary": shutil.which("chromium"), "prefs": {
                "download.default_directory": self.downloads}}
            made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome", "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL"}}}})
            self.session = "/session/" + made["sessionId"]
            self._call("POST", self.session + "/timeouts",
                       {"script": COMMAND_LIMIT_S * 1000, "pageLoad": COMMAND_LIMIT_S * 1000})
            self.cdp("Browser.setDownloadBehavior",
                     {"behavior": "allow", "downloadPath": self.downloads})
            self.size = {"width": width, "height": height, "deviceScaleFactor": 1}
            self.cdp("Emulation.setDeviceMetricsOverride", dict(self.size, mobile=False))
        except BaseException:
            self.close()
            raise

    def _await_driver(self):
        end = time.monotonic() + START_LIMIT_S
        while True:
            try:
                if self._call("GET", "/status").get("ready"):
                    return
            except (OSError, BrowserError):
                if time.monotonic() > end or self.driver.poll() is not None:
                    raise BrowserError("chromedriver does not start")
            time.sleep(0.1)

    def _call(self, method, path, body=None):
        request = urllib.request.Request(
            self.base + path, method=method, headers={"Content-Type": "application/json"},
            data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=COMMAND_LIMIT_S + 10) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as e:
            value = json.loads(e.read())["value"]
            raise BrowserError("%s: %.1500s" % (value["error"], value["message"])) from None

    def command(self, name, body=None, method="POST"):
        return self._call(method, self.session + name, body if method == "GET" else body or {})

    def cdp(self, name, params):
        return self.command("/goog/cdp/execute", {"cmd": name, "params": params})

    def touch(self):
        """Be a phone: fingers instead of a pointer."""
        self.cdp("Emulation.setDeviceMetricsOverride", dict(self.size, mobile=True))
        self.cdp("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def open(self, url):
        self.command("/url", {"url": url})

    def run(self, script, *arguments):
        """The value of an async function body; `app` is the page's app.js, `a` the arguments."""
        value = self.command("/execute/async", {"script": """
            const done = arguments[arguments.length - 1], a = [...arguments].slice(0, -1);
            (async () => {
              const app = document.querySelector('script[src="app.js"]')
                ? await import(new URL("app.js", location)) : null;
            %s
            })().then((value) => done({value: value === undefined ? null : value}),
                      (error) => done({error: String(error && error.stack || error)}));
            """ % script, "args": list(arguments)})
        if "error" in value:
            raise BrowserError(value["error"])
        return value["value"]

    def wait(self, condition, what, limit_s=60):
        """Until the expression is true. For what the page does in its own time."""
        end = time.monotonic() + limit_s
        while not self.run("return Boolean(%s);" % condition):
            if time.monotonic() > end:
                raise BrowserError("not within %d s: %s" % (limit_s, what))
            time.sleep(0.05)

    def element(self, selector):
        found = self.command("/element", {"using": "css selector", "value": selector})
        return "/element/" + next(iter(found.values()))

    def click(self, selector):
        self.command(self.element(selector) + "/click")

    def type(self, selector, text):
        self.command(self.element(selector) + "/value", {"text": text})

    def keys(self, *keys):
        """Press keys, one after the other, wherever the focus is."""
        actions = []
        for key in keys:
            actions += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.command("/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def log(self):
        """Console messages and violations of the policy since the last call."""
        return self.command("/se/log", {"type": "browser"})

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.command("/screenshot", method="GET")))

    def close(self):
        if self.session:
            try:
                self._call("DELETE", self.session)
            except (OSError, BrowserError):
                pass
        try: # its own group: the driver and what is left of its browser
            os.killpg(self.driver.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.driver.wait()
        for _ in range(50): # the browser's last processes may still be writing
            shutil.rmtree(self.folder, ignore_errors=True)
            if not os.path.exists(self.folder):
                break
            time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
