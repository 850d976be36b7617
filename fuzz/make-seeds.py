#!/usr/bin/env python3
"""Writes the committed seeds of the fuzz targets: fuzz/make-seeds.py (from testdata and mmsp.md section 14)."""
import os
import re
import struct
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
MEDIA = os.path.join(HERE, "..", "testdata", "media")


def media(name):
    with open(os.path.join(MEDIA, name), "rb") as f:
        return f.read()


def seed(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "seed-" + name), "wb") as f:
        f.write(bytes(data))


def header_bytes(data):
    return data[:struct.unpack_from("<Q", data, 16)[0] + 50]


def packet_bytes(data):
    at = data.index(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    return struct.unpack_from("<I", data, at + 92)[0]


# The order is that of HEADERS in fuzz_targets/asf_normalise.rs.
FILES = ["av-300k.wmv", "mbr-3rates-mutex.wmv", "h264-aac.asf", "tiny-audio.asf", "slides-3min.asf", "v-compressed.asf", "v-lengths.asf", "v-noec.asf"]
for number, name in enumerate(FILES):
    data = media(name)
    head, size = header_bytes(data), packet_bytes(data)
    short = name.split(".")[0]
    packets = [data[len(head) + i * size:len(head) + (i + 1) * size] for i in range(3)]
    seed("asf_header", short, head)
    seed("asf_packet", short, packets[1])
    if size <= 1500:
        seed("asf_deframe", short, head + packets[0] + packets[1])
        # one byte: which header; then packets, each behind its length
        seed("asf_normalise", short, bytes([number]) + b"".join(struct.pack("<H", len(p)) + p for p in packets))
seed("asf_header", "unicode", header_bytes(media("metadata-unicode.wmv")))
for name in ["object-size-zero", "header-size-huge", "stream-data-overrun", "no-file-properties"]:
    seed("asf_header", name, media("bad-%s.asf" % name)[:800])
seed("asf_deframe", "chunks", media("live-capture.asfh")[:4000])
pipe = media("live-pipe.asf")
seed("asf_deframe", "end", header_bytes(pipe) + pipe[-158 - 576:])

# --- MMS: the worked example of docs/protocol/mmsp.md section 14 ------------------------------------
with open(os.path.join(HERE, "..", "docs", "protocol", "mmsp.md"), encoding="utf-8") as f:
    page = f.read()
section = page[page.index("## 14."):page.index("## 15.")]
to_server, to_client = [], []
for block in re.split(r"\n\n|```", section):
    lines = block.strip().split("\n")
    if not lines[0].startswith(("C>S ", "S>C ")) or "Data, " in lines[0]:
        continue
    data = bytearray()
    for line in lines[1:]:
        text = line.split(";")[0]
        zeros = re.match(r"^00 × (\d+)", text)
        if zeros:
            data += bytes(int(zeros.group(1)))
        else:
            data += bytes(int(h, 16) for h in re.findall(r"\b[0-9A-F]{2}\b", text.replace("…", "")))
    length = struct.unpack_from("<I", data, 8)[0] + 16
    data = data[:length] + bytes(max(0, length - len(data)))   # the page cuts one long name short
    (to_server if lines[0].startswith("C>S") else to_client).append((lines[0][4:].split(",")[0], bytes(data)))

assert len(to_server) == 9 and len(to_client) >= 8, (len(to_server), len(to_client))
for name, data in to_server:
    seed("mms_client_message", name, data)
for name, data in to_client:
    seed("mms_server_message", name, data)
header = header_bytes(media("tiny-audio.asf"))


def data_packet(location, tag, flags, payload):
    return struct.pack("<IBBH", location, tag, flags, len(payload) + 8) + payload


header_packet = data_packet(0, 1, 0x0C, header)
media_packets = b"".join(data_packet(7 + i, 10, i, media("tiny-audio.asf")[len(header) + 128 * i:][:128]) for i in range(3))
seed("mms_server_message", "data", header_packet + media_packets)
# one byte of script in front of each piece: how the machine is driven, see the targets
seed("mms_server_session", "whole-conversation", b"".join(struct.pack("<BH", 0, len(d)) + d for _, d in to_server))
over_udp = [d.replace("TCP".encode("utf-16-le"), "UDP".encode("utf-16-le")) for _, d in to_server]
seed("mms_server_session", "over-udp", b"".join(struct.pack("<BH", 0, len(d)) + d for d in over_udp))
answers = {name: data for name, data in to_client}
order = ["ReportConnectedEX", "ReportFunnelInfo", "ReportConnectedFunnel", "ReportOpenFile", "ReportReadBlock"]
pieces = [answers[name] for name in order] + [header_packet, answers["ReportStreamSwitch"], answers["ReportStartedPlaying"],
                                              media_packets, answers["EndOfStream"]]
seed("mms_client_session", "whole-conversation", b"\0" + b"".join(struct.pack("<BH", 0, len(d)) + d for d in pieces))
media_datagrams = [data_packet(7 + i, 10, i, bytes(20 + i)) for i in (0, 1, 4, 3, 3, 6)]
pieces = [(0, d) for d in pieces[:5]] + [(13, header_packet)] + [(0, d) for d in pieces[6:8]]
pieces += [(13, d) for d in media_datagrams] + [(0x1C, b"")] * 3 + [(13, data_packet(9, 10, 2, b"again")), (0, answers["EndOfStream"])]
pieces += [(0x6C, b"")] * 4
seed("mms_client_session", "over-udp", b"\1" + b"".join(struct.pack("<BH", op, len(d)) + d for op, d in pieces))

for number, text in enumerate(["mms://example.org/live", "mmst://[2001:db8::1]:2755/a%20b/%C3%A9.asf?WMBitrate=300000", "mmsu://10.0.0.1:1755/",
                               "MMS://user:pass@host/x", "mmst://h:99999/x",
                               "mms://example.org/live\u00a0#x"]):
    seed("url", str(number), text.encode())

NSC = os.path.join(HERE, "..", "testdata", "nsc")
for name in sorted(os.listdir(NSC)):
    if name.endswith(".nsc"):
        with open(os.path.join(NSC, name), "rb") as f:
            seed("nsc", name[:-4], f.read())
seed("nsc", "block", b"029m000000000SLm1f06u0P01l07S0Sm0W04q0PG1a06a0OG0000")
seed("nsc", "hexadecimal", b"0125000000000000000833002E0030000000")

# msb-nsc.md sections 2 and 3: a span of three, its parity packet, a beacon; each behind its length
span = [b"\x82\x11\x05one", b"\x82\x21\x05three", b"\x82\x31\x05two"]
parity = bytearray(b"\x92\x42\x05" + bytes(5))
for packet in span:
    for at in range(3, len(packet)):
        parity[at] ^= packet[at]
datagrams = [struct.pack("<IHH", min(number, 2), 0x839E, len(p) + 8) + p for number, p in enumerate(span + [bytes(parity)])]
framed = [struct.pack("<H", len(d)) + d for d in datagrams + [b"MSB "]]
seed("msb", "span", b"".join(framed[:3]))
seed("msb", "loss", b"".join(framed[:2] + framed[3:4]))
seed("msb", "beacon", framed[4])

# one byte of options, then steps: what happens (0: a datagram of the announced source), a length, the datagram
tiny_format = zlib.crc32(header) & 0x7FF


def station(spans, lost=(), stream=tiny_format):
    steps = []
    for cycle in range(spans):
        parity = bytearray(8)
        for number in range(10):
            body = bytes([cycle, number]) * (1 + number % 4)
            for at, byte in enumerate(body):
                parity[at] ^= byte
            steps.append((cycle * 10 + number, bytes([0x82, number + 1 << 4 | 1, cycle]) + body))
        steps.append((cycle * 10 + 9, bytes([0x92, 11 << 4 | 2, cycle]) + bytes(parity)))
    return [struct.pack("<IHH", id, stream, len(asf) + 8) + asf for at, (id, asf) in enumerate(steps) if at not in lost]


def steps(datagrams, options=0):
    return bytes([options]) + b"".join(struct.pack("<BH", 0, len(d)) + d for d in datagrams)


seed("multicast_receiver", "whole", steps([b"MSB "] + station(2)))
seed("multicast_receiver", "restored", steps(station(3, lost=(3, 10, 25, 32))))
seed("multicast_receiver", "two-lost", steps(station(3, lost=(3, 4, 25, 26))))
seed("multicast_receiver", "changed", steps(station(1) + station(1, stream=tiny_format | 0x8000) + [b"MSB "], options=2))
seed("multicast_receiver", "simple", steps(station(2), options=1))

# --- HTTP: the dialogues in testdata/dialogues/http, as steps of the target ---------------------------
MASK = (1 << 64) - 1


def client_id(connection):
    """The first id that a connection of the target issues."""
    state = (0xA5A500005EED0000 | connection) + 0x9E3779B97F4A7C15 & MASK
    mixed = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & MASK
    return (mixed ^ mixed >> 31) >> 32


ACTIONS = {"media": 4, "drained": 5, "other": 5 | 1 << 3, "kick": 5 | 2 << 3, "shutdown": 5 | 3 << 3, "opened": 6,
           "redirected": 6 | 7 << 3}
DIALOGUES = os.path.join(HERE, "..", "testdata", "dialogues", "http")
for name in sorted(os.listdir(DIALOGUES)):
    if not name.endswith(".txt"):
        continue
    with open(os.path.join(DIALOGUES, name), encoding="utf-8") as f:
        lines = f.read().split("\n") + [""]
    script, request, connection, ids = [], "", 1, {}
    for line in lines:
        if line.startswith(">"):
            request += line[2:].removeprefix(" ") if line.startswith(">|") else line[1:].removeprefix(" ") + "\r\n"
            continue
        if request:
            for letter, number in ids.items():
                request = request.replace(letter, str(number))
            script.append((connection - 1 & 3, request.encode()))
            request = ""
        answered = re.search(r"client-id=(\{.\})", line)
        if answered:
            ids.setdefault(answered[1], client_id(connection))
        if re.fullmatch(r"\[\d+\]", line):
            connection = int(line[1:-1])
        elif line.startswith("* wait "):
            script.append((63 << 2, bytes(min(255, int(line[7:]) * 2))))
        elif line.startswith("* ") and line.split()[1] in ACTIONS:
            script.append((ACTIONS[line.split()[1]] << 2 | connection - 1 & 3, b""))
    identity = b"\1" if any(line.startswith("with identity Cougar") for line in lines) else b"\0"
    seed("http_server_session", name[:-4], identity + b"".join(struct.pack("<BH", op, len(data)) + data for op, data in script))
