/* Prompts in every form: bodies, fingerprints whole and in pieces, encoded and decoded. */
#include "check.h"

#define BLOCKS 256

static const char *BODY =
    "{\"model\": \"m\", \"stream\": true, \"max_tokens\": 33, \"messages\": ["
    "{\"role\": \"system\", \"content\": \"You are a patient teacher of railway history. You "
    "answer in full sentences, you give years where you know them, and you say so where you do "
    "not. You never invent a station, a line or an accident. When asked for sources you name "
    "books.\"}, {\"role\": \"user\", \"content\": \"Why is the gauge of most railways 1435 mm? "
    "And which countries have chosen another one, and do they regret it by now? "
    "Name the three that changed theirs last, and what that cost them in years and in money.\"}]}";

static pointsman_request with(uint32_t kind, const void *prompt, size_t length) {
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    request.prompt_kind = kind;
    request.prompt = prompt;
    request.prompt_length = length;
    return request;
}

static int same(const pointsman_fingerprint *a, const pointsman_fingerprint *b) {
    return a->version == b->version && a->unit == b->unit && a->block_bytes == b->block_bytes &&
           a->key_id == b->key_id && a->hash_count == b->hash_count &&
           a->cache_namespace == b->cache_namespace && a->total == b->total &&
           memcmp(a->hashes, b->hashes, a->hash_count * sizeof *a->hashes) == 0;
}

/* The whole prompt at once, and in pieces of every small size. */
static void pieces(pointsman_router *router, uint32_t kind, const void *prompt, size_t length,
                   size_t unit, const char *space) {
    uint64_t hashes[BLOCKS];
    pointsman_fingerprint whole = POINTSMAN_FINGERPRINT_INIT, built = POINTSMAN_FINGERPRINT_INIT;
    pointsman_request request = with(kind, prompt, length);
    request.cache_namespace = space;
    OK(pointsman_fingerprint_request(router, &request, hashes, BLOCKS, &whole));
    CHECK(whole.hash_count > 0 && whole.hashes == hashes);
    pointsman_fingerprinter *printer = NULL;
    OK(pointsman_fingerprinter_new(router, BLOCKS, &printer));
    for (size_t cut = 1; cut < 200; cut += cut < 20 ? 1 : 37) {
        OK(pointsman_fingerprinter_begin(printer, kind, space, NUL));
        for (size_t at = 0; at < length; at += cut) {
            size_t piece = length - at < cut ? length - at : cut;
            OK(pointsman_fingerprinter_push(printer, (const char *)prompt + at * unit, piece));
        }
        OK(pointsman_fingerprinter_finish(printer, &built));
        CHECK(same(&whole, &built));
    }
    pointsman_fingerprinter_free(printer);
}

static void all_in_pieces(void) {
    pointsman_router *router = new_router("{}");
    uint32_t tokens[1000];
    for (uint32_t i = 0; i < 1000; i++) tokens[i] = i * i;
    pieces(router, POINTSMAN_PROMPT_TEXT, BODY, strlen(BODY), 1, NULL);
    pieces(router, POINTSMAN_PROMPT_TEXT, BODY, strlen(BODY), 1, "space");
    pieces(router, POINTSMAN_PROMPT_TOKENS, tokens, 1000, 4, NULL);
    pieces(router, POINTSMAN_PROMPT_JSON, BODY, strlen(BODY), 1, NULL);
    pieces(router, POINTSMAN_PROMPT_JSON, BODY, strlen(BODY), 1, "space");
    pointsman_router_free(router);
}

