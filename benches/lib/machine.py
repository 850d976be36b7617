"""This machine, the programs built here, and processes started and stopped."""

import atexit
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"icecast2": "icecast2", "cvlc": "vlc-bin vlc-plugin-base vlc-plugin-access-extra", "curl": "curl",
            "openssl": "openssl", "taskset": "util-linux", "setpriv": "util-linux", "unshare": "util-linux", "ip": "iproute2", "ethtool": "ethtool"}


def fail(sentence):
    """Ends the program with a sentence."""
    sys.exit(f"{Path(sys.argv[0]).name}: {sentence}")


def missing(*programs):
    """The sentence about programs that are not installed; empty if all are."""
    absent = [program for program in programs if shutil.which(program) is None]
    packages = sorted({name for program in absent for name in PACKAGES[program].split()})
    return f"{', '.join(absent)} missing; install with: apt-get install {' '.join(packages)}" if absent else ""


def build():
    """Builds funnel, funnel-load and bare-sender; the folder they are in."""
    packages = ["-p", "funnel", "-p", "funnel-load", "-p", "funnel-benches"]
    command = ["cargo", "build", "--release", "--locked", *packages]
    if subprocess.run(command, cwd=ROOT, stdout=sys.stderr).returncode != 0:
        fail("the programs to be measured do not build")
    return Path(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), "release")


def raise_limits():
    """As many descriptors as allowed, for this process and all it starts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def describe():
    """The machine in a few lines of Markdown."""
    def read(path):
        return Path(path).read_text(encoding="utf-8").strip()
    model = next((line.split(":")[1].strip() for line in read("/proc/cpuinfo").splitlines()
                  if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return "\n".join([
        f"- {os.cpu_count()} cores, {model}, Linux {platform.release()}, commit {commit or 'unknown'}, {time.strftime('%F %H:%M')}",
        f"- descriptors a process may have: {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}; net.core.somaxconn: "
        f"{read('/proc/sys/net/core/somaxconn')}; load average at the start: {read('/proc/loadavg').rsplit(' ', 2)[0]}",
    ])


def free_port():
    """A port nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pid):
    """What all threads of a process have used, by the scheduler's count."""
    # The first number is ns on a processor.
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def established(port):
    """TCP connections over IPv4 to a port of this machine, seen from its side."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return sum(fields[1].endswith(f":{port:04X}") and fields[3] == "01" for fields in map(str.split, lines))


class Process:
    """A program in the background, on one core, its output in a file. Stopped with this program at the latest."""

    def __init__(self, command, log, core=None, env=None, unprivileged=False, **options):
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        if unprivileged and os.getuid() == 0:
            command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
        self.log = Path(log)
        self.command = [str(word) for word in command]
        # The log is opened before any change of user. taskset and setpriv replace themselves: the pid is the program's.
        with open(self.log, "ab") as output:
            self.child = subprocess.Popen(self.command, stdout=options.pop("stdout", output), stderr=output,
                                          env={**os.environ, **(env or {})}, **options)
        self.pid = self.child.pid
        atexit.register(self.stop)

    def running(self):
        """Whether it has not ended."""
        return self.child.poll() is None

    def stop(self, patience=10):
        """Asks it to end, then makes it."""
        if self.running():
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        atexit.unregister(self.stop)

    def wait(self):
        """Its exit code, at its own time."""
        code = self.child.wait()
        atexit.unregister(self.stop)
        return code

    def tail(self):
        """The last lines it wrote."""
        return " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-3:])
