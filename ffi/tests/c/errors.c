/* Every way to use the library wrongly that it can see: the status, the message, nothing written. */
#include "check.h"

#define INVALID POINTSMAN_INVALID_ARGUMENT

static void configurations(void) {
    pointsman_router *router = (pointsman_router *)0x1;
    FAILS(INVALID, "router is NULL", pointsman_router_new("{}", NUL, NULL));
    FAILS(INVALID, "config is NULL, but", pointsman_router_new(NULL, 3, &router));
    FAILS(POINTSMAN_INVALID_CONFIG, "sequence", pointsman_router_new("[\"random\"]", NUL, &router));
    FAILS(INVALID, "config is not UTF-8", pointsman_router_new("\xff", 1, &router));
    FAILS(INVALID, "pass NULL for the defaults", pointsman_router_new("", NUL, &router));
    FAILS(INVALID, "pass NULL for the defaults", pointsman_router_new("{}", 0, &router));
    FAILS(INVALID, "pass NULL for the defaults", pointsman_router_new(" \n", NUL, &router));
    FAILS(POINTSMAN_INVALID_CONFIG, "line 1 column 2", pointsman_router_new("{polcy}", NUL, &router));
    FAILS(POINTSMAN_INVALID_CONFIG, "unknown field `polcy`, expected one of `policy`",
          pointsman_router_new("{\"polcy\": 1}", NUL, &router));
    FAILS(POINTSMAN_INVALID_CONFIG, "unknown policy \"nothing\"; known are random",
          pointsman_router_new("{\"policy\": \"nothing\"}", NUL, &router));
    FAILS(POINTSMAN_INVALID_CONFIG, "out of range",
          pointsman_router_new("{\"max_workers\": 2000}", NUL, &router));
    FAILS(POINTSMAN_INVALID_CONFIG, "", pointsman_router_new("{\"max_tickets\": -1}", NUL, &router));
    CHECK(router == (pointsman_router *)0x1);

    router = new_router("{}");
    FAILS(INVALID, "policy is NULL or empty", pointsman_router_set_policy(router, NULL, 0));
    FAILS(INVALID, "policy is NULL or empty", pointsman_router_set_policy(router, " ", NUL));
    FAILS(POINTSMAN_INVALID_CONFIG, "one of your own must be registered first",
          pointsman_router_set_policy(router, "x", NUL));
    FAILS(POINTSMAN_INVALID_CONFIG, "unknown policy \"mine\"",
          pointsman_router_set_policy(
              router, "{\"custom\": {\"name\": \"mine\", \"options\": {}}}", NUL));
    FAILS(POINTSMAN_INVALID_CONFIG, "column", pointsman_router_set_policy(router, "{\"x\": 1}", NUL));
    FAILS(INVALID, "router is NULL", pointsman_router_set_policy(NULL, "random", NUL));
    FAILS(POINTSMAN_INVALID_CONFIG, "out of range",
          pointsman_router_set_split(router, "random", NUL, 1.5));
    FAILS(POINTSMAN_INVALID_CONFIG, "unknown policy", pointsman_router_set_shadow(router, "x", NUL));
    OK(pointsman_router_set_split(router, "random", NUL, 0.5));
    OK(pointsman_router_set_split(router, NULL, 0, 0.0));
    OK(pointsman_router_set_shadow(router, "power_of_two", NUL));
    OK(pointsman_router_set_shadow(router, NULL, 0));
    pointsman_router_free(router);
    pointsman_router_free(NULL);
}

