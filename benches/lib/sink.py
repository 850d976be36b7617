"""A network of our own in which datagrams cost their sender all they cost on a real one, and then vanish.

An `ifb` device has no wire: what is sent to it by itself it counts and throws away. TCP goes over the loopback device as always;
a rule ahead of the kernel's own sends UDP to 127.0.0.0/8, where the viewers are, and multicast to the sink.
"""

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from machine import fail, missing

INSIDE = "FUNNEL_BENCH_SINK"
DEVICE, ADDRESS = "sink", "192.0.2.1"
# Ethernet, IPv4, UDP: what stands before the datagrams of each send.
HEADERS = 14 + 20 + 8

TO_SINK = "pref 10 ipproto udp to 127.0.0.0/8 lookup 100"
# Where datagrams go to, and are counted.
watched = DEVICE

SET_UP = f"""
ip link set lo up mtu 1500
ip link add {DEVICE} type ifb
ip link set {DEVICE} up
ip addr add {ADDRESS}/24 dev {DEVICE}
ip rule add pref 50 lookup local
ip rule del pref 0
ip rule add {TO_SINK}
ip route add default dev {DEVICE} table 100
ip route add 239.0.0.0/8 dev {DEVICE}
"""


def enter():
    """Starts this program again inside; the network ends with its last process."""
    if problem := missing("ip", "ethtool", "unshare"):
        fail(problem)
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        try:
            os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
        except OSError as error:
            fail(f"no network namespace: {error}")
    # The stack would talk to the sink by itself, and refuse to send from 127.0.0.1 elsewhere.
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1", encoding="ascii")
    Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1", encoding="ascii")
    for line in SET_UP.strip().splitlines():
        command(*line.split())


def cut_in_device(on):
    """Whether the device takes whole trains, or the kernel cuts them before (UDP segmentation offload)."""
    command("ethtool", "-K", DEVICE, "tx-udp-segmentation", "on" if on else "off")


@contextmanager
def local_receiver(port):
    """Instead of the sink: a socket on this machine that nobody reads, for all addresses."""
    global watched
    command("ip", "rule", "del", *TO_SINK.split())
    watched = "lo"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("0.0.0.0", port))
            yield
    finally:
        watched = DEVICE
        command("ip", "rule", "add", *TO_SINK.split())


def command(*words):
    """Runs it; what goes wrong ends the program."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"{' '.join(words)}: {done.stderr.strip()} (this needs the rights of root)")


class Seen:
    """What the sink, or whoever takes its place, has been given so far."""

    def __init__(self):
        line = next(line for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines() if line.strip().startswith(f"{watched}:"))
        values = [int(value) for value in line.split(":")[1].split()]
        self.sends, self.bytes = values[1], values[0]

    def since(self, before):
        """Sends and bytes of datagrams since then."""
        sends = self.sends - before.sends
        return sends, self.bytes - before.bytes - sends * HEADERS
