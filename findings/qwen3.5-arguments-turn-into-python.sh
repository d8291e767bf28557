#!/usr/bin/env bash
# Packages: transformers 5.23.0 (the renderer that vLLM and SGLang use), @huggingface/jinja 0.5.11 (npm; the one of
#   transformers.js), the chat templates of Qwen3.5, Qwen3.6 and Nemotron 3 from trl 1.16.0
#
# Guess: a tool call that a chat sends back is rendered as JSON values, so `"exact": true` in the body is `true` in the prompt.
# Seen: the templates of Qwen3.5 and Nemotron 3 turn a plain value into text with Jinja's `string`, which is Python's str() where
#   Python renders: `True` and `False` stand in the prompt of the next step. A renderer that is not Python gives `true` and `false`
#   from the same template and body: prompts of a router or gateway in JavaScript part from the engine's at the
#   first boolean argument of a history. Qwen3.6's template writes JSON, and there both agree.
# Output (the two arguments as rendered by transformers and by @huggingface/jinja):
#   qwen3_5_think.jinja    True False | true false
#   nemotron_3_nano.jinja  True False | true false
#   qwen3_6.jinja          true false | true false
source "$(dirname "$0")/common/setup.bash"
packages transformers==5.23.0 jinja2==3.1.6
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps trl==1.16.0
(cd "$folder" && npm install --silent --no-audit --no-fund @huggingface/jinja@0.5.11)
cat >"$folder/render.mjs" <<'JS'
import fs from "node:fs";
import { Template } from "@huggingface/jinja";
const [template, words] = process.argv.slice(2).map((path) => fs.readFileSync(path, "utf8"));
process.stdout.write(new Template(template).render(JSON.parse(words)));
JS
cat >"$folder/run.py" <<'PY'
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
from transformers.utils.chat_template_utils import render_jinja_template

folder = pathlib.Path(sys.argv[1])
templates = pathlib.Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
call = {"name": "search", "arguments": {"exact": True, "recent": False}}
messages = [
    {"role": "user", "content": "Find the page on cats."},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "call-1", "type": "function", "function": call}]},
    {"role": "tool", "tool_call_id": "call-1", "content": "It is page 12."},
]
tools = [{"type": "function", "function": {"name": "search", "description": "Finds a page.", "parameters": {"type": "object", "properties": {}}}}]
words = {"messages": messages, "tools": tools, "add_generation_prompt": True}
(folder / "words.json").write_text(json.dumps(words))


def values(prompt):
    return " ".join(re.search(name + r">\n(\w+)\n", prompt).group(1) for name in ("exact", "recent"))


def compare(name):
    text = (templates / name).read_text()
    python = values(render_jinja_template([messages], tools=tools, chat_template=text, add_generation_prompt=True)[0][0])
    command = ["node", folder / "render.mjs", templates / name, folder / "words.json"]
    script = values(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{name:22} {python} | {script}")
    return python, script


for name in ("qwen3_5_think.jinja", "nemotron_3_nano.jinja"):
    assert compare(name) == ("True False", "true false")
assert compare("qwen3_6.jinja") == ("true false", "true false")
PY
python "$folder/run.py" "$folder" 2>"$folder/log" || { tail -n 5 "$folder/log"; exit 1; }
