/* What engines say, as a host without ZeroMQ of its own hears it. argv[2] is the folder of captured messages. */
#include "check.h"

#define MOST 64

/* A captured message: its title and its last two frames. */
static struct message {
    char title[200];
    unsigned char *frames[2];
    size_t lengths[2];
} messages[MOST];
static int count;

static void add_frame(struct message *message, const char *hex) {
    free(message->frames[0]);
    message->frames[0] = message->frames[1], message->lengths[0] = message->lengths[1];
    const size_t length = *hex == '(' ? 0 : strspn(hex, "0123456789abcdef") / 2;
    unsigned char *bytes = malloc(length + 1);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < length; i++) {
        unsigned byte = 0;
        CHECK(sscanf(hex + 2 * i, "%2x", &byte) == 1);
        bytes[i] = (unsigned char)byte;
    }
    message->frames[1] = bytes, message->lengths[1] = length;
}

static void read_capture(const char *folder, const char *name) {
    static char line[1 << 16];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "## ", 3) == 0) {
            CHECK(count < MOST);
            snprintf(messages[count++].title, sizeof messages->title, "%.190s", line + 3);
        } else if (strncmp(line, "frame", 5) == 0) {
            add_frame(&messages[count - 1], strchr(line, ' ') + 1);
        }
    }
    fclose(file);
}

/* What the callback has heard. */
static struct {
    int of_kind[5];
    uint64_t blocks, tokens, gap_from, gap_to, last_hash;
} heard;

static void hear(void *user_data, const pointsman_kv_event *event) {
    CHECK(user_data == &heard && event->size == sizeof *event && event->kind <= POINTSMAN_KV_RESTARTED);
    CHECK(pointsman_in_callback() && event->rank == 0);
    heard.of_kind[event->kind]++;
    heard.gap_from = event->gap_from, heard.gap_to = event->gap_to;
    if (event->kind == POINTSMAN_KV_STORED) {
        CHECK(event->medium == POINTSMAN_MEDIUM_DEVICE && event->attention == POINTSMAN_ATTENTION_FULL);
        CHECK(event->window == POINTSMAN_UNKNOWN && event->block_size == 32 && !event->is_remote);
        CHECK(event->token_count == 32 * event->hash_count && !event->has_pairs && !event->group);
        CHECK(event->has_parent == (event->parent != 0));
        CHECK(event->lora_name == NULL && event->cache_salt == NULL && event->session_id == NULL);
        for (size_t i = 0; i < event->token_count; i++) heard.tokens += event->tokens[i] < 1000;
    }
    for (size_t i = 0; i < event->hash_count; i++) heard.last_hash = event->hashes[i];
    heard.blocks += event->hash_count;
}

static pointsman_status feed(pointsman_engine *engine, const pointsman_router *router, uint64_t worker,
                             pointsman_source source, const struct message *message, pointsman_fed *fed) {
    return pointsman_engine_feed(engine, router, worker, source, message->frames[0], message->lengths[0],
                                 message->frames[1], message->lengths[1], hear, &heard, fed);
}

static int is_replay(const struct message *message) { return strncmp(message->title, "replay", 6) == 0; }

static uint32_t matched(const pointsman_router *router, const uint32_t *tokens, size_t length) {
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    request.prompt_kind = POINTSMAN_PROMPT_TOKENS;
    request.prompt = tokens, request.prompt_length = length;
    OK(pointsman_select(router, &request, &chosen));
    OK(pointsman_complete(router, chosen.ticket, NULL));
    return chosen.matched_tokens;
}