static void builders(void) {
    pointsman_builder *builder = NULL;
    pointsman_router *router = (pointsman_router *)0x1;
    uint8_t key[32] = {0};
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    FAILS(INVALID, "builder is NULL", pointsman_builder_new(NULL));
    OK(pointsman_builder_new(&builder));
    FAILS(INVALID, "builder is NULL", pointsman_builder_set_config(NULL, "{}", NUL));
    FAILS(INVALID, "builder is NULL", pointsman_builder_set_policy(NULL, "random", NUL));
    FAILS(INVALID, "builder is NULL", pointsman_builder_set_tree_budget(NULL, 1));
    FAILS(INVALID, "builder is NULL", pointsman_builder_set_limits(NULL, 1, 1));
    FAILS(INVALID, "builder is NULL", pointsman_builder_set_hash_key(NULL, key, 32));
    FAILS(INVALID, "builder is NULL", pointsman_builder_set_seed(NULL, 1));
    FAILS(INVALID, "builder is NULL", pointsman_builder_set_log(NULL, 1, NULL, NULL));
    FAILS(INVALID, "builder is NULL", pointsman_builder_set_decision_log(NULL, 1, NULL, NULL));
    FAILS(INVALID, "builder is NULL", pointsman_builder_add_policy(NULL, "x", NUL, &policy));
    FAILS(INVALID, "builder is NULL", pointsman_builder_build(NULL, &router));
    FAILS(INVALID, "router is NULL", pointsman_builder_build(builder, NULL));
    FAILS(POINTSMAN_INVALID_CONFIG, "unknown field", pointsman_builder_set_config(builder, "{\"a\":1}", NUL));
    FAILS(INVALID, "policy is NULL or empty", pointsman_builder_set_policy(builder, NULL, 0));
    FAILS(INVALID, "not 32 bytes", pointsman_builder_set_hash_key(builder, key, 31));
    FAILS(INVALID, "key is NULL", pointsman_builder_set_hash_key(builder, NULL, 32));
    FAILS(INVALID, "level is none", pointsman_builder_set_log(builder, 5, NULL, NULL));
    FAILS(INVALID, "level is none", pointsman_builder_set_log(builder, -1, NULL, NULL));
    FAILS(INVALID, "every is 0", pointsman_builder_set_decision_log(builder, 0, NULL, NULL));
    FAILS(INVALID, "no select", pointsman_builder_add_policy(builder, "x", NUL, &policy));
    FAILS(INVALID, "policy is NULL", pointsman_builder_add_policy(builder, "x", NUL, NULL));
    OK(pointsman_builder_set_tree_budget(builder, 1));
    FAILS(POINTSMAN_INVALID_CONFIG, "tree.budget_bytes", pointsman_builder_build(builder, &router));
    OK(pointsman_builder_set_tree_budget(builder, 1 << 20));
    OK(pointsman_builder_set_limits(builder, 5000, 0));
    FAILS(POINTSMAN_INVALID_CONFIG, "max_workers", pointsman_builder_build(builder, &router));
    CHECK(router == (pointsman_router *)0x1);
    /* A handle of another kind. */
    FAILS(INVALID, "not a valid handle", pointsman_router_tick((pointsman_router *)(void *)builder, 0));
    pointsman_builder_free(builder);
    pointsman_builder_free(NULL);
}

static void garbage_handles(void) {
    _Alignas(64) char garbage[256];
    memset(garbage, 0x5a, sizeof garbage);
    pointsman_router *router = (pointsman_router *)(void *)garbage;
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    FAILS(INVALID, "not a valid handle", pointsman_select(router, &request, &chosen));
    router = (pointsman_router *)(void *)(garbage + 1);
    FAILS(INVALID, "not a valid handle", pointsman_select(router, &request, &chosen));
    pointsman_router_free((pointsman_router *)(void *)garbage);
    CHECK(pointsman_router_now((pointsman_router *)(void *)garbage) == 0);
    CHECK(pointsman_router_now(NULL) == 0);
}

