#!/usr/bin/env bash
# Package: ai-dynamo-runtime 1.6.1 (RadixTree is the index behind Dynamo's KV router)
#
# Guess: an index of KV events counts copies. An engine that stored a block twice (two equal prompts in one step do that in
#   vLLM, under one hash) and then removed one copy still has it.
# Seen: the index keeps a set. The first of the two removals takes the block away, and with it all blocks behind it, which the
#   engine never removed; the worker's score falls from 4 to 0. Storing the first block again gives back that one alone: the three
#   behind it stay unknown until they are stored anew, though the engine held them all the time.
# Output (blocks of a 4 block prompt that the index finds on the worker):
#   all stored, the first twice: 4
#   one copy of it removed:      0
#   stored once more:            1
source "$(dirname "$0")/common/setup.bash"
packages ai-dynamo-runtime==1.6.1
cat >"$folder/run.py" <<'PY'
import json
from dynamo.llm import RadixTree, compute_block_hash_for_seq

tree = RadixTree()
content = compute_block_hash_for_seq(list(range(64)), 16)
names = [101, 102, 103, 104]
events = iter(range(1, 9))


def event(data):
    tree.apply_event(7, json.dumps({"event_id": next(events), "data": data, "dp_rank": 0}).encode())


def store(parent, places):
    blocks = [{"block_hash": names[place], "tokens_hash": content[place]} for place in places]
    event({"stored": {"parent_hash": parent, "blocks": blocks}})


def found(what):
    score = tree.find_matches(content).scores.get((7, 0), 0)
    print(f"{what:28} {score}")
    return score


store(None, range(4))
store(None, [0])
scores = [found("all stored, the first twice:")]
event({"removed": {"block_hashes": [names[0]]}})
scores.append(found("one copy of it removed:"))
store(None, [0])
scores.append(found("stored once more:"))
assert scores == [4, 0, 1]
PY
python "$folder/run.py" 2>"$folder/log" || { tail -n 5 "$folder/log"; exit 1; }
