"""Runs of funnel-load, and what is read from their JSON."""

import json
import os
import re
import shlex
import statistics
import time
from datetime import datetime

from machine import Process


class Result:
    """One run; what was not measured is None."""

    def __init__(self, raw, command, bench):
        self.raw, self.command, self.wanted_kbps = raw, command, bench.bits / 1000
        cores = {core["core"]: core for core in raw["usage"]["cores"]}
        core = cores.get(bench.server_core, {})
        server = raw["usage"]["server"] or {}
        counts = raw["counts"]
        playing = raw["viewers_mean"]
        self.viewers = raw["asked"]["viewers"]
        self.playing = playing
        self.cpu_us = server.get("cpu_us_per_viewer_s")
        self.cores = server.get("cores")
        self.resident = server.get("resident_bytes")
        self.overflows = server.get("listen_overflows")
        self.busy = core.get("busy")
        self.busy_us = self.busy * 1e6 / playing if self.busy is not None and playing else None
        self.steal = max((one["steal"] for one in cores.values()), default=None)
        self.load = os.getloadavg()[0]
        self.tester = raw["usage"]["own_busiest_worker"]
        self.delay_p50 = self.percentile("delay_ms", "p50")
        self.delay_p99 = self.percentile("delay_ms", "p99")
        self.delay_max = self.percentile("delay_ms", "max")
        self.first_p99 = self.percentile("first_packet_ms", "p99")
        self.gap_ms = self.percentile("gap_ms", "mean")
        self.per_s = 1000 / self.gap_ms if self.gap_ms else None
        self.missing = counts["missing"] if raw["served"]["marked"] else None
        self.bad = counts["duplicate"] + counts["reordered"] + counts["corrupt"]
        failed = counts["failed"]
        self.failed = sum(failed.values())
        self.failures = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in failed.items() if count)
        rate = raw["rate_percent"] or {}
        nominal = raw["served"]["bits_per_s"]
        # What was received; the nominal rate may be wrong (VLC's header says twice what it sends).
        self.kbps, self.kbps_p1 = (rate[name] * nominal / 100_000 if rate and nominal else None for name in ("p50", "p1"))
        self.warnings = raw["warnings"]

    def percentile(self, distribution, name):
        """Of one of the distributions, ms."""
        values = self.raw.get(distribution)
        return values[name] if values and values["count"] else None

    @property
    def holds(self):
        """Everybody came, stayed, and got the whole stream, as far as can be seen."""
        return self.failed == 0 and not self.missing and (self.kbps_p1 is None or self.kbps_p1 >= 0.95 * self.wanted_kbps)

    @property
    def fault(self):
        """Why it does not hold; empty if it does."""
        if self.holds:
            return ""
        lost = f"{self.missing} packets missing" if self.missing else ""
        return self.failures or lost or f"1 % of viewers got at most {self.kbps_p1:.0f} kb/s"

    @property
    def began(self):
        """As seconds since 1970."""
        return datetime.fromisoformat(self.raw["began"].replace("Z", "+00:00")).timestamp()

    def summary(self):
        """For JSON lines."""
        return {name: value for name, value in vars(self).items() if name != "raw"}


class Tester:
    """A funnel-load in the background, on the tester's core."""

    def __init__(self, bench, server, name, words):
        stem = f"{name}-{server.name}-{time.strftime('%H%M%S')}".replace(" ", "-").replace("/", "-")
        self.bench, self.json = bench, bench.folder / f"{stem}.json"
        words = [*words, "--cores", bench.tester_core, "--plain"]
        words += [] if server.says_rate else ["--rate", f"{bench.bits}b/s"]
        words += ["--server-pid", server.pid] if server.pid else []
        self.command = shlex.join(["funnel-load", *map(str, words)])
        program = [bench.tools / "funnel-load", *words, *(["--json", self.json] if "search" not in words else [])]
        self.process = Process(program, bench.folder / f"{stem}.log", core=bench.tester_core)

    def over(self):
        """Waits for its end. Whether it could measure; if not, the reason is on the screen."""
        code = self.process.wait()
        if code not in (0, 1):
            print(f"    funnel-load could not measure (exit code {code}): {self.process.tail()}", flush=True)
        return code in (0, 1)


class Run(Tester):
    """So many viewers for so long."""

    def __init__(self, bench, server, viewers, seconds, extra=(), name="run", workers=1):
        words = [server.url, "--viewers", viewers, "--duration", f"{seconds}s", "--workers", workers, *extra]
        super().__init__(bench, server, f"{name}-{viewers}", words)

    def finish(self):
        """Its result, when it is over; None if it could not measure at all."""
        return Result(json.loads(self.json.read_text()), self.command, self.bench) if self.over() else None


class Search(Tester):
    """A search for the largest number of viewers."""

    def __init__(self, bench, server, require, seconds, least, most, name="search"):
        self.server, self.seconds, self.name = server, seconds, name
        words = ["search", server.url, "--require", require, "--duration", f"{seconds}s", "--min", least, "--max", most, "--workers", 1]
        super().__init__(bench, server, f"{name}-search", words)

    def finish(self):
        """The result of one more run with the number found; None if none met the requirements."""
        found = re.search(r"^(\d+) viewers met ", self.process.log.read_text(), re.MULTILINE) if self.over() else None
        if not found:
            return None
        time.sleep(2)  # the server forgets the last step's viewers
        return Run(self.bench, self.server, int(found[1]), self.seconds, name=f"{self.name}-found").finish()


def measured(results, field):
    """The values of a field that were measured."""
    values = (getattr(result, field) for result in results if result is not None)
    return [value for value in values if value is not None]


def spread(values, digits=1, unit="", scale=1.0):
    """Median and range as text."""
    values = [value * scale for value in values if value is not None]
    if not values:
        return "n/a"
    middle, low, high = statistics.median(values), min(values), max(values)
    if f"{low:.{digits}f}" == f"{high:.{digits}f}":
        return f"{middle:,.{digits}f}{unit}"
    return f"{middle:,.{digits}f}{unit} ({low:,.{digits}f}–{high:,.{digits}f})"


def table(head, rows):
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