static void workers(void) {
    pointsman_router *router = new_router("{\"policy\": \"random\"}");
    uint64_t worker = 77, ids[1];
    size_t length = 99;
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    FAILS(INVALID, "router is NULL", pointsman_worker_add(NULL, &spec, 0, &worker));
    FAILS(INVALID, "spec is NULL", pointsman_worker_add(router, NULL, 0, &worker));
    const uint32_t sizes[] = {0, 1, (uint32_t)sizeof spec - 1, 4097, UINT32_MAX};
    for (int i = 0; i < 5; i++) {
        spec.size = sizes[i];
        FAILS(INVALID, "INIT macro", pointsman_worker_add(router, &spec, 0, &worker));
    }
    spec.size = (uint32_t)sizeof spec;
    FAILS(INVALID, "URL is empty", pointsman_worker_add(router, &spec, 0, &worker));
    spec.url = "\xc3\x28";
    FAILS(INVALID, "spec.url is not UTF-8", pointsman_worker_add(router, &spec, 0, &worker));
    spec.url = NULL;
    spec.url_length = 4;
    FAILS(INVALID, "spec.url is NULL, but", pointsman_worker_add(router, &spec, 0, &worker));
    spec.url = "w";
    spec.url_length = SIZE_MAX / 2 + 2;
    FAILS(INVALID, "longer than memory", pointsman_worker_add(router, &spec, 0, &worker));
    spec.url_length = NUL;
    spec.role = 3;
    FAILS(INVALID, "spec.role is none", pointsman_worker_add(router, &spec, 0, &worker));
    spec.role = 0;
    const double weights[] = {0.0, -1.0, 1e300, 0.0 / strtod("0", NULL)};
    for (int i = 0; i < 4; i++) {
        spec.weight = weights[i];
        FAILS(INVALID, "not allowed", pointsman_worker_add(router, &spec, 0, &worker));
    }
    spec.weight = 1.0;
    spec.kv_capacity_tokens = 0;
    FAILS(INVALID, "spec.kv_capacity_tokens is 0", pointsman_worker_add(router, &spec, 0, &worker));
    spec.kv_capacity_tokens = POINTSMAN_UNKNOWN64;
    spec.label_count = 1;
    FAILS(INVALID, "labels is NULL", pointsman_worker_add(router, &spec, 0, &worker));
    pointsman_label label = POINTSMAN_LABEL_INIT;
    label.key = "\xff";
    spec.labels = &label;
    FAILS(INVALID, "label key is not UTF-8", pointsman_worker_add(router, &spec, 0, &worker));
    label.key = "k";
    label.reserved = 1;
    FAILS(INVALID, "does not know", pointsman_worker_add(router, &spec, 0, &worker));
    spec.label_count = 0;
    CHECK(worker == 77);
    OK(pointsman_worker_add(router, &spec, 0, &worker));
    FAILS(POINTSMAN_ALREADY_EXISTS, "registered already", pointsman_worker_add(router, &spec, 0, NULL));
    uint64_t gone = worker;
    OK(pointsman_worker_remove(router, worker, 0));
    OK(pointsman_worker_add(router, &spec, 0, &worker));
    CHECK(gone != worker);

    FAILS(POINTSMAN_NOT_FOUND, "0 is no worker's id", pointsman_worker_remove(router, 0, 0));
    const uint64_t strangers[] = {0, 1, 12345, UINT64_MAX, gone};
    for (int i = 0; i < 5; i++) {
        uint64_t it = strangers[i];
        pointsman_load load = POINTSMAN_LOAD_INIT;
        pointsman_worker_info info = POINTSMAN_WORKER_INFO_INIT;
        char url[8];
        FAILS(POINTSMAN_NOT_FOUND, "no worker", pointsman_worker_remove(router, it, 0));
        FAILS(POINTSMAN_NOT_FOUND, "no worker", pointsman_worker_drain(router, it));
        FAILS(POINTSMAN_NOT_FOUND, "no worker", pointsman_worker_resume(router, it));
        uint32_t slot = 99;
        FAILS(POINTSMAN_NOT_FOUND, "no worker", pointsman_worker_slot(router, it, &slot));
        CHECK(slot == 99);
        FAILS(POINTSMAN_NOT_FOUND, "no worker", pointsman_worker_set_weight(router, it, 1.0));
        FAILS(POINTSMAN_NOT_FOUND, "no worker", pointsman_worker_set_max_in_flight(router, it, 1));
        FAILS(POINTSMAN_NOT_FOUND, "no worker", pointsman_worker_set_health(router, it, 1));
        FAILS(POINTSMAN_NOT_FOUND, "no worker", pointsman_worker_report_load(router, it, &load));
        FAILS(POINTSMAN_NOT_FOUND, "no worker", pointsman_worker_url(router, it, url, 8, &length));
        FAILS(POINTSMAN_NOT_FOUND, "no worker", pointsman_worker_describe(router, it, 0, &info));
    }
    CHECK(length == 99);
    FAILS(INVALID, "not allowed", pointsman_worker_set_weight(router, worker, 0.0));
    FAILS(INVALID, "health is none", pointsman_worker_set_health(router, worker, 3));
    FAILS(INVALID, "load is NULL", pointsman_worker_report_load(router, worker, NULL));
    pointsman_load reserved = POINTSMAN_LOAD_INIT;
    reserved.reserved = 1;
    FAILS(INVALID, "does not know", pointsman_worker_report_load(router, worker, &reserved));
    FAILS(INVALID, "info is NULL", pointsman_worker_describe(router, worker, 0, NULL));
    FAILS(INVALID, "slot is NULL", pointsman_worker_slot(router, worker, NULL));
    FAILS(INVALID, "worker is NULL", pointsman_worker_find(router, "w", NUL, NULL));
    FAILS(POINTSMAN_NOT_FOUND, "URL", pointsman_worker_find(router, "v", NUL, &worker));
    FAILS(INVALID, "count is NULL", pointsman_workers(router, ids, 1, NULL));
    FAILS(INVALID, "workers is NULL", pointsman_workers(router, NULL, 1, &length));
    add_worker(router, "second", 0);
    FAILS(POINTSMAN_BUFFER_TOO_SMALL, "2 elements", pointsman_workers(router, ids, 1, &length));
    CHECK(length == 2);
    char url[7] = "before";
    uint64_t second = 0;
    OK(pointsman_worker_find(router, "second", NUL, &second));
    FAILS(POINTSMAN_BUFFER_TOO_SMALL, "7 bytes", pointsman_worker_url(router, second, url, 6, &length));
    CHECK(length == 6 && strcmp(url, "before") == 0);
    FAILS(POINTSMAN_BUFFER_TOO_SMALL, "7 bytes", pointsman_worker_url(router, second, NULL, 0, NULL));
    FAILS(INVALID, "buffer is NULL", pointsman_worker_url(router, second, NULL, 7, &length));
    OK(pointsman_worker_url(router, second, url, 7, &length));
    pointsman_router_free(router);
}

