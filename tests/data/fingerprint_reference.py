#!/usr/bin/env python3
"""The fingerprint format, simple to a fault. Prints the test vectors beside this file.

    python3 fingerprint_reference.py > fingerprints.json
"""

import json
import struct

M64, M126, M127, M128 = (1 << 64) - 1, (1 << 126) - 1, (1 << 127) - 1, (1 << 128) - 1


def chacha_block(key, counter, nonce):
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
    start += struct.unpack("<8L", key) + (counter,) + struct.unpack("<3L", nonce)
    s = list(start)

    def quarter(a, b, c, d):
        for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            v = s[z] ^ s[x]
            s[z] = (v << bits | v >> (32 - bits)) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16L", *((a + b) & 0xFFFFFFFF for a, b in zip(s, start)))


class Key:
    def __init__(self, raw):
        stream = b"".join(chacha_block(raw, i, b"pointsman v1") for i in range(24))
        words = iter(struct.unpack("<192Q", stream))
        wide = lambda: next(words) | next(words) << 64
        self.id = next(words) & 0xFFFFFFFF
        low, high = next(words) >> 4, next(words) >> 4
        self.chain = low | high << 64
        self.base = [wide() for _ in range(3)]
        self.carry = wide()
        self.digest = [wide() for _ in range(3)]
        self.seed = [wide() for _ in range(3)]
        self.nh = [next(words) for _ in range(32)]
        self.positions = [(wide(), wide()) for _ in range(32)]


def canonical(p):
    """A chain value as every implementation must represent it: folded once, not reduced."""
    return (p & M127) + (p >> 127)


def step(key, p, coefficient):
    low, high = p & M64, p >> 64
    k_low, k_high = key.chain & M64, key.chain >> 64
    middle = low * k_high + high * k_low
    middle_low = (middle & ((1 << 63) - 1)) << 64
    total = low * k_low + 2 * high * k_high + (middle >> 63) + middle_low + coefficient
    assert total <= M128
    return canonical(total)


def nh(key, block):
    words = struct.unpack("<%dQ" % (len(block) // 8), block)
    total = 0
    for i in range(0, len(words), 2):
        total += ((words[i] + key.nh[i]) & M64) * ((words[i + 1] + key.nh[i + 1]) & M64)
    return total & M128


def multilinear(keys, p):
    return (keys[0] + keys[1] * (p & M64) + keys[2] * (p >> 64)) & M128


def fingerprint(key, data, unit, size, namespace, shaping):
    seed = 1
    for word in (namespace, shaping, size << 8 | unit):
        seed = step(key, seed, word)
    seed = multilinear(key.seed, seed) >> 64
    hashes = [h ^ seed for h in path(key, data, size)]
    total = len(data) // (4 if unit else 1)
    head = struct.pack("<BBHLQQLL", 2, unit, size, key.id, namespace, total, len(hashes), 0)
    return head + struct.pack("<%dQ" % len(hashes), *hashes)


def path(key, data, size):
    """The hashes of the whole blocks of a text that nothing stands before."""
    hashes, segments, total = [], 1, 0
    for i in range(len(data) // size):
        value = nh(key, data[i * size : (i + 1) * size])
        a, b = key.positions[i % 32]
        total += a * (value & M64) + b * (value >> 64)
        hashes.append((multilinear(key.base, segments) + total & M128) >> 64)
        if i % 32 == 31:
            segments, total = step(key, segments, (key.carry + total & M128) >> 64), 0
    return hashes


def digest(key, data, domain):
    p = domain + 2
    for i in range(0, len(data), 256):
        block = data[i : i + 256]
        p = step(key, p, nh(key, block + b"\0" * (-len(block) % 16)) & M126)
    return multilinear(key.digest, step(key, p, len(data))) >> 64


def pattern(length):
    """The prompt of a vector: byte i is the top byte of a 32-bit product."""
    return bytes(((i * 2654435761) & 0xFFFFFFFF) >> 24 for i in range(length))


def main():
    keys = [bytes(32), bytes(range(32)), b"\xff" * 32]
    fingerprints, digests = [], []
    for raw in keys:
        key = Key(raw)
        for unit in (0, 1):
            for size in (64, 128, 192, 256):
                for length, namespace, shaping in ((0, 0, 0), (1000, 0, 0), (6148, 7, 1 << 63)):
                    wire = fingerprint(key, pattern(length), unit, size, namespace, shaping)
                    fingerprints.append(
                        dict(key=raw.hex(), unit=("text", "tokens")[unit], block_bytes=size,
                             length=length, namespace=str(namespace), shaping=str(shaping),
                             wire=wire.hex()))
        for domain in (0, 1, 255):
            for length in (0, 1, 16, 255, 256, 257, 1000):
                digests.append(dict(key=raw.hex(), domain=domain, length=length,
                                    digest="%016x" % digest(key, pattern(length), domain)))
    print(json.dumps(dict(fingerprints=fingerprints, digests=digests), indent=1))


if __name__ == "__main__":
    main()
