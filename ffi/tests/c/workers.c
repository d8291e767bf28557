/* Workers that change without losing what is known of them, and all of them listed at once. */
#include "check.h"

static uint32_t held(pointsman_router *router, uint64_t worker, const char *text) {
    pointsman_request request = text_request(text);
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    request.allowed = &worker, request.allowed_count = 1;
    OK(pointsman_select(router, &request, &chosen));
    OK(pointsman_complete(router, chosen.ticket, NULL));
    return chosen.matched_tokens;
}

static void changes(void) {
    pointsman_router *router = new_router("{\"policy\": \"cache_aware\"}");
    const uint64_t worker = add_worker(router, "http://old", 0), other = add_worker(router, "http://other", 0);
    char text[2001], url[32];
    memset(text, 'p', 2000), text[2000] = '\0';
    CHECK(held(router, worker, text) == 0 && held(router, worker, text) > 400);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection open = POINTSMAN_SELECTION_INIT;
    request.allowed = &worker, request.allowed_count = 1;
    OK(pointsman_select(router, &request, &open));
    const pointsman_worker_info before = describe(router, worker);

    /* As INIT has it, it changes nothing. */
    pointsman_worker_change change = POINTSMAN_WORKER_CHANGE_INIT;
    OK(pointsman_worker_update(router, worker, &change));
    pointsman_worker_info after = describe(router, worker);
    CHECK(memcmp(&before, &after, sizeof before) == 0);

    pointsman_label labels[2] = {POINTSMAN_LABEL_INIT, POINTSMAN_LABEL_INIT};
    labels[0].key = "tier", labels[0].value = "b";
    labels[1].key = "zone", labels[1].value = "x";
    change.url = "http://new!", change.url_length = 10;
    change.group = "g", change.weight = 3, change.max_in_flight = 2;
    change.kv_capacity_tokens = 1 << 20;
    change.labels = labels, change.label_count = 2;
    OK(pointsman_worker_update(router, worker, &change));
    after = describe(router, worker);
    CHECK(after.worker == worker && after.slot == before.slot && after.in_flight == 1);
    CHECK(after.selections == before.selections && after.weight == 3.0 && after.max_in_flight == 2);
    OK(pointsman_worker_url(router, worker, url, sizeof url, NULL));
    CHECK(strcmp(url, "http://new") == 0 && held(router, worker, text) > 400);
    uint64_t found = 0;
    OK(pointsman_worker_find(router, "http://new", NUL, &found));
    CHECK(found == worker);
    CHECK(pointsman_worker_find(router, "http://old", NUL, &found) == POINTSMAN_NOT_FOUND);
    request.allowed = NULL, request.allowed_count = 0;
    request.labels = &labels[1], request.label_count = 1;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    OK(pointsman_select(router, &request, &chosen));
    CHECK(chosen.worker == worker);
    CHECK(pointsman_select(router, &request, &chosen) == POINTSMAN_ALL_BUSY);
    OK(pointsman_complete(router, chosen.ticket, NULL));
    OK(pointsman_complete(router, open.ticket, NULL));

    /* Errors change nothing. */
    change.weight = 7;
    change.url = "http://other", change.url_length = NUL;
    FAILS(POINTSMAN_ALREADY_EXISTS, "http://other", pointsman_worker_update(router, worker, &change));
    change.url = "";
    FAILS(POINTSMAN_INVALID_ARGUMENT, "URL is empty", pointsman_worker_update(router, worker, &change));
    change.url = "\xff";
    FAILS(POINTSMAN_INVALID_ARGUMENT, "change.url is not UTF-8", pointsman_worker_update(router, worker, &change));
    change.url = NULL, change.weight = -1;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "weight", pointsman_worker_update(router, worker, &change));
    change.weight = 7, change.reserved = 1;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "does not know", pointsman_worker_update(router, worker, &change));
    change.reserved = 0, change.labels = NULL;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "labels is NULL", pointsman_worker_update(router, worker, &change));
    change.label_count = 0, change.size = 4;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "INIT macro", pointsman_worker_update(router, worker, &change));
    change.size = sizeof change;
    FAILS(POINTSMAN_NOT_FOUND, "0 is no worker", pointsman_worker_update(router, 0, &change));
    FAILS(POINTSMAN_NOT_FOUND, "no worker has id", pointsman_worker_update(router, 1, &change));
    CHECK(describe(router, worker).weight == 3.0);

    /* What was set is taken back. */
    change = (pointsman_worker_change)POINTSMAN_WORKER_CHANGE_INIT;
    change.max_in_flight = 0, change.group = "", change.kv_capacity_tokens = POINTSMAN_UNKNOWN64;
    change.labels = labels, change.label_count = 0;
    OK(pointsman_worker_update(router, worker, &change));
    CHECK(describe(router, worker).max_in_flight == 0 && describe(router, worker).weight == 3.0);
    CHECK(pointsman_select(router, &request, &chosen) == POINTSMAN_NO_WORKER);
    change.url = "http://old";
    OK(pointsman_worker_update(router, other, &change));
    pointsman_router_free(router);
}