static void two_phases(void) {
    pointsman_router *router = new_router("{\"policy\": \"cache_aware\"}");
    for (int i = 0; i < 5; i++) {
        char url[8];
        snprintf(url, sizeof url, "w%d", i);
        add_worker(router, url, 0);
    }
    /* The body routes whole; its fingerprint, sent over a wire, follows to the same worker. */
    pointsman_request request = with(POINTSMAN_PROMPT_JSON, BODY, strlen(BODY));
    pointsman_selection first = POINTSMAN_SELECTION_INIT, second = POINTSMAN_SELECTION_INIT;
    OK(pointsman_select(router, &request, &first));
    OK(pointsman_complete(router, first.ticket, NULL));
    uint64_t hashes[BLOCKS], received[BLOCKS];
    pointsman_fingerprint sent = POINTSMAN_FINGERPRINT_INIT, got = POINTSMAN_FINGERPRINT_INIT;
    unsigned char wire[32 + 8 * BLOCKS];
    size_t length = 0;
    OK(pointsman_fingerprint_request(router, &request, hashes, BLOCKS, &sent));
    OK(pointsman_fingerprint_encode(&sent, wire, sizeof wire, &length));
    CHECK(length == 32 + 8 * (size_t)sent.hash_count);
    OK(pointsman_fingerprint_decode(wire, length, received, BLOCKS, &got));
    CHECK(same(&sent, &got));
    pointsman_request again = with(POINTSMAN_PROMPT_FINGERPRINT, &got, 0);
    OK(pointsman_select(router, &again, &second));
    CHECK(second.worker == first.worker && second.matched_tokens > 0);
    OK(pointsman_complete(router, second.ticket, NULL));

    /* Fewer hashes than the prompt has blocks. */
    OK(pointsman_fingerprint_decode(wire, length, received, 2, &got));
    CHECK(got.hash_count == 2 && got.total == sent.total);
    OK(pointsman_fingerprint_decode(wire, length, NULL, 0, &got));
    CHECK(got.hash_count == 0);

    /* What the body says beside its prompt. */
    pointsman_fingerprinter *printer = NULL;
    pointsman_body body = POINTSMAN_BODY_INIT;
    OK(pointsman_fingerprinter_new(router, BLOCKS, &printer));
    OK(pointsman_fingerprinter_begin(printer, POINTSMAN_PROMPT_JSON, NULL, 0));
    OK(pointsman_fingerprinter_push(printer, BODY, strlen(BODY)));
    FAILS(POINTSMAN_NOT_FOUND, "no JSON body", pointsman_fingerprinter_body(printer, &body));
    OK(pointsman_fingerprinter_finish(printer, &got));
    OK(pointsman_fingerprinter_body(printer, &body));
    CHECK(same(&sent, &got));
    CHECK(body.kind == POINTSMAN_BODY_CHAT && body.stream == 1 && body.max_tokens == 33);
    CHECK(body.has_prompt == 1);
    /* The fingerprinter outlives its router. */
    OK(pointsman_fingerprinter_begin(printer, POINTSMAN_PROMPT_JSON, NULL, 0));
    pointsman_router_free(router);
    OK(pointsman_fingerprinter_push(printer, "{\"model\": \"m\"}", NUL));
    OK(pointsman_fingerprinter_finish(printer, &got));
    OK(pointsman_fingerprinter_body(printer, &body));
    CHECK(got.hash_count == 0 && body.has_prompt == 0 && body.max_tokens == POINTSMAN_UNKNOWN);
    pointsman_fingerprinter_free(printer);
}

