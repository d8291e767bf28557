#!/usr/bin/env python3
"""What a request body's fingerprint is, simple to a fault. Prints the test vectors beside this file.

    python3 body_reference.py > bodies.json
"""

import json
import struct

from fingerprint_reference import M64, M128, Key, digest, fingerprint, multilinear, nh, step

NAME, TEXT, ENTRY, ELEMENT, SCALAR, OBJECT, ARRAY, SEED, NAMESPACE, FIELD = range(0x20, 0x2A)
PREAMBLE = 0x10
MEDIA_TOKENS = dict(image=576, audio=750, video=4096, file=2048)

PROMPTS = ("messages", "prompt", "input", "text", "input_ids")
NAMESPACE_FIELDS = ("model", "lora_path", "cache_salt", "extra_key")
RENDERED = ("tools", "functions", "documents", "instructions", "system")
SHAPING = (
    "tool_choice function_call response_format chat_template chat_template_kwargs "
    "reasoning_effort reasoning thinking task previous_response_id conversation suffix "
    "add_special_tokens truncate_prompt_tokens mm_processor_kwargs media_io_kwargs"
).split()
TOP_MEDIA = dict(image_data="image", audio_data="audio", video_data="video")
PART_MEDIA = dict(
    image_url="image", image="image", image_embeds="image", image_pil="image",
    input_audio="audio", audio_url="audio", audio="audio", video_url="video", video="video",
    file="file", file_data="file", file_url="file", file_id="file",
)
PLAIN_TYPES = ("message", "text", "input_text", "output_text")


def scramble(value):
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & M64
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & M64
    return value ^ value >> 31


def digest_block(key, tag, block):
    tagged = ((tag + key.nh[30]) & M64) * key.nh[31]
    return multilinear(key.digest, (nh(key, block) + tagged) & M128) >> 64


def pair(key, domain, first, second=0):
    return scramble(digest_block(key, domain, struct.pack("<2Q", first, second)))


def string(key, domain, data):
    if len(data) <= 240:
        padded = data + b"\0" * (-len(data) % 16)
        return scramble(digest_block(key, len(data) << 8 | domain, padded))
    return scramble(digest(key, data, domain))


def value(key, v):
    """Digest of any value, independent of key order."""
    if v is None or v is True or v is False:
        return pair(key, SCALAR, 0, (True, False, None).index(v))
    if isinstance(v, str):
        return string(key, TEXT, v.encode())
    if isinstance(v, int):
        return pair(key, SCALAR, 1 if v >= 0 else 2, v & M64)
    if isinstance(v, float):
        return pair(key, SCALAR, 3, struct.unpack("<Q", struct.pack("<d", v))[0])
    if isinstance(v, list):
        chain = 0
        for element in v:
            chain = pair(key, ELEMENT, chain, value(key, element))
        return pair(key, ARRAY, chain)
    return pair(key, OBJECT, sum(entry(key, k, v) for k, v in v.items()) & M64)


def entry(key, name, v):
    return pair(key, ENTRY, string(key, NAME, name.encode()), value(key, v))


def field(key, name, v):
    """Digest of a field that has a meaning; short ones take one step."""
    name_bytes, v_bytes = name.encode(), v.encode() if isinstance(v, str) else bytes(17)
    if len(name_bytes) > 16 or len(v_bytes) > 16:
        return entry(key, name, v)
    block = name_bytes.ljust(16, b"\0") + v_bytes.ljust(16, b"\0")
    tag = len(v_bytes) << 16 | len(name_bytes) << 8 | FIELD
    return scramble(digest_block(key, tag, block))


def weight(v):
    """Bytes that a digested value takes in the prompt."""
    if isinstance(v, str):
        return len(v.encode())
    if isinstance(v, list):
        return sum(map(weight, v))
    if isinstance(v, dict):
        return sum(len(k.encode()) + weight(v) for k, v in v.items())
    return 1


def strings(v):
    if isinstance(v, (list, dict)):
        return sum(map(strings, v.values() if isinstance(v, dict) else v))
    return isinstance(v, str)


