#!/usr/bin/env bash
# Package: mistral-common 1.13.1, with the tokenizers that it ships
#
# Guess: the system prompt opens the prompt, as in every chat template, so the prompt of a chat's next turn begins with the
#   prompt of this one.
# Seen: the tokenizers of versions 2 and 3 (7B v0.3 and Nemo have the third) put the system prompt into the LAST user message.
#   The second turn's prompt has it behind the first turn, and the two prompts share two tokens, <s> and [INST]. Later turns
#   find the turns before the last; the system prompt is computed anew on every turn, and two chats never share it beyond
#   their first turn. Versions 1 and 7 behave as guessed.
# Output (tokens of the first turn's prompt with which the second turn's begins):
#   v1: 197 of 197
#   v2: 2 of 192
#   v3: 2 of 192
#   v3 tekken: 2 of 190
#   v7: 192 of 192
source "$(dirname "$0")/common/setup.bash"
packages mistral-common==1.13.1 sentencepiece==0.2.1
cat >"$folder/run.py" <<'PY'
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

system = SystemMessage(content="You are the help desk of a shop. " * 20)
first = [system, UserMessage(content="Where is my parcel?")]
second = first + [AssistantMessage(content="It is on its way."), UserMessage(content="When will it come?")]
tokenizers = {
    "v1": MistralTokenizer.v1(),
    "v2": MistralTokenizer.v2(),
    "v3": MistralTokenizer.v3(),
    "v3 tekken": MistralTokenizer.v3(is_tekken=True),
    "v7": MistralTokenizer.v7(),
}
whole = {}
for name, tokenizer in tokenizers.items():
    before, after = (tokenizer.encode_chat_completion(ChatCompletionRequest(messages=turn)).tokens for turn in (first, second))
    same = next((place for place, pair in enumerate(zip(before, after)) if pair[0] != pair[1]), len(before))
    whole[name] = same == len(before)
    print(f"{name}: {same} of {len(before)}")
    assert whole[name] or same == 2
assert [name for name in whole if not whole[name]] == ["v2", "v3", "v3 tekken"]
PY
python "$folder/run.py"