/* Every pointer and field of a request, and that nothing is charged or written on failure. */
static void requests(void) {
    pointsman_router *router = new_router("{\"policy\": \"cache_aware\"}");
    uint64_t worker = add_worker(router, "w", 0);
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT, untouched;
    chosen.ticket = 1234;
    chosen.worker = 5678;
    untouched = chosen;
    pointsman_request good = POINTSMAN_REQUEST_INIT, request;

#define REFUSED(status, text, field)                                          \
    do {                                                                      \
        request = good;                                                       \
        field;                                                                \
        FAILS(status, text, pointsman_select(router, &request, &chosen));     \
        CHECK(memcmp(&chosen, &untouched, sizeof chosen) == 0);               \
    } while (0)

    FAILS(INVALID, "router is NULL", pointsman_select(NULL, &good, &chosen));
    FAILS(INVALID, "request is NULL", pointsman_select(router, NULL, &chosen));
    FAILS(INVALID, "selection is NULL", pointsman_select(router, &good, NULL));
    FAILS(INVALID, "prefill is NULL", pointsman_select_pair(router, &good, NULL, &chosen));
    FAILS(INVALID, "decode is NULL", pointsman_select_pair(router, &good, &chosen, NULL));
    FAILS(INVALID, "same selection", pointsman_select_pair(router, &good, &chosen, &chosen));
    REFUSED(INVALID, "prompt_kind", request.prompt_kind = 5);
    REFUSED(INVALID, "prompt_kind", request.prompt_kind = UINT32_MAX);
    REFUSED(INVALID, "request.prompt is NULL",
            request.prompt_kind = POINTSMAN_PROMPT_TEXT; request.prompt_length = 1);
    REFUSED(INVALID, "request.prompt is NULL",
            request.prompt_kind = POINTSMAN_PROMPT_TOKENS; request.prompt_length = 1);
    REFUSED(INVALID, "request.prompt is NULL", request.prompt_kind = POINTSMAN_PROMPT_FINGERPRINT);
    REFUSED(INVALID, "request.prompt is not aligned",
            request.prompt_kind = POINTSMAN_PROMPT_TOKENS; request.prompt_length = 1;
            request.prompt = (const char *)&good + 1);
    REFUSED(INVALID, "longer than memory", request.prompt_kind = POINTSMAN_PROMPT_TEXT;
            request.prompt = "x"; request.prompt_length = SIZE_MAX - 1);
    REFUSED(INVALID, "longer than memory", request.prompt_kind = POINTSMAN_PROMPT_TOKENS;
            request.prompt = &good; request.prompt_length = SIZE_MAX / 4);
    REFUSED(POINTSMAN_BAD_BODY, "unexpected end at byte 1",
            request.prompt_kind = POINTSMAN_PROMPT_JSON; request.prompt = "{";
            request.prompt_length = 1);
    REFUSED(INVALID, "cache_namespace is not UTF-8", request.cache_namespace = "\xfe");
    REFUSED(INVALID, "excluded is NULL", request.excluded_count = 1);
    uint64_t zero = 0;
    REFUSED(INVALID, "excluded contains 0", request.excluded = &zero; request.excluded_count = 1);
    REFUSED(INVALID, "allowed is NULL, but", request.allowed_count = 1);
    REFUSED(INVALID, "allowed_words is NULL, but", request.allowed_words_count = 1);
    REFUSED(INVALID, "allowed contains 0", request.allowed = &zero; request.allowed_count = 1);
    REFUSED(INVALID, "allowed_words is not aligned",
            request.allowed_words = (const uint64_t *)(const void *)((const char *)&good + 4);
            request.allowed_words_count = 1);
    REFUSED(INVALID, "labels is NULL", request.label_count = 1);
    REFUSED(INVALID, "does not know", request.reserved = 1);
    pointsman_label labels[17];
    for (int i = 0; i < 17; i++) {
        labels[i] = (pointsman_label)POINTSMAN_LABEL_INIT;
        labels[i].key = "k";
        labels[i].value = "v";
    }
    REFUSED(INVALID, "more than POINTSMAN_MAX_REQUEST_LABELS, 16", request.labels = labels; request.label_count = 17);
    REFUSED(POINTSMAN_NO_WORKER, "1 excluded", request.labels = labels; request.label_count = 16);
    REFUSED(POINTSMAN_NO_WORKER, "1 excluded", request.excluded = &worker; request.excluded_count = 1);
    REFUSED(POINTSMAN_NO_WORKER, "1 excluded", request.allowed = &worker);

    OK(pointsman_worker_set_max_in_flight(router, worker, 1));
    pointsman_selection first = POINTSMAN_SELECTION_INIT;
    OK(pointsman_select(router, &good, &first));
    REFUSED(POINTSMAN_ALL_BUSY, "in-flight limit", (void)0);
    OK(pointsman_complete(router, first.ticket, NULL));
    OK(pointsman_worker_drain(router, worker));
    REFUSED(POINTSMAN_NO_WORKER, "1 draining", (void)0);
    OK(pointsman_worker_resume(router, worker));
    OK(pointsman_worker_set_health(router, worker, POINTSMAN_HEALTH_UNHEALTHY));
    REFUSED(POINTSMAN_NO_WORKER, "1 unhealthy", (void)0);
    OK(pointsman_worker_remove(router, worker, 0));
    REFUSED(POINTSMAN_NO_WORKER, "0 registered", (void)0);
    CHECK(describe(router, add_worker(router, "w", 0)).in_flight == 0);

    pointsman_selection decode = POINTSMAN_SELECTION_INIT;
    FAILS(POINTSMAN_NO_WORKER, "prefill", pointsman_select_pair(router, &good, &chosen, &decode));
    for (int role = 1; role < 3; role++) {
        pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
        spec.role = (uint32_t)role;
        spec.url = spec.group = role == 1 ? "one" : "other";
        OK(pointsman_worker_add(router, &spec, 0, NULL));
    }
    FAILS(POINTSMAN_NO_PAIR, "share a group", pointsman_select_pair(router, &good, &chosen, &decode));
    CHECK(memcmp(&chosen, &untouched, sizeof chosen) == 0 && decode.ticket == 0);
    pointsman_router_free(router);
}

