#!/usr/bin/env python3
"""What a request body's fingerprint is, simple to a fault. Prints the test vectors beside this file.

    python3 body_reference.py > bodies.json
"""

import json
import struct

from fingerprint_reference import M64, M128, Key, digest, multilinear, nh, path, step

NAME, TEXT, ENTRY, ELEMENT, SCALAR, OBJECT, ARRAY, SEED, NAMESPACE, FIELD = range(0x20, 0x2A)
DECLARED, AFTER, PLACE = 0x10, 0x11, 0x12
MEDIA_TOKENS = dict(image=576, audio=750, video=4096, file=2048)
KINDS = list(MEDIA_TOKENS)

PROMPTS = ("messages", "prompt", "input", "text", "input_ids", "inputs")
NAMESPACE_FIELDS = ("model", "lora_path", "cache_salt", "extra_key")
SHAPING = (
    "chat_template task previous_response_id conversation session_params prompt_embeds input_embeds "
    "suffix add_special_tokens truncate_prompt_tokens mm_processor_kwargs media_io_kwargs"
).split()
TOP_MEDIA = dict(image_data="image", audio_data="audio", video_data="video")
THINKING = ("enable_thinking", "thinking", "thinking_budget")
TOOLS = 64

PLAIN_TYPES = ("message", "text", "input_text", "output_text", "function")
HOLDS = dict(
    image_url="image", image="image", image_embeds="image", image_pil="image",
    input_audio="audio", audio_url="audio", audio="audio", audio_embeds="audio",
    video_url="video", video="video", input_video="video",
    file="file", file_data="file", file_url="file", inline_data="file", inlineData="file", blob="file",
)
DATA = "data url uri base64 bytes result".split()
IDENTITY = "uuid file_id fileId".split()
MEDIA_TYPE = "media_type mediaType mime_type mimeType".split()
VERBATIM = "parameters input_schema inputSchema arguments input args".split()
TYPES = {
    **dict.fromkeys("image image_url input_image image_embeds image_pil image-data image-url image-file-id "
                    "computer_screenshot image_generation_call".split(), "image"),
    **dict.fromkeys("audio input_audio audio_url audio_embeds".split(), "audio"),
    **dict.fromkeys("video video_url input_video".split(), "video"),
    **dict.fromkeys("file input_file document media file-data file-url file-id".split(), "file"),
}
UNRENDERED = (
    "id call_id tool_call_id tool_use_id toolCallId signature encrypted_content annotations citations "
    "logprobs status index detail created_at metadata providerOptions provider_options providerMetadata"
).split()


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


class Whole:
    """A value: its digest, the bytes that it takes in the prompt, and what it is."""

    def __init__(self, digest, weight, media=None, empty=False):
        self.digest, self.weight, self.media, self.empty = digest, weight, media, empty


def scalar(key, v):
    if v is None or v is True or v is False:
        return pair(key, SCALAR, 0, (True, False, None).index(v))
    if isinstance(v, int) and not -(1 << 63) <= v <= M64:
        v = float(v)
    if isinstance(v, float):
        return pair(key, SCALAR, 3, struct.unpack("<Q", struct.pack("<d", v))[0])
    return pair(key, SCALAR, 1 if v >= 0 else 2, v & M64)


def value(key, v, place, verbatim=False):
    """Any value. `place` is "message", "tools" or "top"."""
    if isinstance(v, str):
        return Whole(string(key, TEXT, v.encode()), len(v.encode()), empty=not v)
    if isinstance(v, list):
        chain, length = 0, 0
        for element in v:
            whole = value(key, element, place, verbatim)
            chain, length = pair(key, ELEMENT, chain, whole.digest), length + inside(element, whole) + 2
        return Whole(pair(key, ARRAY, chain), length, empty=not v)
    if not isinstance(v, dict):
        return Whole(scalar(key, v), 1, empty=v is None or (v is False and place != "top"))
    if verbatim:
        chain, length = 0, 0
        for name, inner in v.items():
            whole = value(key, inner, place, True)
            entry = pair(key, ENTRY, string(key, NAME, name.encode()), whole.digest)
            chain = pair(key, ELEMENT, chain, entry)
            length += len(name.encode()) + 6 + inside(inner, whole)
        return Whole(pair(key, OBJECT, chain), length, empty=not v)
    entries = Entries(key, place)
    for name, inner in v.items():
        entries.add(name, inner)
    total, length = entries.total()
    return Whole(pair(key, OBJECT, total), length, entries.media(), not entries.count)


