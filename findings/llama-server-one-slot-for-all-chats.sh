#!/usr/bin/env bash
# Packages: xllamacpp 2026.10.11549 (llama.cpp's own server), gguf 0.19.0; a small random model is made here.
#
# Guess: a server with 4 slots and 4 chats, one request at a time, ends up with one chat in each slot, so from the
#   second turn on a chat computes only what it has new. Idle slots are there to be used.
# Seen: chats that begin with the same system prompt all land in ONE slot. A slot whose prompt is alike by more than
#   a tenth (slot_prompt_similarity, .1) is taken before an empty one, and the chat that lay there is cut back to the
#   shared beginning. No copy of it goes to the host's prompt cache, since more than half of it was kept. Every turn of
#   every chat computes its whole history anew; three slots stay empty. With similarity 0 the same requests behave
#   as guessed from the second turn on. The answers' `cached_tokens` look harmless: 42 to 52%.
# Output:
#   similarity .1: slots used 1, second and third turns computed 808 808 808 808 1216 1216 1216 1216 tokens
#   similarity 0:  slots used 4, second and third turns computed 408 408 408 408 408 408 408 408 tokens
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
if sys.argv[2] != "default":
    params.slot_prompt_similarity = float(sys.argv[2])
server = xllamacpp.Server(params)


def complete(prompt):
    body = {"prompt": prompt, "n_predict": 2, "temperature": 0, "ignore_eos": True}
    request = urllib.request.Request(server.listening_address + "/completion", json.dumps(body).encode())
    answer = json.load(urllib.request.urlopen(request))
    return answer["id_slot"], answer["timings"]["prompt_n"]


system = "You are a helpful assistant. " * 30
history, slots, computed = {}, set(), []
for turn in range(3):
    for chat in "ABCD":
        history[chat] = history.get(chat, system) + f"turn {turn}: " + chat * 400
        slot, tokens = complete(history[chat])
        slots.add(slot)
        computed += [tokens] if turn else []
print(len(slots), *computed)
PY
run() { python "$folder/run.py" "$folder/tiny.gguf" "$1" 2>"$folder/log" | tail -n 1; }
default=$(run default)
zero=$(run 0)
for line in "similarity .1: $default" "similarity 0:  $zero"; do
    echo "$line" | sed -E 's/: ( *)([0-9]+) (.*)/: \1slots used \2, second and third turns computed \3 tokens/'
done
read -r slots first _ <<<"$default"
read -r others rest _ <<<"$zero"
[ "$slots" = 1 ] && [ "$first" -gt 800 ] && [ "$others" = 4 ] && [ "$rest" -lt 420 ]
