#!/usr/bin/env python3
"""Writes the .nsc files of this folder: testdata/nsc/make.py. An encoder of its own, so that ours has something to agree with."""
import os
import struct
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz{}"


def block(data, key=0, crc=None, length=None):
    body = struct.pack(">II", key, len(data) if length is None else length) + data
    if crc is None:
        crc = 0
        for byte in body:
            crc ^= byte
    bits = "".join(format(byte, "08b") for byte in bytes([crc]) + body)
    bits += "0" * (-len(bits) % 6)
    return "02" + "".join(ALPHABET[int(bits[at:at + 6], 2)] for at in range(0, len(bits), 6))


def text(value):
    return block((value + "\0").encode("utf-16-le"))


def header(name):
    with open(os.path.join(HERE, "..", "media", name), "rb") as f:
        data = f.read()
    return data[:struct.unpack_from("<Q", data, 16)[0] + 50]


def form(data, key=None):
    return block(data, zlib.crc32(data) & 0x7FF if key is None else key)


def write(name, lines, end="\r\n"):
    with open(os.path.join(HERE, name), "w", newline="", encoding="latin-1") as f:
        f.write("".join(line + end for line in lines))


# msb-nsc.md section 8: the vectors, so that a slip of this encoder shows here.
assert text("3.0") == "029G0000000008Cm0k0300000"
assert text("") == "020W0000000002000"
assert text("239.192.48.179") == "020G000000000UCW0p03a0BW0n03a0CW0k03G0E00k0340Dm0v0000"

tiny, film = header("tiny-audio.asf"), header("av-300k.wmv")

write("station.nsc", [
    "[Address]",
    "Name=" + text("MY_COMPUTER, bpp"),
    "NSC Format Version=" + text("3.0"),
    "Multicast Adapter=" + text("157.55.149.102"),
    "IP Address=" + text("239.192.48.179"),
    "IP Port=0x00004A41",
    "Time To Live=0x00000020",
    "Default Ecc=0x0000000A",
    "Log URL=" + text("http://studio.example/wmsiislog.dll"),
    "Unicast URL=" + text("mms://studio.example/bpp"),
    "Allow Splitting=0x00000001",
    "Allow Caching=0x00000001",
    "Cache Expiration Time=0x00015180",
    "Network Buffer Time=0x000001F4",
    "[Formats]",
    "Format1=" + form(tiny),
    "Description1=" + text("Windows Media"),
])
write("two-headers-ipv6.nsc", [
    "[Address]",
    "Name=" + text(""),
    "NSC Format Version=" + text("3.0"),
    "Multicast Adapter=" + text(""),
    "IP Address=" + text("ff15::48:179"),
    "IP Port=0x00007890",
    "Log URL=" + text(""),
    "Unicast URL=" + text(""),
    "[Formats]",
    "Format1=" + form(tiny),
    "Description1=" + text("caf\u00e9"),
    "Format2=" + form(film),
    "Description2=" + text(""),
])
# Windows 2000 and hands: another order, plain strings, blanks, LF, unknown keys, the checksum of the specification's sample.
write("old-and-untidy.nsc", [
    "",
    "IP Port = 0x4A41",
    "[FORMATS]",
    "description1=029W000000000SLm1f06u0P01l07S0Sm0W04q0PG1a06a0OG0000",
    "Format1\t=\t" + form(tiny, 926) + "00",
    "[Address]",
    "Player URL=http://player.example/",
    "Player Version=" + text("6.1.5.130"),
    "Distribution Limit=0x00000005",
    "IP Address=239.192.48.179",
    "IP Address=239.192.48.180",
    "Unicast URL=rtsp://studio.example/bpp",
    "a remark",
    "NSC Format Version=3.0",
    "[Station]",
    "IP Port=1234",
], end="\n")
write("damaged.nsc", [
    "[Address]",
    "Name=02not-encoded",
    "NSC Format Version=" + text("4.0"),
    "Multicast Adapter=" + text("studio"),
    "IP Address=" + text("10.0.0.1"),
    "IP Port=0x00010000",
    "Time To Live=32",
    "Default Ecc=0x0000000F",
    "Log URL=" + text("ftp://studio.example/log"),
    "Allow Caching=0x00000002",
    "[Formats]",
    "Format1=" + block(tiny, 1, length=0xFFFFFFFF),
    "Format2=" + form(tiny, 0x800),
    "Format3=" + form(tiny[:-1]),
    "Format4=" + form(b"RIFF" + bytes(60)),
    "Description5=" + text("nothing"),
])