def inside(v, whole):
    """Bytes that a value takes in a container, which templates mostly write as JSON."""
    return whole.weight + (2 if isinstance(v, str) else 0)


class Entries:
    """The entries of an object whose keys have a meaning."""

    def __init__(self, key, place, tiny=False):
        self.key, self.place, self.tiny = key, place, tiny
        self.sum = self.data = self.identity = self.weight = self.count = 0
        self.has_data = self.has_identity = self.has_text = self.is_text = False
        self.by_key = self.by_type = self.by_media_type = self.inner = None
        self.given = False

    def add(self, name, v):
        key = self.key
        if name == "cache_control" or (self.place == "message" and name in UNRENDERED):
            return
        if name in HOLDS:
            self.by_key = first(self.by_key, HOLDS[name])
        if name == "type" and isinstance(v, str):
            if v in PLAIN_TYPES:
                return
            self.by_type = TYPES.get(v, self.by_type)
            self.given |= v in ("base64", "url")
        if name in MEDIA_TYPE and isinstance(v, str):
            main = v.lower().split("/")[0] if "/" in v else ""
            if main == "text":
                self.is_text = True
            else:
                self.by_media_type = first(self.by_media_type, main if main in MEDIA_TOKENS else "file")
        whole = value(key, v, self.place, name in VERBATIM)
        if whole.empty:
            return
        self.count += 1
        self.weight += len(name.encode()) + (whole.weight if self.tiny else 6 + inside(v, whole))
        tiny = self.tiny and isinstance(v, str) and max(len(name.encode()), len(v.encode())) <= 16
        entry = field(key, name, v) if tiny else entry_of(key, name, whole)
        holds = name in HOLDS or name in DATA or (name == "source" and whole.media is not None)
        if holds:
            self.data += entry
        elif name in IDENTITY:
            self.identity += entry
        else:
            self.sum += entry
        self.has_data |= holds
        self.has_identity |= name in IDENTITY
        self.has_text |= name == "text"
        if whole.media and (HOLDS.get(name) == "file" or name == "source"):
            self.inner = first(self.inner, whole.media)

    def media(self):
        if not self.has_data and not self.has_identity:
            return None
        if self.is_text or (self.has_text and self.by_key is None):
            return None
        if self.by_key not in (None, "file"):
            return self.by_key
        if self.by_type not in (None, "file"):
            return self.by_type
        default = self.by_key or self.by_type or ("file" if self.given else None)
        return self.by_media_type or self.inner or default

    def total(self):
        media = self.media()
        if media is None:
            return self.sum + self.data + self.identity & M64, self.weight
        return self.sum + (self.identity if self.has_identity else self.data) & M64, 4 * MEDIA_TOKENS[media]


def first(known, media):
    return media if known is None else min(known, media, key=KINDS.index)


def entry_of(key, name, whole):
    return pair(key, ENTRY, string(key, NAME, name.encode()), whole.digest)


def field(key, name, v):
    """Digest of a field that has a meaning, in one step: both are short."""
    name, v = name.encode(), v.encode()
    tag = len(v) << 16 | len(name) << 8 | FIELD
    return scramble(digest_block(key, tag, name.ljust(16, b"\0") + v.ljust(16, b"\0")))


def top_field(key, name, v):
    if isinstance(v, str) and max(len(name.encode()), len(v.encode())) <= 16:
        return field(key, name, v)
    return entry_of(key, name, value(key, v, "top"))


