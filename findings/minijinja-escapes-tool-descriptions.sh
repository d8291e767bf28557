#!/usr/bin/env bash
# Packages: minijinja 3.0.5 (the template engine of several Rust routers), transformers 5.23.0 (the renderer that vLLM and
#   SGLang use), jinja2 3.1.6; the chat templates of Qwen3 and Llama 3.1 from trl 1.16.0
#
# Guess: a chat template is Jinja, so a router that renders it with minijinja (pycompat on) gets the engine's prompt, and
#   plain jinja2 does anyway.
# Seen: chats without tools are equal. With tools, `tojson` differs: minijinja writes an apostrophe, <, > and & of a tool's
#   description as \u0027, \u003c, \u003e, \u0026, as for HTML; transformers replaces the filter and writes them plain.
#   Plain jinja2 escapes them too, and sorts the keys of the schema besides, so it parts already at the schema's start. The tools
#   stand at the head: one "it's" in a description, and hashes of the router's tokens match nothing of the engine's.
# Output (characters of the engine's prompt that are the same):
#   qwen3.jinja    without tools: minijinja 115 of 115, jinja2 115 of 115
#   qwen3.jinja    with tools:    minijinja 276 of 747, jinja2 191 of 747
#   llama3_1.jinja with tools:    minijinja 572 of 1006, jinja2 466 of 1006
source "$(dirname "$0")/common/setup.bash"
packages minijinja==3.0.5 transformers==5.23.0 jinja2==3.1.6
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps trl==1.16.0
cat >"$folder/run.py" <<'PY'
import importlib.util
import os
import pathlib
import jinja2
import minijinja
from transformers.utils.chat_template_utils import render_jinja_template

templates = pathlib.Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
query = {"type": "string", "description": "What the page is about"}
parameters = {"type": "object", "properties": {"query": query}, "required": ["query"]}
search = {"name": "search", "description": "Finds a page, if it's there & has < 10 links", "parameters": parameters}
tools = [{"type": "function", "function": search}]
messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is the page on cats?"}]
options = {"trim_blocks": True, "lstrip_blocks": True}


def compare(name, tools):
    text = (templates / name).read_text()
    words = {"messages": messages, "tools": tools, "add_generation_prompt": True, "bos_token": "<s>", "strftime_now": lambda form: "26 Jul 2024"}
    engine = render_jinja_template([messages], tools=tools, chat_template=text, add_generation_prompt=True, bos_token="<s>")[0][0]
    rust = minijinja.Environment(**options)
    rust.pycompat = True
    others = [rust.render_str(text, **words), jinja2.Environment(**options).from_string(text).render(**words)]
    same = [len(os.path.commonprefix([engine, other])) for other in others]
    what = "with tools:   " if tools else "without tools:"
    print(f"{name:14} {what} minijinja {same[0]} of {len(engine)}, jinja2 {same[1]} of {len(engine)}")
    return *same, len(engine)


plain = compare("qwen3.jinja", None)
assert plain[0] == plain[1] == plain[2]
for name in ("qwen3.jinja", "llama3_1.jinja"):
    rust, python, whole = compare(name, tools)
    assert python < rust < whole
PY
python "$folder/run.py" 2>"$folder/log" || { tail -n 5 "$folder/log"; exit 1; }
