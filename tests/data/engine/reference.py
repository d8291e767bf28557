#!/usr/bin/env python3
"""A second reader of the captured KV events, written from engines' own field lists: prints what
tests/engine/captures.rs expects. `python3 reference.py > expected.txt` writes it anew."""

import glob
import os
import struct


def value(b, i):
    """One msgpack value, and where the next one begins."""
    c = b[i]
    i += 1

    def run(kind, n, i):
        if kind == "str":
            return b[i : i + n].decode(), i + n
        if kind == "bin":
            return b[i : i + n], i + n
        out = []
        for _ in range(n if kind == "array" else 2 * n):
            v, i = value(b, i)
            out.append(v)
        return (out if kind == "array" else dict(zip(out[::2], out[1::2]))), i

    if c < 0x80:
        return c, i
    if c >= 0xE0:
        return c - 256, i
    for low, high, kind in ((0x80, 0x90, "map"), (0x90, 0xA0, "array"), (0xA0, 0xC0, "str")):
        if low <= c < high:
            return run(kind, c - low, i)
    if c in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[c], i
    numbers = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
    numbers |= {0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
    if c in numbers:
        n = struct.calcsize(numbers[c])
        return struct.unpack(numbers[c], b[i : i + n])[0], i + n
    sizes = {0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xD9: ("str", ">B"), 0xDA: ("str", ">H")}
    sizes |= {0xDC: ("array", ">H"), 0xDD: ("array", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I")}
    kind, form = sizes[c]
    n = struct.calcsize(form)
    return run(kind, struct.unpack(form, b[i : i + n])[0], i + n)


STORED = """block_hashes parent_block_hash token_ids block_size lora_id medium lora_name extra_keys
    group_idx kv_cache_spec_kind kv_cache_spec_sliding_window""".split()
REMOVED = "block_hashes medium group_idx".split()
MEDIA = {None: "Device", "GPU": "Device", "CPU": "Host", "CPU_PINNED": "Host", "STORAGE": "Disk"}


def fields(event):
    """An event as a map, whatever its form."""
    if isinstance(event, dict):
        return event
    tag, *slots = event
    if tag == "BlockStored" and len(slots) > 6 and isinstance(slots[6], dict):
        return {"type": tag, **dict(zip(STORED[:6], slots)), **slots[6]}
    names = {"BlockStored": STORED, "BlockRemoved": REMOVED}.get(tag, [])
    return {"type": tag, **dict(zip(names, slots))}


def hash64(h):
    if isinstance(h, bytes):
        h = int.from_bytes(h[-8:], "big")
    return f"{h % 2**64:016x}"


def text(value):
    return "-" if value is None else str(value)


def line(event, rank):
    e = fields(event)
    if e["type"] == "AllBlocksCleared":
        return f"cleared rank {rank}"
    hashes = " ".join(map(hash64, e["block_hashes"]))
    place = f"rank {rank} {MEDIA[e.get('medium')]} group {e.get('group_idx') or 0}"
    if e["type"] == "BlockRemoved":
        return f"removed {place} | {hashes}"
    parent = e.get("parent_block_hash")
    kind, window = e.get("kv_cache_spec_kind"), e.get("kv_cache_spec_sliding_window")
    attends = "Unknown" if kind is None else "Full" if kind == "full_attention" else f"Partial {window}"
    salt, lora, name = e.get("cache_salt"), e.get("lora_id"), e.get("lora_name")
    keys = any(k is not None for k in e.get("extra_keys") or []) or (salt, lora, name) != (None,) * 3
    tokens = " ".join(":".join(map(str, t)) if isinstance(t, list) else str(t) for t in e["token_ids"])
    return (
        f"stored {place} {attends} of {e['block_size']} after {'-' if parent is None else hash64(parent)}"
        f" lora {text(lora)} {text(name)} salt {text(salt)} session {text(e.get('session_id'))}"
        f" extra {str(keys).lower()} | {hashes} | {tokens}"
    )


def message(title, frames):
    print(f"  {title}")
    payload = frames[-1]
    if not payload:
        print("    end of replay")
        return
    batch, end = value(payload, 0)
    assert end == len(payload)
    if not isinstance(batch[1], list):
        print("    no batch")
        return
    for event in batch[1]:
        print(f"    {line(event, batch[2])}")


os.chdir(os.path.dirname(os.path.abspath(__file__)))
for path in sorted(glob.glob("*-*.txt")):
    print(path)
    title, frames = None, []
    for text_line in open(path).read().splitlines() + ["## end"]:
        if text_line.startswith("## "):
            if frames:
                message(title, frames)
            title, frames = text_line[3:], []
        elif text_line.startswith("frame"):
            frame = text_line.split()[1]
            frames.append(b"" if frame == "(empty)" else bytes.fromhex(frame))
