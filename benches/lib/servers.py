"""Servers that send one stream to everybody: started on free ports of 127.0.0.1, pinned, with limits out of the way."""

import atexit
import http.client
import os
import shutil
import subprocess
import tempfile
import time
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from machine import ROOT, Process, fail, free_port, missing


class NotPlaying(Exception):
    """A server that does not send its stream, with the reason."""


class Server:
    """What can be loaded: has a name, a URL, and while it runs perhaps a pid. Use it with `with`."""

    url = ""
    pid = None
    # Whether there is a rate to be told to funnel-load because the stream does not say it.
    says_rate = True

    def __init__(self, bench, name):
        self.bench, self.name, self.processes = bench, name, []

    def __enter__(self):
        try:
            self.start()
            return self
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    @property
    def how(self):
        """How it runs, in Markdown."""
        return self.url

    def start(self):
        """Until it plays."""

    def stop(self):
        """In the opposite order."""
        while self.processes:
            self.processes.pop().stop()

    def run(self, *command, **options):
        """Starts a process that ends with this server."""
        log = self.bench.folder / f"{self.name.replace(' ', '-')}.log"
        self.processes.append(Process(command, log, **options))
        return self.processes[-1]

    def wait_until(self, plays, process, seconds=30):
        """Until `plays()`; a process that ends before is an error."""
        give_up = time.monotonic() + seconds
        while not plays():
            if not process.running() or time.monotonic() > give_up:
                raise NotPlaying(f"{self.name} does not play: {process.tail()}")
            time.sleep(0.2)


class Funnel(Server):
    """The server: a probe channel by default, or the channel table given. `scheme` is what viewers speak: mms, mmsh, http, https."""

    def __init__(self, bench, name="funnel", train_ms=200, bits=300_000, workers=1, core=0, source=None, channel="", scheme="mms"):
        super().__init__(bench, name)
        self.train_ms, self.workers, self.core, self.channel, self.scheme = train_ms, workers, core, channel, scheme
        self.port = None
        self.source = source or f'{{ kind = "probe", bits_per_second = {bits}, packet_bytes = 1444 }}'

    @property
    def how(self):
        more = f", `{self.channel}`" if self.channel else ""
        return (f"`taskset -c {self.core} funnel serve` with `source = {self.source}`, `train_ms = {self.train_ms}`, "
                f"`workers = {self.workers}`{more}")

    def start(self):
        ports = {scheme: free_port() for scheme in ("mms", "http", "https")}
        self.port = ports[self.scheme.replace("mmsh", "http")]
        https, tls = "", ""
        if self.scheme == "https":
            https, tls = f'https = ["127.0.0.1:{self.port}"]\n', f"\n[tls]\n{self.certificate()}"
        config = self.bench.folder / f"{self.name.replace(' ', '-')}.toml"
        config.write_text(f'[channels.probe]\nsource = {self.source}\ntrain_ms = {self.train_ms}\n{self.channel}\n\n'
                          f'[listen]\nmms = ["127.0.0.1:{ports["mms"]}"]\nhttp = ["127.0.0.1:{ports["http"]}"]\n{https}'
                          f'\n[server]\nworkers = {self.workers}\n{tls}')
        self.url = f"{self.scheme}://127.0.0.1:{self.port}/probe"
        server = self.run(self.bench.tools / "funnel", "serve", "--config", config, core=self.core)
        self.pid = server.pid
        probe = [self.bench.tools / "funnel", "probe", "--timeout", "1s", f"mms://127.0.0.1:{ports['mms']}/probe"]
        self.wait_until(lambda: subprocess.run(probe, capture_output=True).returncode == 0, server)

    def certificate(self):
        """The lines for one that signs itself."""
        files = {name: self.bench.folder / f"{name}.pem" for name in ("certificate", "key")}
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=127.0.0.1", "-out", files["certificate"], "-keyout", files["key"]], check=True, capture_output=True)
        return "".join(f'{name} = "{path}"\n' for name, path in files.items())


