/*
 * Reads the engines' token counts out of an answer that passes through, for gateways in C. The same as
 * examples/gateway/proxy/usage.rs, and held to the same answers (tests/data/usage.json).
 *
 * One pass over the bytes, however they are cut: of a JSON answer or a stream of events, the last number under each
 * name in an object "usage" or "meta_info" (SGLang's), wherever that object lies: usage of chat, completions and
 * Messages, response.usage of a Responses stream, message.usage of a Messages stream. Generated text cannot be taken
 * for it: the quotes in it are escaped.
 */
#ifndef POINTSMAN_USAGE_H
#define POINTSMAN_USAGE_H

#include <pointsman.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    USAGE_PROMPT,
    USAGE_INPUT,
    USAGE_COMPLETION,
    USAGE_OUTPUT,
    USAGE_CACHED,
    USAGE_CACHE_READ,
    USAGE_CACHE_WRITTEN,
    USAGE_NAMES
};

/* The longest name, and one byte more by which a longer one is seen to be another. */
#define USAGE_LONGEST 28

/* All zero at the beginning of an answer. */
typedef struct {
    uint32_t  counts[USAGE_NAMES];
    uint8_t   known;             /* bits: which counts there are */
    uint8_t   length;            /* of text: the last string, until something other than a colon follows it */
    uint8_t   in_text, escaped, has_number;
    int8_t    key;               /* before the value that comes now: 0 none, -1 an object of counts, else a count + 1 */
    char      text[USAGE_LONGEST];
    uint32_t  depth;
    uint32_t  counting;          /* depth of the object that counts; 0 outside of one */
    uint64_t  number;
} usage_reader;

/* What the last string means as a name. */
static inline int8_t usage_named(usage_reader *u)
{
    static const char *const names[USAGE_NAMES] = {
        "prompt_tokens", "input_tokens", "completion_tokens", "output_tokens",
        "cached_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
    };
    size_t length = u->length;
    u->length = 0;
    if (u->counting == 0) {
        return (length == 5 && memcmp(u->text, "usage", 5) == 0)
                       || (length == 9 && memcmp(u->text, "meta_info", 9) == 0)
                   ? -1
                   : 0;
    }
    for (int name = 0; name < USAGE_NAMES; name++) {
        if (strlen(names[name]) == length && memcmp(u->text, names[name], length) == 0) {
            /* The cached ones stand one level deeper, in prompt_tokens_details or input_tokens_details. */
            uint32_t deepest = name == USAGE_CACHED ? 1 : 0;
            return u->depth - u->counting <= deepest ? (int8_t) (name + 1) : 0;
        }
    }
    return 0;
}

/* A byte of a string. JSON has no line break in one: after something that is no JSON, the next line counts again. */
static inline void usage_text(usage_reader *u, unsigned char byte)
{
    if (byte == '\n') {
        u->in_text = 0;
    } else if (u->escaped) {
        u->escaped = 0;
    } else if (byte == '"') {
        u->in_text = 0;
    } else if (byte == '\\') {
        u->escaped = 1;
        u->length = USAGE_LONGEST;
    } else if (u->length < USAGE_LONGEST) {
        u->text[u->length++] = (char) byte;
    }
}

static inline void usage_mark(usage_reader *u, unsigned char byte)
{
    if (byte >= '0' && byte <= '9' && u->key > 0) {
        uint64_t digit = (uint64_t) (byte - '0');
        u->number = u->number > UINT32_MAX ? u->number : u->number * 10 + digit;
        u->has_number = 1;
        return;
    }
    if (u->has_number) {
        uint8_t bit = (uint8_t) (1u << (u->key - 1));
        if (u->number < POINTSMAN_UNKNOWN) {
            u->counts[u->key - 1] = (uint32_t) u->number;
            u->known |= bit;
        } else {
            u->known &= (uint8_t) ~bit;
        }
        u->number = 0, u->has_number = 0, u->key = 0;
    }
    switch (byte) {
    case ' ': case '\t': case '\r': case '\n':
        break;
    case '"':
        u->in_text = 1, u->escaped = 0, u->length = 0, u->key = 0;
        break;
    case ':':
        u->key = usage_named(u);
        break;
    case '{':
        u->depth++;
        if (u->counting == 0 && u->key < 0) u->counting = u->depth;
        u->key = 0;
        break;
    case '}':
        if (u->depth == u->counting) u->counting = 0;
        if (u->depth != 0) u->depth--;
        break;
    default:
        u->key = 0, u->length = 0;
    }
}

/* The next bytes of the answer. */
static inline void usage_push(usage_reader *u, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < length; i++) {
        if (u->in_text) {
            usage_text(u, at[i]);
        } else {
            usage_mark(u, at[i]);
        }
    }
}

static inline uint32_t usage_count(const usage_reader *u, int name)
{
    return (u->known >> name) & 1 ? u->counts[name] : POINTSMAN_UNKNOWN;
}

/*
 * What has been reported so far, as the library counts: prompt tokens include the cached ones. Messages say how many
 * were read from the cache or written into it beside input_tokens.
 */
static inline void usage_report(const usage_reader *u, pointsman_completion *completion)
{
    uint32_t input = usage_count(u, USAGE_INPUT), read = usage_count(u, USAGE_CACHE_READ);
    uint32_t written = usage_count(u, USAGE_CACHE_WRITTEN);
    completion->prompt_tokens = usage_count(u, USAGE_PROMPT);
    if (completion->prompt_tokens == POINTSMAN_UNKNOWN && input != POINTSMAN_UNKNOWN) {
        uint64_t whole = (uint64_t) input + (read != POINTSMAN_UNKNOWN ? read : 0)
                         + (written != POINTSMAN_UNKNOWN ? written : 0);
        completion->prompt_tokens = whole < POINTSMAN_UNKNOWN ? (uint32_t) whole : POINTSMAN_UNKNOWN;
    }
    completion->cached_tokens = usage_count(u, USAGE_CACHED);
    if (completion->cached_tokens == POINTSMAN_UNKNOWN) completion->cached_tokens = read;
    completion->completion_tokens = usage_count(u, USAGE_COMPLETION);
    if (completion->completion_tokens == POINTSMAN_UNKNOWN) completion->completion_tokens = usage_count(u, USAGE_OUTPUT);
}

#endif
