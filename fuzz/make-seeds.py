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
                               "mms://example.org/live\u00a0#x", "https://ann:p%40ss@example.org/x", "mmsh://[::1]:8080/x?y",
                               "//other:81/x", "../y?z"]):
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

# wmsp.md section 5.4 (ffmpeg), 22.1 and 26; two bytes in front of each stream: request or response, and the steps
GUID = "Pragma: xClientGUID={c77e7400-738a-11d2-9add-0020af0a3278}\r\n"
PLAY = ("GET /live HTTP/1.1\r\nRange: bytes=0-\r\nAccept: */*\r\nUser-Agent: NSPlayer/4.1.0.3856\r\nHost: h:8080\r\n"
        "Pragma: no-cache,rate=1.000000,request-context=2\r\nPragma: xPlayStrm=1\r\n" + GUID +
        "Pragma: stream-switch-count=2\r\nPragma: stream-switch-entry=ffff:1:0 ffff:2:0 \r\n"
        "Pragma: no-cache,rate=1.000000,stream-time=0Connection: Close\r\n\r\n")
PUSH = ("POST /live HTTP/1.1\r\nTransfer-Encoding: chunked\r\nUser-Agent: Lavf/59.27.100\r\nExpect: 100-continue\r\nHost: h\r\n\r\n"
        "5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\nnext")
LOG = ("POST http://h//p HTTP/1.0\r\nUser-Agent: NSPlayer/12.0.7601.17514\r\nPragma: client-id=7\r\nPragma: log-line=0.0.0.0 d t - /x 0 75 1 200\r\n"
       "Content-Type: text/plain\r\nContent-Length: 4\r\nConnection: Keep-Alive\r\n\r\nbody")
ANSWER = ('HTTP/1.0 200 OK\r\nContent-Type: application/x-mms-framed\r\nServer: Cougar/9.5.6001.18281\r\n'
          'Pragma: no-cache, client-id=3077113431, features="broadcast", timeout=60000\r\nCache-Control: no-cache\r\n\r\n')
CHUNKED = ANSWER.replace("1.0", "1.1", 1).replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n")
for name, text in [("play", PLAY), ("push", PUSH), ("log", LOG)]:
    seed("wmsp_request", name, b"\0\3" + text.encode())
seed("wmsp_request", "answer", b"\1\2" + ANSWER.encode() + b"$T\0\0")
seed("wmsp_request", "chunked-answer", b"\1\2" + CHUNKED.encode() + b"4\r\n$T\0\0\r\n0\r\n\r\n")


def framed(kind, location, flags, payload):
    return b"$" + kind + struct.pack("<HIBBH", len(payload) + 8, location, 0, flags, len(payload) + 8) + payload


CDL = (b'playlist-gen-id=1, broadcast-id=2, features="broadcast,playlist"\0'
       b"8,language,31,5,en-US,28,WMS_CONTENT_DESCRIPTION_ROLE,31,3,a,b\r\n7,language,31,0,\r\n")
H = framed(b"H", 0, 0x0C, header)
D = b"".join(framed(b"D", 7 + i, i, media("tiny-audio.asf")[len(header) + 128 * i:][:128]) for i in range(3))
END, CHANGE = (b"$" + kind + struct.pack("<HI", 4, reason) for kind, reason in [(b"E", 0), (b"C", 0)])
seed("wmsp_packets", "show", b"\7" + framed(b"M", 0, 0x0C, CDL) + H[:400] + D[:50])
seed("wmsp_packets", "end", b"\0" + END[:1] + b"E\x04\0\1\0\0\0" + CHANGE + b"\xA4D\x09\0\0\0\0\0\0\0\x09\0!" + b"$F\0\0" + END)
seed("wmsp_packets", "metadata", b"\x40" + CDL)
seed("wmsp_packets", "log", b"\1<XML><Summary>0.0.0.0 d t - /x 0 75 1 210 {A}</Summary><c-os>Windows_7</c-os><cs-url>a&amp;b</cs-url></XML>")


def http_steps(*pieces):
    return b"".join(struct.pack("<BH", op, len(d)) + d for op, d in pieces)