/* A run of a real vLLM, with evictions and clears, heard by a router. */
static void a_run(void) {
    pointsman_router *router = new_router("{\"policy\": \"cache_aware\"}");
    const uint64_t worker = add_worker(router, "http://a", 0);
    pointsman_engine *engine = NULL;
    pointsman_fed fed = POINTSMAN_FED_INIT;
    static uint32_t tokens[320];
    int live = 0;
    OK(pointsman_engine_new(&engine));
    for (uint32_t i = 0; i < 320; i++) tokens[i] = i;
    CHECK(matched(router, tokens, 320) == 0);
    CHECK(matched(router, tokens, 320) > 300);
    for (int i = 0; i < count && !is_replay(&messages[i]); i++, live++) {
        OK(feed(engine, router, worker, POINTSMAN_SOURCE_LIVE, &messages[i], &fed));
        CHECK(fed.message == POINTSMAN_MESSAGE_EVENTS && fed.events > 0 && fed.time > 1.7e9 && !fed.rank);
        CHECK(fed.refused == 0 && fed.unknown == 0 && fed.refused_at == POINTSMAN_UNKNOWN64);
        if (i == 0) CHECK(fed.held_tokens == 96 && fed.capacity_tokens == POINTSMAN_UNKNOWN64);
    }
    CHECK(live == 12 && heard.of_kind[POINTSMAN_KV_REMOVED] == 10 && heard.of_kind[POINTSMAN_KV_CLEARED] == 2);
    CHECK(heard.of_kind[POINTSMAN_KV_GAP] == 0 && heard.of_kind[POINTSMAN_KV_RESTARTED] == 0);
    CHECK(heard.tokens == 32 * (heard.blocks - 10) && heard.last_hash == 15217365740222080624u);
    CHECK(fed.held_tokens == 32 && fed.capacity_tokens == 20 * 32 && fed.removed_tokens == 10 * 32);
    /* Cleared: nothing of it is believed to be there. */
    CHECK(matched(router, tokens, 320) == 0);
    CHECK(matched(router, tokens, 320) > 300);
    OK(pointsman_engine_restart(engine, router, worker, hear, &heard));
    CHECK(heard.of_kind[POINTSMAN_KV_RESTARTED] == 1 && matched(router, tokens, 320) == 0);

    FAILS(POINTSMAN_NOT_FOUND, "0 is no worker's id",
          feed(engine, router, 0, POINTSMAN_SOURCE_LIVE, &messages[0], NULL));
    OK(pointsman_worker_remove(router, worker, 0));
    FAILS(POINTSMAN_NOT_FOUND, "no worker has id",
          feed(engine, router, worker, POINTSMAN_SOURCE_LIVE, &messages[1], NULL));
    OK(feed(engine, NULL, 0, POINTSMAN_SOURCE_LIVE, &messages[2], NULL));
    pointsman_engine_free(engine);
    pointsman_engine_free(NULL);
    pointsman_router_free(router);
}

/* All but the first and the last message are lost, and replayed as far as the engine has them. */
static void a_gap(void) {
    pointsman_engine *engine = NULL;
    pointsman_fed fed = POINTSMAN_FED_INIT;
    uint64_t from = 9, to = 9;
    const struct message *last = &messages[11];
    OK(pointsman_engine_new(&engine));
    OK(pointsman_engine_gap(engine, messages[0].frames[0], 8, messages[0].frames[1], messages[0].lengths[1],
                            NULL, NULL, &from, &to));
    CHECK(from == to);
    OK(feed(engine, NULL, 0, POINTSMAN_SOURCE_LIVE, &messages[0], NULL));
    OK(pointsman_engine_gap(engine, last->frames[0], 8, last->frames[1], last->lengths[1], hear, &heard, &from,
                            &to));
    CHECK(from == 1 && to == 11);
    const int gaps = heard.of_kind[POINTSMAN_KV_GAP];
    for (int i = 0; i < count; i++) {
        if (strncmp(messages[i].title, "replay from 0", 13) != 0) continue;
        OK(feed(engine, NULL, 0, POINTSMAN_SOURCE_REPLAY, &messages[i], &fed));
    }
    CHECK(fed.message == POINTSMAN_MESSAGE_END_OF_REPLAY && heard.of_kind[POINTSMAN_KV_GAP] == gaps + 1);
    OK(feed(engine, NULL, 0, POINTSMAN_SOURCE_LIVE, last, &fed));
    CHECK(fed.message == POINTSMAN_MESSAGE_KNOWN && fed.events == 0);

    const struct message *first = &messages[0];
    for (size_t length = 0; length < first->lengths[1]; length += 7) {
        FAILS(POINTSMAN_BAD_MESSAGE, "unexpected end at byte",
              pointsman_engine_feed(engine, NULL, 0, POINTSMAN_SOURCE_LIVE, first->frames[0], 8,
                                    first->frames[1], length, hear, &heard, &fed));
    }
    FAILS(POINTSMAN_BAD_MESSAGE, "not eight bytes",
          pointsman_engine_gap(engine, "seven b", 7, "", 0, NULL, NULL, &from, &to));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "source is none", feed(engine, NULL, 0, 2, first, NULL));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "engine is NULL", feed(NULL, NULL, 0, 0, first, NULL));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "payload is NULL",
          pointsman_engine_feed(engine, NULL, 0, 0, first->frames[0], 8, NULL, 3, NULL, NULL, NULL));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "to is NULL",
          pointsman_engine_gap(engine, first->frames[0], 8, "", 0, NULL, NULL, &from, NULL));
    pointsman_engine_free(engine);
}