static void sizes(void) {
    pointsman_router *router = new_router("{\"policy\": \"random\"}");
    uint64_t worker = add_worker(router, "w", 0);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    pointsman_completion end = POINTSMAN_COMPLETION_INIT;
    pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    const uint32_t wrong[] = {0, 1, 4, 8};
    for (int i = 0; i < 4; i++) {
        request.size = wrong[i];
        FAILS(INVALID, "request has a size", pointsman_select(router, &request, &chosen));
        request.size = sizeof request;
        chosen.size = wrong[i];
        FAILS(INVALID, "selection has a size", pointsman_select(router, &request, &chosen));
        chosen.size = sizeof chosen;
        end.size = wrong[i];
        FAILS(INVALID, "completion has a size", pointsman_complete(router, 1, &end));
        metrics.size = wrong[i];
        FAILS(INVALID, "metrics has a size", pointsman_router_metrics(router, 0, &metrics));
        spec.size = wrong[i];
        FAILS(INVALID, "spec has a size", pointsman_worker_add(router, &spec, 0, NULL));
    }
    CHECK(describe(router, worker).selections == 0);

    /* A newer caller: longer structs are welcome while what this version does not know is unset. */
    struct {
        pointsman_request request;
        uint64_t added;
    } newer = {POINTSMAN_REQUEST_INIT, 0};
    struct {
        pointsman_selection chosen;
        uint64_t added;
    } wider = {POINTSMAN_SELECTION_INIT, 7};
    newer.request.size = sizeof newer;
    wider.chosen.size = sizeof wider;
    OK(pointsman_select(router, &newer.request, &wider.chosen));
    CHECK(wider.chosen.worker == worker && wider.added == 7 && wider.chosen.size == sizeof wider);
    OK(pointsman_complete(router, wider.chosen.ticket, NULL));
    newer.added = 1;
    FAILS(INVALID, "does not know", pointsman_select(router, &newer.request, &wider.chosen));
    pointsman_router_free(router);
}