describe, play = ANSWER.encode() + H, ANSWER.encode() + H + D
other = header_bytes(media("v-compressed.asf"))
change = b"$E\x04\0\1\0\0\0" + CHANGE + framed(b"H", 0, 0x0C, other) + D
chunks = b"".join(b"%X\r\n%s\r\n" % (len(p), p) for p in (H, D, END)) + b"0\r\n\r\n"
unauthorized = b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\nContent-Length: 0\r\n\r\n'
seed("wmsp_client_session", "whole-show", b"\1" + http_steps((0, describe), (0, play), (0, END)))
seed("wmsp_client_session", "change", b"\0" + http_steps((0, describe), (0, play), (14, change), (10, b""), (14, END)))
seed("wmsp_client_session", "anew", b"\1" + http_steps((0, describe), (0, play), (0, b"$E\x04\0\1\0\0\0"), (10, b""), (0, describe), (0, play), (12, b"")))
seed("wmsp_client_session", "chunks", b"\x80" + http_steps((0, describe), (0, CHUNKED.encode() + chunks)))
seed("wmsp_client_session", "plain", b"\2" + http_steps((0, b"HTTP/1.1 200 OK\r\n\r\n" + media("tiny-audio.asf")[:2000]), (10, b"")))
seed("wmsp_client_session", "detour", b"\x40" + http_steps(
    (0, b"HTTP/1.0 302 Found\r\nLocation: /other\r\n\r\n"), (0, unauthorized), (0, describe), (8, b""), (0, unauthorized)))

# --- Pushes: steps of what (connect 0x00, bytes 0x40 | connection, close 0x10 | connection), length, bytes ---
TINY = media("tiny-audio.asf")
TINY_HEAD, TINY_SIZE = header_bytes(TINY), packet_bytes(TINY)
TINY_PACKETS = [TINY[len(TINY_HEAD) + i * TINY_SIZE:len(TINY_HEAD) + (i + 1) * TINY_SIZE] for i in range(4)]


def step(what, data):
    return bytes([what]) + struct.pack("<H", len(data)) + data


def pushed(kind, data):
    return b"$" + kind + struct.pack("<H", len(data)) + data


def chunked(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def wm(kind, cookie, fields, length):
    return (b"POST /live HTTP/1.1\r\nContent-Type: application/x-wms-push%b\r\nUser-Agent: WMEncoder/12.0\r\nCookie: push-id=%d\r\n%b"
            b"Content-Length: %d\r\n\r\n" % (kind, cookie, fields, length))


BASIC = b"Authorization: Basic dTpw\r\n"
FFMPEG = b"POST /live HTTP/1.1\r\nTransfer-Encoding: chunked\r\nUser-Agent: Lavf/59.27.100\r\nExpect: 100-continue\r\n%bConnection: close\r\n\r\n"
BODY = pushed(b"H", TINY_HEAD) + pushed(b"D", TINY_PACKETS[0]) + pushed(b"F", b"\0" * 5)
seed("push_receiver", "windows-media",
     b"\0" + step(0, wm(b"setup", 0, b"", 16) + b"AutoDestroy: 1\r\n") + step(0x40, wm(b"start", 7, b"", len(BODY)) + BODY)
     + step(0x40, wm(b"start", 7, b"", 2147483647) + pushed(b"D", TINY_PACKETS[1]) + pushed(b"E", b"\1\0\0\0"))
     + step(0x40, pushed(b"C", b"\0" * 4 + TINY_HEAD)) + step(0x10, b"") + step(0, wm(b"start", 7, b"", 2147483647))
     + step(0x40, pushed(b"D", TINY_PACKETS[2])) + step(0x40, pushed(b"E", b"\0" * 4) + wm(b"setup", 0, b"", 0)) + step(0x30, b"\0" * 600))
seed("push_receiver", "chunks",
     b"\3" + step(0, FFMPEG % b"") + step(0, FFMPEG % BASIC) + step(0x20, b"") + step(0x40, chunked(TINY_HEAD) + chunked(TINY_PACKETS[0])[:200])
     + step(0x40, chunked(TINY_PACKETS[0])[200:] + b"0\r\n\r\n"))
seed("push_receiver", "requests",
     b"\2" + b"".join(step(0 if i == 0 else 0x40, b"PUT /live HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (BASIC, len(part)) + part)
                      for i, part in enumerate([TINY_HEAD] + TINY_PACKETS)) + step(0x38, b"") + step(0x38, b""))
seed("push_receiver", "raw", b"\4" + step(7, TINY_HEAD[:100]) + step(0x40, TINY_HEAD[100:] + TINY_PACKETS[0]) + step(0x0F, TINY_HEAD) + step(0x11, b""))
seed("push_receiver", "digest",
     b"\2" + step(0, b"POST /live HTTP/1.1\r\nAuthorization: Digest username=\"u\", realm=\"funnel\", nonce=\"00\", uri=\"/live\", response=\"0\", qop=auth,"
                  b" nc=00000001, cnonce=\"0\"\r\nContent-Length: 3\r\n\r\nabc"))
