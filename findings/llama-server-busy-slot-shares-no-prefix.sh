#!/usr/bin/env bash
# Packages: xllamacpp 2026.10.11549 (llama.cpp's own server), gguf 0.19.0; a small random model is made here.
#
# Guess: as in vLLM and SGLang, a prefix that a running request holds in the cache serves the next request too, so a
#   second request with the same 870 token system prompt, sent while the first one answers, computes its own tail only.
# Seen: it computes every token. The cache belongs to a slot, and the slot that holds the prefix is busy; neither the
#   other slots nor the host's prompt cache take from it. Sent one after the other, the same two requests share the prefix.
#   So a burst of requests with one prefix sent to one llama.cpp server (what a prefix-aware router does) costs as
#   much as if it were spread over cold servers.
# Output:
#   after the first has ended: slot the same, 4 of 875 tokens computed
#   while the first answers:   slot another, 875 of 875 tokens computed
source "$(dirname "$0")/common/setup.bash"
llama_packages
cat >"$folder/run.py" <<'PY'
import json
import sys
import urllib.request
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.warmup, params.verbosity, params.port = 16384, 4, False, -1, 0
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)


def send(prompt, tokens, stream=False):
    body = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "ignore_eos": True, "stream": stream}
    request = urllib.request.Request(server.listening_address + "/completion", json.dumps(body).encode())
    return urllib.request.urlopen(request)


def tell(when, first, answer):
    timings, total = answer["timings"], answer["tokens_evaluated"]
    slot = "the same" if answer["id_slot"] == first else "another"
    print(f"{when} slot {slot}, {timings['prompt_n']} of {total} tokens computed")
    return slot, timings["prompt_n"], total


system = "You are a helpful assistant. " * 30
first = json.load(send(system + "One?", 2))["id_slot"]
alone = tell("after the first has ended:", first, json.load(send(system + "Two?", 2)))
stream = send(system + "Six?", 3000, stream=True)
event = json.loads(stream.readline().removeprefix(b"data: "))
beside = tell("while the first answers:  ", event["id_slot"], json.load(send(system + "Ten?", 2)))
stream.read()
assert alone[0] == "the same" and alone[1] < 10
# Another slot: so the first was still answering.
assert beside[0] == "another" and beside[1] == beside[2]
PY
python "$folder/run.py" "$folder/tiny.gguf" 2>"$folder/log" || { tail -n 5 "$folder/log"; exit 1; }