/* A later version's description, as a program built with it has it. */
struct longer {
    pointsman_worker_info known;
    uint64_t more;
};

static void listed(void) {
    pointsman_router *router = new_router(NULL);
    size_t count = 99;
    OK(pointsman_workers_describe(router, 0, NULL, 0, &count));
    CHECK(count == 0);
    uint64_t ids[100];
    for (uint32_t i = 0; i < 100; i++) {
        char url[16];
        snprintf(url, sizeof url, "http://%u", i);
        ids[i] = add_worker(router, url, i % 3);
    }
    OK(pointsman_worker_drain(router, ids[7]));
    OK(pointsman_worker_set_weight(router, ids[8], 2));
    FAILS(POINTSMAN_BUFFER_TOO_SMALL, "100 elements", pointsman_workers_describe(router, 0, NULL, 0, &count));
    CHECK(count == 100);
    static pointsman_worker_info infos[101];
    infos[0] = (pointsman_worker_info)POINTSMAN_WORKER_INFO_INIT;
    CHECK(pointsman_workers_describe(router, 0, infos, 99, &count) == POINTSMAN_BUFFER_TOO_SMALL);
    CHECK(infos[0].worker == 0 && infos[1].size == 0);
    OK(pointsman_workers_describe(router, 0, infos, 101, &count));
    CHECK(count == 100 && infos[100].size == 0);
    for (size_t i = 0; i < 100; i++) {
        const pointsman_worker_info alone = describe(router, ids[i]);
        CHECK(memcmp(&alone, &infos[i], sizeof alone) == 0);
    }
    CHECK(infos[7].draining == 1 && infos[8].weight == 2.0 && infos[9].slot == 9);

    static struct longer longer[100];
    longer[0].known.size = sizeof *longer, longer[99].more = 5;
    OK(pointsman_workers_describe(router, 0, &longer[0].known, 100, &count));
    CHECK(longer[99].known.worker == ids[99] && longer[99].known.size == sizeof *longer);
    CHECK(longer[99].more == 5);
    longer[0].known.size = sizeof(pointsman_worker_info) + 4;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "odd size",
          pointsman_workers_describe(router, 0, &longer[0].known, 100, &count));
    infos[0].size = 0;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "INIT macro", pointsman_workers_describe(router, 0, infos, 100, &count));
    infos[0].size = sizeof *infos;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "memory", pointsman_workers_describe(router, 0, infos, SIZE_MAX, &count));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "infos is NULL", pointsman_workers_describe(router, 0, NULL, 1, &count));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "count is NULL", pointsman_workers_describe(router, 0, infos, 100, NULL));
    pointsman_router_free(router);
}

/* What is reserved must be 0 wherever it is passed in. */
static void reserved(void) {
    pointsman_router *router = new_router(NULL);
    const uint64_t worker = add_worker(router, "a", 0);
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_load load = POINTSMAN_LOAD_INIT;
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    pointsman_label labels[2] = {POINTSMAN_LABEL_INIT, POINTSMAN_LABEL_INIT};
    request.reserved = load.reserved = labels[1].reserved = 1;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "does not know", pointsman_select(router, &request, &chosen));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "does not know",
          pointsman_select_pair(router, &request, &chosen, &(pointsman_selection)POINTSMAN_SELECTION_INIT));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "does not know", pointsman_worker_report_load(router, worker, &load));
    request.reserved = 0;
    request.labels = spec.labels = labels, request.label_count = spec.label_count = 2, spec.url = "b";
    FAILS(POINTSMAN_INVALID_ARGUMENT, "does not know", pointsman_select(router, &request, &chosen));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "does not know", pointsman_worker_add(router, &spec, 0, NULL));
    /* Those of outputs are set. */
    pointsman_worker_info info = POINTSMAN_WORKER_INFO_INIT;
    info.reserved = 7;
    OK(pointsman_worker_describe(router, worker, 0, &info));
    CHECK(info.reserved == 0);
    pointsman_router_free(router);
}