class Bare(Server):
    """The floor: no protocol, no sessions, the same packets at the same times."""

    def __init__(self, bench, name="bare sender", by="sendmsg", train_ms=200, bits=300_000, head_bytes=8, core=0, flat=False):
        super().__init__(bench, name)
        self.core = core
        pieces = ["--head-bytes", 0, "--flat"] if flat else ["--head-bytes", head_bytes]
        self.words = ["--by", by, "--train-ms", train_ms, "--bits-per-second", bits, *pieces]

    @property
    def how(self):
        return f"`taskset -c {self.core} bare-sender {' '.join(map(str, self.words))}`"

    def start(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        server = self.run(self.bench.tools / "bare-sender", "--listen", f"127.0.0.1:{port}", *self.words, core=self.core)
        self.pid = server.pid
        self.wait_until(lambda: plays(self.url), server)


class Vlc(Server):
    """VLC's mmsh output. Marks do not survive its remuxing (it drops script commands), so it relays real media of
    300 kb/s: a funnel on the tester's core plays the repository's file in a loop."""

    needs = ("cvlc", "taskset", "setpriv")

    def start(self):
        media = ROOT / "testdata/media/av-300k.wmv"
        source = Funnel(self.bench, "source of vlc", core=self.bench.tester_core, source=f'{{ kind = "file", path = "{media}" }}')
        self.processes.append(source)
        source.start()
        port = free_port()
        # As Windows Media Player asks: VLC answers everybody else with the header alone.
        self.url = f"mmsh://127.0.0.1:{port}/probe"
        server = self.run("cvlc", "--no-interact", source.url, "--sout", f"#std{{access=mmsh,mux=asfh,dst=127.0.0.1:{port}/probe}}",
                          core=self.bench.server_core, unprivileged=True, env={"HOME": str(self.bench.open_folder)})
        self.pid = server.pid
        self.wait_until(lambda: plays(self.url), server)


class Icecast(Server):
    """Icecast 2, fed with the bare sender's stream by curl: packet by packet as an encoder would, or in trains, which spares
    it wake-ups. It keeps no ASF header for those who come later: to them it is a stream of bytes, without marks."""

    needs = ("icecast2", "curl", "taskset", "setpriv")
    says_rate = False

    def __init__(self, bench, name="icecast", feed_ms=20):
        super().__init__(bench, name)
        self.feed_ms = feed_ms

    def start(self):
        port, folder = free_port(), self.bench.open_folder
        config = folder / "icecast.xml"
        config.write_text(ICECAST.format(port=port, folder=folder))
        self.url = f"http://127.0.0.1:{port}/probe"
        server = self.run("icecast2", "-c", config, core=self.bench.server_core, unprivileged=True)
        self.pid = server.pid
        time.sleep(1)
        source = Bare(self.bench, "source of icecast", train_ms=self.feed_ms, bits=self.bench.bits, head_bytes=0,
                      core=self.bench.tester_core)
        self.processes.append(source)
        source.start()
        tester = self.bench.tester_core
        # Into a pipe, not to Icecast directly: curl can either get or put.
        get = self.run("curl", "-sSN", source.url, core=tester, stdout=subprocess.PIPE)
        self.run("curl", "-sS", "-X", "PUT", "-T", "-", "-u", "source:source", "-H", "Content-Type: application/octet-stream",
                 self.url, core=tester, stdin=get.child.stdout)
        self.wait_until(lambda: plays(self.url), server)


class Given(Server):
    """Whatever the user has running."""

    says_rate = False

    def __init__(self, bench, name, url, pid=None):
        super().__init__(bench, name)
        self.url, self.pid = url, pid


def plays(url):
    """Whether somebody who asks as a player gets media."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=3)
    try:
        connection.request("GET", place.path, headers={"User-Agent": "NSPlayer/7.10.0.3059", "Pragma": "xPlayStrm=1"})
        response = connection.getresponse()
        return response.status == 200 and len(response.read(8_000)) > 4_000
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Bench:
    """Where the programs are, where files go, which core is whose."""

    def __init__(self, tools, folder, server_core=0, tester_core=1, bits=300_000):
        self.tools, self.folder = tools, Path(folder).resolve()
        self.server_core, self.tester_core, self.bits = server_core, tester_core, bits
        self.folder.mkdir(parents=True, exist_ok=True)
        if problem := missing("taskset"):
            fail(problem)

    @cached_property
    def open_folder(self):
        """For programs that run as nobody; gone at the end."""
        folder = Path(tempfile.mkdtemp(prefix="funnel-bench-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        if os.getuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
        return folder


# Limits out of the way; no burst for newcomers, so that everybody is equally near to live.
ICECAST = """<icecast>
  <limits>
    <clients>30000</clients><sources>4</sources><queue-size>4194304</queue-size>
    <burst-on-connect>0</burst-on-connect><burst-size>0</burst-size>
  </limits>
  <authentication>
    <source-password>source</source-password><admin-user>admin</admin-user><admin-password>source</admin-password>
  </authentication>
  <hostname>localhost</hostname><location>here</location><admin>nobody@localhost</admin>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <fileserve>0</fileserve>
  <paths>
    <logdir>{folder}</logdir><webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot>
  </paths>
  <logging><accesslog>icecast-access.log</accesslog><errorlog>icecast-error.log</errorlog><loglevel>2</loglevel></logging>
</icecast>
"""