static void loads(void) {
    static const char metrics[] = "vllm:num_requests_running{engine=\"0\"} 3\n"
                                  "vllm:num_requests_running{engine=\"1\"} 4\n"
                                  "vllm:num_requests_waiting{engine=\"0\"} 1\n"
                                  "vllm:num_requests_waiting{engine=\"1\"} 0\n"
                                  "vllm:kv_cache_usage_perc{engine=\"0\"} .5\n";
    static const char orca[] = "TEXT named_metrics.kv_cache_usage_perc=0.25, named_metrics.num_requests_waiting=2.0";
    static const char listing[] = "{\"loads\":[{\"dp_rank\":0,\"num_running_reqs\":5,\"num_waiting_reqs\":6,"
                                  "\"num_used_tokens\":70,\"max_total_num_tokens\":100,\"cache_hit_rate\":0.5}]}";
    pointsman_router *router = new_router("{}");
    const uint64_t worker = add_worker(router, "http://a", 0);
    pointsman_engine *engine = NULL;
    pointsman_engine_load load = POINTSMAN_ENGINE_LOAD_INIT;
    OK(pointsman_engine_new(&engine));
    OK(pointsman_engine_read_load(engine, router, worker, POINTSMAN_LOAD_FROM_METRICS, metrics, strlen(metrics),
                                  POINTSMAN_NONE, POINTSMAN_UNKNOWN, &load));
    CHECK(load.running == 7 && load.waiting == 1 && load.ranks == 2 && load.reported == 1);
    CHECK(load.kv_usage < 0 && load.hit_rate < 0 && load.kv_used_tokens == POINTSMAN_UNKNOWN64);
    OK(pointsman_engine_read_load(engine, NULL, 0, POINTSMAN_LOAD_FROM_METRICS, metrics, strlen(metrics), 1,
                                  POINTSMAN_UNKNOWN, &load));
    CHECK(load.running == 4 && load.waiting == 0 && load.reported == 0);
    OK(pointsman_engine_read_load(engine, router, worker, POINTSMAN_LOAD_FROM_METRICS, metrics, strlen(metrics), 2,
                                  POINTSMAN_UNKNOWN, &load));
    CHECK(load.running == POINTSMAN_UNKNOWN && load.waiting == POINTSMAN_UNKNOWN && load.reported == 0);
    OK(pointsman_engine_read_load(engine, router, worker, POINTSMAN_LOAD_FROM_ORCA, orca, strlen(orca),
                                  POINTSMAN_NONE, POINTSMAN_UNKNOWN, &load));
    CHECK(load.running == POINTSMAN_UNKNOWN && load.waiting == 2 && load.kv_usage == .25 && !load.reported);
    OK(pointsman_engine_read_load(engine, router, worker, POINTSMAN_LOAD_FROM_ORCA, orca, strlen(orca),
                                  POINTSMAN_NONE, 9, &load));
    CHECK(load.running == 9 && load.reported == 1);
    OK(pointsman_engine_read_load(engine, router, worker, POINTSMAN_LOAD_FROM_LISTING, listing, strlen(listing),
                                  POINTSMAN_NONE, 9, &load));
    CHECK(load.running == 5 && load.waiting == 6 && load.kv_used_tokens == 70 && load.kv_total_tokens == 100);
    CHECK(load.kv_usage == .7 && load.hit_rate == .5 && load.queried_tokens == POINTSMAN_UNKNOWN64);
    OK(pointsman_engine_read_load(engine, router, worker, POINTSMAN_LOAD_FROM_METRICS, "", 0, POINTSMAN_NONE,
                                  POINTSMAN_UNKNOWN, NULL));

    FAILS(POINTSMAN_BAD_MESSAGE, "a metric that cannot be read at byte",
          pointsman_engine_read_load(engine, router, worker, POINTSMAN_LOAD_FROM_METRICS, metrics, 38,
                                     POINTSMAN_NONE, 0, NULL));
    FAILS(POINTSMAN_BAD_MESSAGE, "neither TEXT nor JSON",
          pointsman_engine_read_load(engine, router, worker, POINTSMAN_LOAD_FROM_ORCA, "BIN x", 5, POINTSMAN_NONE,
                                     0, NULL));
    FAILS(POINTSMAN_BAD_MESSAGE, "unexpected end at byte",
          pointsman_engine_read_load(engine, router, worker, POINTSMAN_LOAD_FROM_LISTING, listing, 20,
                                     POINTSMAN_NONE, 0, NULL));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "source is none",
          pointsman_engine_read_load(engine, router, worker, 3, listing, 20, POINTSMAN_NONE, 0, NULL));
    FAILS(POINTSMAN_NOT_FOUND, "no worker has id",
          pointsman_engine_read_load(engine, router, worker + 1, POINTSMAN_LOAD_FROM_METRICS, metrics,
                                     strlen(metrics), POINTSMAN_NONE, 0, NULL));
    pointsman_engine_free(engine);
    pointsman_router_free(router);
}

int main(int argument_count, char **arguments) {
    CHECK(argument_count == 3);
    read_capture(arguments[2], "vllm-0.32.0-int.txt");
    CHECK(count == 23);
    a_run();
    a_gap();
    loads();
    for (int i = 0; i < count; i++) free(messages[i].frames[0]), free(messages[i].frames[1]);
    return 0;
}