/* Limits that the header tells. */
static void limits(void) {
    pointsman_builder *builder = NULL;
    pointsman_router *router = NULL;
    OK(pointsman_builder_new(&builder));
    OK(pointsman_builder_set_limits(builder, 1024, 65));
    OK(pointsman_builder_build(builder, &router));
    pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
    OK(pointsman_router_metrics(router, 0, &metrics));
    CHECK(metrics.tickets_capacity == 128);
    pointsman_router *none = NULL;
    OK(pointsman_builder_set_limits(builder, 0, 1048577));
    FAILS(POINTSMAN_INVALID_CONFIG, "max_tickets", pointsman_builder_build(builder, &none));
    OK(pointsman_builder_set_limits(builder, 1025, 1048576));
    FAILS(POINTSMAN_INVALID_CONFIG, "max_workers", pointsman_builder_build(builder, &none));
    pointsman_builder_free(builder);

    const uint64_t a = add_worker(router, "a", 0), b = add_worker(router, "b", 0);
    OK(pointsman_worker_set_weight(router, a, 1e6));
    CHECK(pointsman_worker_set_weight(router, a, 1e6 + 1) == POINTSMAN_INVALID_ARGUMENT);
    CHECK(pointsman_worker_set_weight(router, a, -1) == POINTSMAN_INVALID_ARGUMENT);

    /* Both lists at once admit what is in both; ids of no worker match none. */
    const uint64_t unknown = 99u << 16, first = 1;
    uint64_t ids[2] = {a, b};
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    request.allowed = ids, request.allowed_count = 2;
    request.allowed_words = &first, request.allowed_words_count = 1;
    for (int i = 0; i < 8; i++) {
        OK(pointsman_select(router, &request, &chosen));
        CHECK(chosen.worker == a);
        OK(pointsman_complete(router, chosen.ticket, NULL));
    }
    request.allowed = &b, request.allowed_count = 1;
    CHECK(pointsman_select(router, &request, &chosen) == POINTSMAN_NO_WORKER);
    request = (pointsman_request)POINTSMAN_REQUEST_INIT;
    request.allowed = &unknown, request.allowed_count = 1;
    CHECK(pointsman_select(router, &request, &chosen) == POINTSMAN_NO_WORKER);
    request.allowed = NULL, request.allowed_count = 0;
    request.excluded = &unknown, request.excluded_count = 1;
    OK(pointsman_select(router, &request, &chosen));
    ids[0] = 0, request.excluded = ids;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "0, which is no worker", pointsman_select(router, &request, &chosen));

    pointsman_fingerprinter *printer = NULL;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "16,777,216", pointsman_fingerprinter_new(router, (1 << 24) + 1, &printer));
    for (size_t capacity = 0; capacity < 3; capacity++) {
        char text[1000];
        memset(text, 'x', sizeof text);
        pointsman_fingerprint print = POINTSMAN_FINGERPRINT_INIT;
        OK(pointsman_fingerprinter_new(router, capacity, &printer));
        OK(pointsman_fingerprinter_begin(printer, POINTSMAN_PROMPT_TEXT, NULL, 0));
        OK(pointsman_fingerprinter_push(printer, text, sizeof text));
        OK(pointsman_fingerprinter_finish(printer, &print));
        CHECK(print.hash_count == capacity && print.total == sizeof text && print.block_bytes == 128);
        pointsman_fingerprinter_free(printer);
    }
    pointsman_router_free(router);
}

int main(void) {
    reserved();
    limits();
    changes();
    listed();
    puts("workers: all well");
    return 0;
}