def record(mark, total, length):
    length = max(length, 8)
    return bytes([mark]) + (struct.pack("<Q", total) * (length // 8 + 1))[:length]


def counts(name, v):
    return v is not None and name != "cache_control" and not (name == "type" and v in PLAIN_TYPES)


def part(key, p):
    if isinstance(p, str):
        return p.encode()
    if not isinstance(p, dict):
        return record(0xFE, value(key, p), weight(p))
    text, total, length, media, count = b"", 0, 0, set(), 0
    for name, v in p.items():
        if name == "text" and isinstance(v, str):
            text = v.encode()
        elif counts(name, v):
            total, count = (total + field(key, name, v)) & M64, count + 1
            if name in PART_MEDIA:
                media.add(PART_MEDIA[name])
            else:
                length += len(name.encode()) + weight(v)
    length += sum(4 * MEDIA_TOKENS[kind] for kind in media)
    return text + (record(0xFE, total, length) if count else b"")


def message(key, m):
    content, total, length = b"", 0, 0
    for name, v in m.items():
        if name == "content" and isinstance(v, str):
            content = v.encode()
        elif name == "content" and isinstance(v, list):
            content = b"\xfe".join(part(key, p) for p in v)
        elif counts(name, v):
            total = (total + field(key, name, v)) & M64
            length += len(name.encode()) + weight(v)
    return content + record(0xFF, total, length)


def prompt(key, source, v):
    """The bytes that are hashed, their unit, and whether a chat template renders them."""
    tokens = lambda ids: struct.pack("<%dL" % len(ids), *ids)
    if isinstance(v, str) and source == "input":
        return message(key, dict(role="user", content=v)), 0, True
    if isinstance(v, str):
        return v.encode(), 0, False
    if isinstance(v[0], dict):
        return b"".join(message(key, m) for m in v), 0, True
    if isinstance(v[0], str):
        return b"\xff".join(text.encode() for text in v), 0, False
    if isinstance(v[0], list):
        return b"\xff\xff\xff\xff".join(map(tokens, v)), 1, False
    return tokens(v), 1, False


def body(key, b, size=128):
    namespace, shaping, shapes, preamble, source = 0, 0, 0, 0, None
    names = 0
    for name, v in b.items():
        is_setting = isinstance(v, dict) and name in ("prompt", "text")
        if v is None:
            continue
        if is_setting:
            label = pair(key, NAME, PROMPTS.index(name))
            shaping += pair(key, ENTRY, label, value(key, v))
            shapes += 1
        elif name in PROMPTS:
            source = name
        elif name in NAMESPACE_FIELDS:
            namespace, names = (namespace + field(key, name, v)) & M64, names + 1
        elif name in RENDERED or name in SHAPING or name in TOP_MEDIA:
            shaping, shapes = shaping + field(key, name, v), shapes + 1
            if name in RENDERED:
                preamble += len(name.encode()) + weight(v)
            elif name in TOP_MEDIA:
                preamble += strings(v) * 4 * MEDIA_TOKENS[TOP_MEDIA[name]]
    data, unit, templated = prompt(key, source, b[source])
    namespace = max(pair(key, NAMESPACE, namespace), 1) if names else 0
    shaping = pair(key, SEED, shaping & M64, int(templated)) if shapes or templated else 0

    seed = 1
    for word in (namespace, shaping, size << 8 | unit):
        seed = step(key, seed, word)
    seed = multilinear(key.seed, seed) >> 64
    leading = [digest_block(key, PREAMBLE, struct.pack("<2Q", i, seed)) for i in range(preamble // size)]
    wire = fingerprint(key, data, unit, size, namespace, shaping)
    total, blocks = struct.unpack("<QL", wire[16:28])
    total += len(leading) * (size // 4 if unit else size)
    head = wire[:16] + struct.pack("<QLL", total, blocks + len(leading), 0)
    return head + struct.pack("<%dQ" % len(leading), *leading) + wire[32:]


def words(seed, length):
    return " ".join("%s %d" % (seed, i) for i in range(length))[:length]


def bodies():
    user = lambda content: dict(role="user", content=content)
    chat = [dict(role="system", content=words("rules", 300)), user(words("Wie grüßt 火车 🚂", 200))]
    call = dict(id="c1", type="function", function=dict(name="look", arguments='{"a": 1}'))
    agent = chat + [
        dict(role="assistant", content=None, tool_calls=[call], refusal=None),
        dict(role="tool", tool_call_id="c1", content=words("found", 500)),
    ]
    parts = [
        dict(type="text", text=words("see", 200), cache_control=dict(type="ephemeral")),
        dict(type="image_url", image_url=dict(url="data:image/png;base64," + "A" * 300)),
        dict(type="input_audio", input_audio=dict(data="AAAA", format="wav")),
        "and",
        7,
    ]
    tools = [
        dict(type="function", function=dict(name="tool_%d" % i, description=words("does", 150),
             parameters=dict(type="object", properties=dict(n=dict(type="integer", minimum=-3)),
                             required=[], strict=True, x=[0.5, 1e300, None, [], {}])))
        for i in range(3)
    ]
    yield dict(messages=chat)
    yield dict(model="m", messages=agent, tools=tools, temperature=0.5, max_tokens=9)
    yield dict(messages=[user(parts)], model="m", cache_salt="s" * 40, tool_choice="none")
    yield dict(messages=[user(words("a", 900))], chat_template_kwargs=dict(enable_thinking=False))
    yield dict(prompt=words("prompt", 1000), suffix="end")
    yield dict(prompt=[words("one", 300), words("two", 300)], lora_path="l")
    yield dict(prompt=list(range(0, 70000, 300)))
    yield dict(input_ids=[list(range(90)), list(range(50))], extra_key="k")
    yield dict(text=words("text", 700), image_data=["A" * 50, "B" * 50])
    yield dict(input=words("input", 500), instructions=words("be brief", 300), model="m")
    yield dict(input=[dict(type="message", role="user", content=words("x", 300)),
                      dict(type="function_call", call_id="c", name="f", arguments="{}"),
                      dict(type="function_call_output", call_id="c", output=words("o", 300))],
               text=dict(format=dict(type="text")), previous_response_id="resp_1")


def main():
    vectors = []
    for raw in (bytes(32), bytes(range(32))):
        for b in bodies():
            vectors.append(dict(key=raw.hex(), body=b, wire=body(Key(raw), b).hex()))
    print(json.dumps(vectors, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