static void refused(void) {
    pointsman_router *router = new_router("{\"policy\": \"cache_aware\"}");
    pointsman_router *stranger = new_router("{\"policy\": \"cache_aware\"}");
    add_worker(router, "w", 0);
    add_worker(stranger, "w", 0);
    uint64_t hashes[BLOCKS];
    pointsman_request request = with(POINTSMAN_PROMPT_TEXT, BODY, strlen(BODY));
    pointsman_fingerprint good = POINTSMAN_FINGERPRINT_INIT, bad;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    OK(pointsman_fingerprint_request(router, &request, hashes, BLOCKS, &good));
    request = with(POINTSMAN_PROMPT_FINGERPRINT, &good, 0);
    OK(pointsman_select(router, &request, &chosen));
    FAILS(POINTSMAN_BAD_FINGERPRINT, "key", pointsman_select(stranger, &request, &chosen));
    request.cache_namespace = "elsewhere";
    FAILS(POINTSMAN_BAD_FINGERPRINT, "namespace", pointsman_select(router, &request, &chosen));
    request.cache_namespace = NULL;
    request.prompt = &bad;
#define BAD(status, text, field)                                              \
    do {                                                                      \
        bad = good;                                                           \
        field;                                                                \
        FAILS(status, text, pointsman_select(router, &request, &chosen));     \
    } while (0)
    BAD(POINTSMAN_BAD_FINGERPRINT, "format 3", bad.version = 3);
    BAD(POINTSMAN_INVALID_ARGUMENT, "fingerprint.version", bad.version = 257);
    BAD(POINTSMAN_INVALID_ARGUMENT, "fingerprint.unit", bad.unit = 2);
    BAD(POINTSMAN_INVALID_ARGUMENT, "fingerprint.block_bytes", bad.block_bytes = 1 << 20);
    BAD(POINTSMAN_BAD_FINGERPRINT, "blocks of 256", bad.block_bytes = 256; bad.total = 1 << 20);
    BAD(POINTSMAN_BAD_FINGERPRINT, "contradicts", bad.total = 1);
    BAD(POINTSMAN_INVALID_ARGUMENT, "fingerprint.hashes is NULL", bad.hashes = NULL);
    BAD(POINTSMAN_INVALID_ARGUMENT, "has a size", bad.size = 8);

    unsigned char wire[2048];
    size_t length = 7;
    pointsman_fingerprint got = POINTSMAN_FINGERPRINT_INIT;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "fingerprint is NULL",
          pointsman_fingerprint_encode(NULL, wire, sizeof wire, &length));
    CHECK(length == 7);
    FAILS(POINTSMAN_BUFFER_TOO_SMALL, "needs",
          pointsman_fingerprint_encode(&good, wire, 33, &length));
    CHECK(length == 32 + 8 * (size_t)good.hash_count);
    OK(pointsman_fingerprint_encode(&good, wire, sizeof wire, NULL));
    FAILS(POINTSMAN_BAD_FINGERPRINT, "shorter",
          pointsman_fingerprint_decode(wire, 31, hashes, BLOCKS, &got));
    FAILS(POINTSMAN_BAD_FINGERPRINT, "shorter",
          pointsman_fingerprint_decode(wire, length - 1, hashes, BLOCKS, &got));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "bytes is NULL",
          pointsman_fingerprint_decode(NULL, 1, hashes, BLOCKS, &got));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "hashes is NULL",
          pointsman_fingerprint_decode(wire, length, NULL, 1, &got));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "fingerprint is NULL",
          pointsman_fingerprint_decode(wire, length, hashes, BLOCKS, NULL));

    pointsman_fingerprinter *printer = NULL;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "router is NULL", pointsman_fingerprinter_new(NULL, 1, &printer));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "fingerprinter is NULL", pointsman_fingerprinter_new(router, 1, NULL));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "capacity", pointsman_fingerprinter_new(router, SIZE_MAX, &printer));
    CHECK(printer == NULL);
    OK(pointsman_fingerprinter_new(router, 4, &printer));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "no prompt begun", pointsman_fingerprinter_push(printer, "x", 1));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "no prompt begun", pointsman_fingerprinter_finish(printer, &got));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "prompt_kind", pointsman_fingerprinter_begin(printer, 3, NULL, 0));
    OK(pointsman_fingerprinter_begin(printer, POINTSMAN_PROMPT_JSON, NULL, 0));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "piece is NULL", pointsman_fingerprinter_push(printer, NULL, 1));
    OK(pointsman_fingerprinter_push(printer, NULL, 0));
    FAILS(POINTSMAN_BAD_BODY, "at byte 1", pointsman_fingerprinter_push(printer, "{x", 2));
    FAILS(POINTSMAN_BAD_BODY, "", pointsman_fingerprinter_finish(printer, &got));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "fingerprinter is NULL", pointsman_fingerprinter_push(NULL, "x", 1));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "body is NULL", pointsman_fingerprinter_body(printer, NULL));
    pointsman_fingerprinter_free(printer);
    pointsman_fingerprinter_free(NULL);
    pointsman_router_free(router);
    pointsman_router_free(stranger);
}

int main(void) {
    all_in_pieces();
    two_phases();
    refused();
    puts("prompts: all well");
    return 0;
}
