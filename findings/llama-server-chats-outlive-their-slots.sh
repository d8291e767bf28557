#!/usr/bin/env bash
# Packages: xllamacpp 2026.10.11549 (llama.cpp's own server), gguf 0.19.0; a small random model is made here.
#
# Guess: a server with 4 slots holds the prefixes of 4 chats. With 8 chats in turn the least recently used slot is taken each
#   time, so no chat finds anything of itself when it comes back, and a router should count the slots as the cache's size.
# Seen: every chat finds its whole history, each turn. A chat that loses its slot is copied to a cache in the host's memory
#   (cache_ram_mib, 8,192 unless set) and copied back into whichever slot it gets. The size of the cache is that
#   memory, not the slots; with cache_ram_mib 0 the guess is right.
# Output (8 chats that share nothing, 4 slots; prompt tokens found by each chat at its second turn):
#   as it comes:     409 409 409 409 409 409 409 409 of 817
#   cache_ram_mib 0: 1 1 1 1 1 1 1 1 of 817 (the start token)
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
if len(sys.argv) > 2:
    params.cache_ram_mib = int(sys.argv[2])
server = xllamacpp.Server(params)


def found(prompt):
    body = {"prompt": prompt, "n_predict": 2, "temperature": 0, "ignore_eos": True}
    request = urllib.request.Request(server.listening_address + "/completion", json.dumps(body).encode())
    answer = json.load(urllib.request.urlopen(request))
    return answer["timings"]["cache_n"], answer["tokens_evaluated"]


chats = {chat: "" for chat in "ABCDEFGH"}
for turn in range(2):
    for chat in chats:
        chats[chat] += chat * 400 + f" turn {turn} "
    seen = [found(history) for history in chats.values()]
print(*(cached for cached, _ in seen), "of", seen[0][1])
PY
run() { python "$folder/run.py" "$folder/tiny.gguf" "$@" 2>"$folder/log" | tail -n 1; }
default=$(run)
without=$(run 0)
echo "as it comes:     $default"
echo "cache_ram_mib 0: $without"
[[ $default =~ ^(40[0-9] ){8}of ]] && [[ $without =~ ^([0-9] ){8}of ]]