def items(v):
    """Images or the like."""
    return sum(map(items, v)) if isinstance(v, list) else isinstance(v, (str, dict))


def record(mark, total, length):
    length = max(length, 8)
    return bytes([mark]) + (struct.pack("<Q", total) * (length // 8 + 1))[:length]


def part(key, p):
    if isinstance(p, str):
        return p.encode()
    if not isinstance(p, dict):
        whole = value(key, p, "message")
        return record(0xFE, whole.digest, whole.weight)
    text, entries = b"", Entries(key, "message", True)
    for name, v in p.items():
        if name == "text" and isinstance(v, str):
            text = v.encode()
        else:
            entries.add(name, v)
    return text + (record(0xFE, *entries.total()) if entries.count else b"")


def content_of(key, content):
    if isinstance(content, str):
        return content.encode()
    return b"\xfe".join(part(key, p) for p in content)


def message(key, m):
    content, entries = b"", Entries(key, "message", True)
    for name, v in m.items():
        if name == "content" and isinstance(v, (str, list)):
            content = content_of(key, v)
        elif name != "content" or v is not None:
            entries.add(name, v)
    return content + record(0xFF, *entries.total())


def prompt(key, source, v):
    """The parts that are hashed, their unit, and whether a chat template renders them."""
    tokens = lambda ids: struct.pack("<%dL" % len(ids), *ids)
    if isinstance(v, str) and source == "input":
        return [message(key, dict(role="user", content=v))], 0, True
    if isinstance(v, str):
        return [v.encode()], 0, False
    if isinstance(v[0], dict):
        messages = [message(key, m) for m in v]
        if v[0].get("role") in ("system", "developer"):
            return [messages[0], b"".join(messages[1:])], 0, True
        return [b"".join(messages)], 0, True
    if isinstance(v[0], str):
        return [b"\xff".join(text.encode() for text in v)], 0, False
    if isinstance(v[0], list):
        return [b"\xff\xff\xff\xff".join(map(tokens, v))], 1, False
    return [tokens(v)], 1, False


def words_of(key, tag, one, other):
    return digest_block(key, tag, struct.pack("<2Q", one, other))


def empty(v):
    return v is None or v in ("", [], {})


def body(key, b, size=128):
    b = {name: v for name, v in b.items() if not empty(v)}
    namespace = shaping = rendering = shapes = renders = 0
    leading, names, tools, source, system = 0, 0, [], None, None
    effort = []
    for name, v in b.items():
        if name == "text" and isinstance(v, dict):
            continue
        if name == "prompt" and isinstance(v, dict):
            label = pair(key, NAME, PROMPTS.index(name))
            shaping += pair(key, ENTRY, label, value(key, v, "top").digest)
            shapes += 1
        elif name in PROMPTS:
            wins = source is None or name == "input_ids"
            source = name if wins else source
        elif name in NAMESPACE_FIELDS:
            namespace, names = (namespace + top_field(key, name, v)) & M64, names + 1
        elif name in ("tools", "functions"):
            tools += [value(key, tool, "tools") for tool in v]
        elif name in ("system", "instructions"):
            system = content_of(key, v) + record(0xFF, field(key, "role", "system"), 10)
        elif name == "reasoning_effort":
            effort.append(v)
        elif name in ("reasoning", "output_config"):
            effort.append(v.get("effort"))
        elif name == "chat_template_kwargs":
            for inner, v in v.items():
                if inner == "reasoning_effort":
                    effort.append(v)
                elif inner not in THINKING and not empty(v):
                    rendering, renders = rendering + top_field(key, inner, v), renders + 1
        elif name == "documents":
            whole = value(key, v, "top")
            rendering, renders = rendering + entry_of(key, name, whole), renders + 1
            leading += len(name) + whole.weight
        elif name in SHAPING or name in TOP_MEDIA:
            shaping, shapes = shaping + top_field(key, name, v), shapes + 1
            if name in TOP_MEDIA:
                leading += items(v) * 4 * MEDIA_TOKENS[TOP_MEDIA[name]]
    for v in effort:
        if v not in (None, "medium"):
            label = pair(key, NAME, 0x100)
            rendering += pair(key, ENTRY, label, value(key, v, "top").digest)
            renders += 1
    parts, unit, templated = prompt(key, source, b[source])
    if source == "input_ids":
        rendering, renders, tools = 0, 0, []
    if system is not None and unit == 0:
        parts.insert(0, system)
    shaping, shapes = (shaping + rendering) & M64, shapes + renders
    namespace = max(pair(key, NAMESPACE, namespace), 1) if names else 0
    seeded = pair(key, SEED, shaping, int(templated)) if shapes or templated else 0
    declared = [(pair(key, SEED, shaping, 2), leading)] if leading else []
    declared += [(tool.digest, tool.weight) for tool in tools if not tool.empty]
    if len(declared) - bool(leading) > TOOLS:
        raise ValueError("too many tools for this reference")

    heads = parts[:-1]
    seed = 1
    for word in (namespace, seeded, size << 8 | unit):
        seed = step(key, seed, word)
    seed = multilinear(key.seed, seed) >> 64
    hashes, total = [], 0
    for text in heads:
        inside = path(key, text, size)
        hashes += [h ^ seed for h in inside]
        rest = text[len(inside) * size :]
        place = struct.pack("<2Q", inside[-1] if inside else 0, len(inside)) + rest
        seed = words_of(key, AFTER, seed, digest(key, place, PLACE))
        total += len(text)
    start, length = len(hashes), 0
    for tool, tool_bytes in declared:
        seed = words_of(key, AFTER, seed, tool)
        length += tool_bytes
        while len(hashes) - start < length // size:
            hashes.append(words_of(key, DECLARED, len(hashes), seed))
    hashes += [h ^ seed for h in path(key, parts[-1], size)]
    total += len(parts[-1]) + length // size * size
    head = struct.pack("<BBHLQQLL", 2, unit, size, key.id, namespace, total // (4 if unit else 1), len(hashes), 0)
    return head + struct.pack("<%dQ" % len(hashes), *hashes)


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
             parameters=dict(properties=dict(n=dict(minimum=-3, type="integer")),
                             required=[], strict=True, type="object", x=[0.5, 1e300, None, [], {}])))
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


    yield dict(system=words("rules", 500), messages=[user(words("q", 300))], tools=tools, max_tokens=5)
    yield dict(messages=[user([
        dict(type="image", source=dict(type="base64", media_type="image/png", data="A" * 3000)),
        dict(type="document", source=dict(type="text", media_type="text/plain", data=words("d", 200))),
        dict(type="tool_result", tool_use_id="t", is_error=False, content=[
            dict(type="text", text=words("r", 100), cache_control=dict(type="ephemeral")),
            dict(type="image", data="B" * 900, mimeType="image/png"),
        ]),
        dict(type="image_url", image_url=None, uuid="u1"),
        dict(type="tool_use", id="t", name="f", input=dict(a=[], b=None, x=-(1 << 63), y=1e22, z=-0.0)),
    ])], system=[dict(type="text", text="a"), dict(type="text", text=words("b", 300))],
        output_config=dict(effort="high"), reasoning_effort="medium", tools=[], documents=[dict(t=1)])
    yield dict(input_ids=list(range(300)), messages=[user("x")], tools=tools, session_params=dict(id="s"))
    yield dict(inputs=words("inputs", 300), parameters=dict(best_of=2))


def main():
    vectors = []
    for raw in (bytes(32), bytes(range(32))):
        for b in bodies():
            text = json.dumps(b, ensure_ascii=False)
            vectors.append(dict(key=raw.hex(), body=text, wire=body(Key(raw), b).hex()))
    print(json.dumps(vectors, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