static void tickets(void) {
    pointsman_router *router = new_router("{\"policy\": \"round_robin\"}");
    uint64_t worker = add_worker(router, "w", 0), other = add_worker(router, "v", 0);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    pointsman_completion end = POINTSMAN_COMPLETION_INIT;
    OK(pointsman_select(router, &request, &chosen));
    FAILS(INVALID, "router is NULL", pointsman_complete(NULL, chosen.ticket, NULL));
    FAILS(INVALID, "router is NULL", pointsman_first_token(NULL, chosen.ticket, 0, 0));
    FAILS(INVALID, "router is NULL", pointsman_progress(NULL, chosen.ticket, 0));
    FAILS(INVALID, "worker is NULL", pointsman_best_match(router, chosen.ticket, NULL, NULL));
    end.outcome = POINTSMAN_OUTCOME_EXPIRED;
    FAILS(INVALID, "outcome", pointsman_complete(router, chosen.ticket, &end));
    end.outcome = 7;
    FAILS(INVALID, "outcome", pointsman_complete(router, chosen.ticket, &end));
    end.outcome = POINTSMAN_OUTCOME_SUCCESS;
    end.failed_role = 3;
    FAILS(INVALID, "failed_role", pointsman_complete(router, chosen.ticket, &end));
    CHECK(describe(router, worker).in_flight + describe(router, other).in_flight == 1);
    OK(pointsman_first_token(router, chosen.ticket, 5, POINTSMAN_NOW));
    FAILS(POINTSMAN_ALREADY_REPORTED, "reported before",
          pointsman_first_token(router, chosen.ticket, 5, POINTSMAN_NOW));
    OK(pointsman_complete(router, chosen.ticket, NULL));
    for (int i = 0; i < 3; i++) {
        FAILS(POINTSMAN_ALREADY_CLOSED, "closed", pointsman_complete(router, chosen.ticket, NULL));
        FAILS(POINTSMAN_ALREADY_CLOSED, "closed", pointsman_first_token(router, chosen.ticket, 0, 0));
        FAILS(POINTSMAN_ALREADY_CLOSED, "closed", pointsman_progress(router, chosen.ticket, 0));
    }
    const uint64_t wild[] = {1, 2, (uint64_t)1000 << 20 | 3, UINT64_MAX, 0x123456789abcdef0};
    for (int i = 0; i < 5; i++) {
        FAILS(POINTSMAN_NOT_FOUND, "no such ticket", pointsman_complete(router, wild[i], NULL));
        FAILS(POINTSMAN_NOT_FOUND, "no such ticket", pointsman_first_token(router, wild[i], 0, 0));
        FAILS(POINTSMAN_NOT_FOUND, "no such ticket", pointsman_progress(router, wild[i], 0));
    }
    /* Ticket 0 is a request that was not tracked. */
    OK(pointsman_complete(router, 0, NULL));
    OK(pointsman_first_token(router, 0, 0, 0));
    OK(pointsman_progress(router, 0, 0));
    /* Late: after the worker has left. */
    OK(pointsman_select(router, &request, &chosen));
    OK(pointsman_worker_remove(router, chosen.worker, 0));
    FAILS(POINTSMAN_ALREADY_CLOSED, "worker was removed", pointsman_complete(router, chosen.ticket, NULL));
    pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
    OK(pointsman_router_metrics(router, 0, &metrics));
    CHECK(metrics.in_flight == 0 && metrics.tickets_open == 0);
    FAILS(INVALID, "metrics is NULL", pointsman_router_metrics(router, 0, NULL));
    FAILS(INVALID, "router is NULL", pointsman_router_metrics(NULL, 0, &metrics));
    FAILS(INVALID, "router is NULL", pointsman_router_prometheus(NULL, 0, NULL, 0, NULL));
    FAILS(INVALID, "router is NULL", pointsman_router_tick(NULL, 0));
    FAILS(INVALID, "router is NULL", pointsman_router_after_fork(NULL));
    char line[16];
    size_t length = 0;
    FAILS(INVALID, "selection is NULL", pointsman_selection_print(router, NULL, line, 16, NULL));
    FAILS(POINTSMAN_BUFFER_TOO_SMALL, "", pointsman_selection_print(router, &chosen, line, 16, &length));
    CHECK(length > 16);
    pointsman_router_free(router);
}

int main(void) {
    configurations();
    builders();
    garbage_handles();
    workers();
    requests();
    sizes();
    tickets();
    puts("errors: all well");
    return 0;
}
