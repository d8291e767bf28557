/* Every function once, as a host would use it. */
#include "check.h"

static void versions(void) {
    CHECK(strcmp(pointsman_version(), POINTSMAN_VERSION) == 0);
    CHECK(pointsman_version_number() == POINTSMAN_VERSION_NUMBER);
    CHECK(pointsman_abi_version() == POINTSMAN_ABI_VERSION);
    CHECK(strcmp(pointsman_status_string(POINTSMAN_OK), "ok") == 0);
    CHECK(strcmp(pointsman_reason_string(POINTSMAN_REASON_LEAST_WORK), "least_work") == 0);
    CHECK(strcmp(pointsman_reason_string(99), "unknown") == 0);
    CHECK(strcmp(pointsman_outcome_string(POINTSMAN_OUTCOME_TIMEOUT), "timeout") == 0);
    CHECK(strcmp(pointsman_outcome_string(99), "unknown") == 0);
}

static void workers(void) {
    pointsman_router *router = new_router("{\"policy\": \"round_robin\"}");
    pointsman_label labels[2] = {POINTSMAN_LABEL_INIT, POINTSMAN_LABEL_INIT};
    labels[0].key = "zone";
    labels[0].value = "a";
    labels[1].key = "gpu!";
    labels[1].key_length = 3;
    labels[1].value = "h100";
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    spec.url = "http://one, and not this";
    spec.url_length = 10;
    spec.group = "rack";
    spec.weight = 2.0;
    spec.kv_capacity_tokens = 100000;
    spec.user_data = 42;
    spec.labels = labels;
    spec.label_count = 2;
    spec.max_in_flight = 7;
    uint64_t one = 0, two, found = 0, ids[4];
    OK(pointsman_worker_add(router, &spec, POINTSMAN_NOW, &one));
    two = add_worker(router, "http://two", POINTSMAN_ROLE_REGULAR);
    CHECK(one != two);

    OK(pointsman_worker_find(router, "http://one", NUL, &found));
    CHECK(found == one);
    size_t length = 0, count = 0;
    char url[16];
    memset(url, 'x', sizeof url);
    OK(pointsman_worker_url(router, one, url, sizeof url, &length));
    CHECK(length == 10 && strcmp(url, "http://one") == 0);
    OK(pointsman_worker_url(router, one, url, 11, NULL));
    OK(pointsman_workers(router, ids, 4, &count));
    CHECK(count == 2 && ids[0] == one && ids[1] == two);

    pointsman_worker_info info = describe(router, one);
    CHECK(info.worker == one && info.user_data == 42 && info.role == POINTSMAN_ROLE_REGULAR);
    CHECK(info.weight == 2.0 && info.effective_weight == 2.0);
    CHECK(info.healthy == 1 && info.draining == 0 && info.on_probation == 0);
    CHECK(info.in_flight == 0 && info.selections == 0);

    OK(pointsman_worker_set_weight(router, one, 3.0));
    OK(pointsman_worker_set_max_in_flight(router, one, 5));
    CHECK(describe(router, one).max_in_flight == 5);
    OK(pointsman_worker_set_max_in_flight(router, one, 0));
    CHECK(describe(router, one).max_in_flight == 0);
    OK(pointsman_worker_drain(router, one));
    OK(pointsman_worker_set_health(router, two, POINTSMAN_HEALTH_UNHEALTHY));
    CHECK(describe(router, one).weight == 3.0 && describe(router, one).draining == 1);
    CHECK(describe(router, two).healthy == 0);
    OK(pointsman_worker_resume(router, one));
    OK(pointsman_worker_set_health(router, two, POINTSMAN_HEALTH_HEALTHY));
    OK(pointsman_worker_set_health(router, two, POINTSMAN_HEALTH_UNKNOWN));
    CHECK(describe(router, one).draining == 0 && describe(router, two).healthy == 1);

    pointsman_load load = POINTSMAN_LOAD_INIT;
    load.running = 3;
    load.kv_used_tokens = 1000;
    OK(pointsman_worker_report_load(router, one, &load));

    /* Only the worker with both labels. */
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    request.labels = labels;
    request.label_count = 2;
    for (int i = 0; i < 5; i++) {
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        OK(pointsman_select(router, &request, &chosen));
        CHECK(chosen.worker == one && chosen.user_data == 42);
        OK(pointsman_complete(router, chosen.ticket, NULL));
    }
    OK(pointsman_worker_remove(router, one, POINTSMAN_NOW));
    FAILS(POINTSMAN_NOT_FOUND, "no worker has id", pointsman_worker_url(router, one, url, 16, NULL));
    pointsman_router_free(router);
}

static void who_may_serve(void) {
    pointsman_router *router = new_router("{\"policy\": \"random\"}");
    uint64_t ids[3] = {
        add_worker(router, "a", POINTSMAN_ROLE_REGULAR),
        add_worker(router, "b", POINTSMAN_ROLE_REGULAR),
        add_worker(router, "c", POINTSMAN_ROLE_REGULAR),
    };
    uint32_t slot = 0;
    OK(pointsman_worker_slot(router, ids[2], &slot));
    CHECK(slot == describe(router, ids[2]).slot && slot != describe(router, ids[1]).slot);
    uint64_t words[16] = {0};
    words[slot / 64] = (uint64_t)1 << (slot % 64);
    for (int i = 0; i < 30; i++) {
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        request.excluded = ids;
        request.excluded_count = 2;
        OK(pointsman_select(router, &request, &chosen));
        CHECK(chosen.worker == ids[2]);
        OK(pointsman_complete(router, chosen.ticket, NULL));

        request = (pointsman_request)POINTSMAN_REQUEST_INIT;
        request.allowed = ids + 1;
        request.allowed_count = 1;
        OK(pointsman_select(router, &request, &chosen));
        CHECK(chosen.worker == ids[1]);
        OK(pointsman_complete(router, chosen.ticket, NULL));

        request = (pointsman_request)POINTSMAN_REQUEST_INIT;
        request.allowed_words = words;
        request.allowed_words_count = slot / 64 + 1;
        OK(pointsman_select(router, &request, &chosen));
        CHECK(chosen.worker == ids[2]);
        OK(pointsman_complete(router, chosen.ticket, NULL));
    }
    pointsman_request empty = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    empty.allowed = ids;
    FAILS(POINTSMAN_NO_WORKER, "3 excluded", pointsman_select(router, &empty, &chosen));
    pointsman_router_free(router);
}

static void prefixes(void) {
    pointsman_router *router = new_router("{\"policy\": \"cache_aware\", \"seed\": 1}");
    for (int i = 0; i < 4; i++) {
        char url[8];
        snprintf(url, sizeof url, "w%d", i);
        add_worker(router, url, POINTSMAN_ROLE_REGULAR);
    }
    char text[4096];
    uint32_t tokens[1024];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i * i % 26);
    for (uint32_t i = 0; i < 1024; i++) tokens[i] = i * 7919;
    for (int kind = 0; kind < 2; kind++) {
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        request.prompt_kind = kind == 0 ? POINTSMAN_PROMPT_TEXT : POINTSMAN_PROMPT_TOKENS;
        request.prompt = kind == 0 ? (const void *)text : tokens;
        request.prompt_length = kind == 0 ? sizeof text : 1024;
        request.cache_namespace = "llama/lora-1";
        request.routing_key = "session-17";
        request.expected_output_tokens = 100;
        pointsman_selection first = POINTSMAN_SELECTION_INIT, again = POINTSMAN_SELECTION_INIT;
        OK(pointsman_select(router, &request, &first));
        CHECK(first.matched_tokens == 0 && first.total_tokens == 1024);
        OK(pointsman_first_token(router, first.ticket, POINTSMAN_UNKNOWN, POINTSMAN_NOW));
        OK(pointsman_progress(router, first.ticket, POINTSMAN_NOW));
        pointsman_completion end = POINTSMAN_COMPLETION_INIT;
        OK(pointsman_outcome_of_http_status(200, 0, &end));
        end.prompt_tokens = 1024;
        end.cached_tokens = 0;
        end.completion_tokens = 100;
        OK(pointsman_complete(router, first.ticket, &end));
        OK(pointsman_select(router, &request, &again));
        CHECK(again.worker == first.worker && again.matched_tokens >= 960);

        char line[512];
        size_t length;
        OK(pointsman_selection_print(router, &again, line, sizeof line, &length));
        CHECK(length == strlen(line) && line[0] == '{' && line[length - 1] == '}');
        CHECK(strstr(line, "\"url\":\"w") && strstr(line, "\"reason\":\"least_work\""));
        OK(pointsman_selection_print(NULL, &again, line, sizeof line, NULL));
        CHECK(strstr(line, "\"url\"") == NULL);
        OK(pointsman_complete(router, again.ticket, NULL));

        request.cache_namespace = "llama/lora-2";
        OK(pointsman_select(router, &request, &again));
        CHECK(again.matched_tokens == 0);
        OK(pointsman_complete(router, again.ticket, NULL));
    }
    pointsman_router_free(router);
}

static void pairs(void) {
    pointsman_router *router = new_router("{\"prefill_policy\": \"round_robin\"}");
    uint64_t prefill = add_worker(router, "p", POINTSMAN_ROLE_PREFILL);
    uint64_t decode = add_worker(router, "d", POINTSMAN_ROLE_DECODE);
    pointsman_request request = text_request("Hello");
    pointsman_selection p = POINTSMAN_SELECTION_INIT, d = POINTSMAN_SELECTION_INIT;
    OK(pointsman_select_pair(router, &request, &p, &d));
    CHECK(p.worker == prefill && d.worker == decode && p.ticket == d.ticket && p.ticket != 0);
    CHECK(describe(router, prefill).in_flight == 1 && describe(router, decode).in_flight == 1);
    OK(pointsman_first_token(router, p.ticket, 0, POINTSMAN_NOW));
    CHECK(describe(router, prefill).in_flight == 0 && describe(router, decode).in_flight == 1);
    pointsman_completion end = POINTSMAN_COMPLETION_INIT;
    end.outcome = POINTSMAN_OUTCOME_WORKER_ERROR;
    end.failed_role = POINTSMAN_ROLE_PREFILL;
    OK(pointsman_complete(router, p.ticket, &end));
    CHECK(describe(router, prefill).worker_error == 1 && describe(router, decode).worker_error == 0);
    CHECK(describe(router, decode).in_flight == 0);
    pointsman_router_free(router);
}

static void outcomes(void) {
    pointsman_router *router = new_router("{\"policy\": \"round_robin\"}");
    uint64_t worker = add_worker(router, "w", POINTSMAN_ROLE_REGULAR);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    for (uint32_t outcome = 0; outcome < POINTSMAN_OUTCOME_EXPIRED; outcome++) {
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        OK(pointsman_select(router, &request, &chosen));
        pointsman_completion end = POINTSMAN_COMPLETION_INIT;
        end.outcome = outcome;
        end.retry_after = 1000000000;
        OK(pointsman_complete(router, chosen.ticket, &end));
    }
    pointsman_worker_info info = describe(router, worker);
    CHECK(info.selections == 6 && info.in_flight == 0 && info.client_cancelled == 1);
    CHECK(info.client_error == 1 && info.worker_error == 1 && info.timeout == 1);
    CHECK(info.overloaded == 1 && info.expired == 0);
    CHECK(info.effective_weight < info.weight);
    pointsman_router_free(router);
}

static void told_time(void) {
    pointsman_router *router = new_router("{\"policy\": \"random\", \"ticket_deadline_secs\": 10}");
    const uint64_t second = 1000000000;
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    spec.url = "w";
    OK(pointsman_worker_add(router, &spec, 100 * second, NULL));
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    request.now = 100 * second;
    pointsman_selection kept = POINTSMAN_SELECTION_INIT, lost = POINTSMAN_SELECTION_INIT;
    OK(pointsman_select(router, &request, &kept));
    OK(pointsman_select(router, &request, &lost));
    OK(pointsman_progress(router, kept.ticket, 109 * second));
    OK(pointsman_router_tick(router, 115 * second));
    FAILS(POINTSMAN_ALREADY_CLOSED, "closed", pointsman_complete(router, lost.ticket, NULL));
    pointsman_completion end = POINTSMAN_COMPLETION_INIT;
    end.now = 116 * second;
    OK(pointsman_complete(router, kept.ticket, &end));
    pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
    OK(pointsman_router_metrics(router, 116 * second, &metrics));
    CHECK(metrics.tickets_expired == 1 && metrics.tickets_open == 0 && metrics.decisions == 2);
    pointsman_router_free(router);
    router = new_router(NULL);
    uint64_t before = pointsman_router_now(router);
    CHECK(pointsman_router_now(router) >= before);
    OK(pointsman_router_tick(router, POINTSMAN_NOW));
    pointsman_router_free(router);
}

/* A limit holds whether requests can be tracked or not. */
static void full_table(void) {
    pointsman_router *router = new_router("{\"policy\": \"power_of_two\", \"max_tickets\": 64}");
    uint64_t workers[2] = {add_worker(router, "a", POINTSMAN_ROLE_REGULAR),
                           add_worker(router, "b", POINTSMAN_ROLE_REGULAR)};
    for (int i = 0; i < 2; i++) OK(pointsman_worker_set_max_in_flight(router, workers[i], 70));
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    uint64_t first = 0;
    int served = 0;
    for (int i = 0; i < 1000; i++) {
        pointsman_status status = pointsman_select(router, &request, &chosen);
        if (status != POINTSMAN_OK) {
            CHECK(status == POINTSMAN_ALL_BUSY);
            continue;
        }
        CHECK(chosen.ticket != 0);
        if (served++ == 0) first = chosen.ticket;
    }
    CHECK(served == 64);
    /* One without a limit takes what cannot be tracked. */
    OK(pointsman_worker_set_max_in_flight(router, workers[1], 0));
    for (int i = 0; i < 100; i++) {
        OK(pointsman_select(router, &request, &chosen));
        CHECK(chosen.ticket == 0 && chosen.worker == workers[1]);
    }
    OK(pointsman_worker_set_max_in_flight(router, workers[1], 70));
    OK(pointsman_complete(router, first, NULL));
    OK(pointsman_select(router, &request, &chosen));
    CHECK(chosen.ticket != 0);
    CHECK(pointsman_select(router, &request, &chosen) == POINTSMAN_ALL_BUSY);
    pointsman_router_free(router);
}

static void on_room(void *user_data) {
    ++*(int *)user_data;
}

/* A refused host is told when to ask again, and at no other time. */
static void room(void) {
    int told = 0;
    pointsman_builder *builder = NULL;
    pointsman_router *router = NULL;
    OK(pointsman_builder_new(&builder));
    OK(pointsman_builder_set_room_callback(builder, on_room, &told));
    OK(pointsman_builder_build(builder, &router));
    uint64_t worker = add_worker(router, "a", POINTSMAN_ROLE_REGULAR);
    OK(pointsman_worker_set_max_in_flight(router, worker, 2));
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection held[2] = {POINTSMAN_SELECTION_INIT, POINTSMAN_SELECTION_INIT};
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    for (int i = 0; i < 2; i++) OK(pointsman_select(router, &request, &held[i]));
    OK(pointsman_complete(router, held[0].ticket, NULL));
    CHECK(told == 0);
    OK(pointsman_select(router, &request, &held[0]));
    for (int i = 0; i < 3; i++) {
        CHECK(pointsman_select(router, &request, &chosen) == POINTSMAN_ALL_BUSY);
    }
    CHECK(told == 0);
    OK(pointsman_complete(router, held[0].ticket, NULL));
    CHECK(told == 1);
    OK(pointsman_complete(router, held[1].ticket, NULL));
    CHECK(told == 1);
    for (int i = 0; i < 2; i++) OK(pointsman_select(router, &request, &held[i]));
    CHECK(pointsman_select(router, &request, &chosen) == POINTSMAN_ALL_BUSY);
    OK(pointsman_worker_set_max_in_flight(router, worker, 3));
    CHECK(told == 2);
    pointsman_router_free(router);

    /* Without it, nothing is told. */
    OK(pointsman_builder_set_room_callback(builder, NULL, NULL));
    OK(pointsman_builder_build(builder, &router));
    worker = add_worker(router, "a", POINTSMAN_ROLE_REGULAR);
    OK(pointsman_worker_set_max_in_flight(router, worker, 1));
    OK(pointsman_select(router, &request, &held[0]));
    CHECK(pointsman_select(router, &request, &chosen) == POINTSMAN_ALL_BUSY);
    OK(pointsman_complete(router, held[0].ticket, NULL));
    CHECK(told == 2);
    pointsman_router_free(router);
    pointsman_builder_free(builder);
}

static void metrics(void) {
    pointsman_router *router = new_router("{\"policy\": \"round_robin\", \"max_tickets\": 64}");
    add_worker(router, "http://a \"quoted\"", POINTSMAN_ROLE_REGULAR);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    for (int i = 0; i < 65; i++) {
        chosen.ticket = 99;
        OK(pointsman_select(router, &request, &chosen));
    }
    CHECK(chosen.ticket == 0);
    OK(pointsman_complete(router, 0, NULL));
    pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
    OK(pointsman_router_metrics(router, POINTSMAN_NOW, &metrics));
    CHECK(metrics.workers == 1 && metrics.eligible_workers == 1 && metrics.decisions == 65);
    CHECK(metrics.in_flight == 64 && metrics.tickets_open == 64 && metrics.tickets_capacity == 64);
    CHECK(metrics.tickets_untracked == 1 && metrics.tree_budget_bytes == 64 << 20);
    CHECK(metrics.tree_held_bytes <= metrics.tree_budget_bytes);

    size_t needed = 0;
    FAILS(POINTSMAN_BUFFER_TOO_SMALL, "bytes are needed",
          pointsman_router_prometheus(router, POINTSMAN_NOW, NULL, 0, &needed));
    CHECK(needed > 100);
    char *text = malloc(needed + 1);
    CHECK(text != NULL);
    OK(pointsman_router_prometheus(router, POINTSMAN_NOW, text, needed + 1, &needed));
    CHECK(strlen(text) == needed);
    CHECK(strstr(text, "pointsman_worker_selections_total{worker=\"http://a \\\"quoted\\\"\""));
    CHECK(strcmp(text + needed - 6, "# EOF\n") == 0);
    CHECK(strstr(POINTSMAN_METRICS_CONTENT_TYPE, "openmetrics-text"));
    size_t families = 0;
    OK(pointsman_router_prometheus_families(router, POINTSMAN_NOW, text, needed + 1, &families));
    CHECK(families == needed - 6 && strstr(text, "# EOF") == NULL);
    free(text);
    pointsman_router_free(router);
}

static void policy_switch(void) {
    pointsman_router *router = new_router(NULL);
    uint64_t one = add_worker(router, "a", POINTSMAN_ROLE_REGULAR);
    add_worker(router, "b", POINTSMAN_ROLE_REGULAR);
    pointsman_request request = text_request("Hello");
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    const char *policies[] = {
        "random", "\"round_robin\"", " {\"power_of_two\": {\"max_report_age_secs\": 1}} ",
        "{\"cache_aware\": {\"rule\": {\"threshold\": {\"cache_threshold\": 0.5}}}}", "cache_aware",
    };
    const uint32_t reasons[] = {
        POINTSMAN_REASON_RANDOM, POINTSMAN_REASON_ROUND_ROBIN, POINTSMAN_REASON_POWER_OF_TWO,
        POINTSMAN_REASON_LEAST_LOADED, POINTSMAN_REASON_LEAST_WORK,
    };
    for (int i = 0; i < 5; i++) {
        OK(pointsman_router_set_policy(router, policies[i], NUL));
        OK(pointsman_select(router, &request, &chosen));
        CHECK(chosen.reason == reasons[i]);
        OK(pointsman_complete(router, chosen.ticket, NULL));
    }
    char name[16];
    size_t length = 0;
    OK(pointsman_router_policy(router, name, sizeof name, &length));
    CHECK(strcmp(name, "cache_aware") == 0 && length == strlen(name));
    FAILS(POINTSMAN_BUFFER_TOO_SMALL, "12 bytes", pointsman_router_policy(router, name, 11, &length));
    OK(pointsman_router_set_policies(router, "random", NUL, "round_robin", NUL, NULL, 0));
    OK(pointsman_router_set_policies(router, "random!", 6, NULL, 0, "power_of_two", NUL));
    /* Two candidates compared: the other one is the runner-up. */
    OK(pointsman_router_set_policy(router, "power_of_two", NUL));
    OK(pointsman_select(router, &request, &chosen));
    CHECK(chosen.runner_up != 0 && chosen.runner_up != chosen.worker);
    CHECK(chosen.worker == one || chosen.runner_up == one);
    uint64_t best = 1;
    uint32_t tokens = 1;
    OK(pointsman_best_match(router, chosen.ticket, &best, &tokens));
    CHECK(best == 0 && tokens == 0);
    OK(pointsman_complete(router, chosen.ticket, NULL));
    /* The prompt is read, and was sent somewhere before. */
    OK(pointsman_router_set_policy(router, "cache_aware", NUL));
    char text[4096];
    memset(text, 'x', sizeof text);
    request.prompt_kind = POINTSMAN_PROMPT_TEXT;
    request.prompt = text;
    request.prompt_length = sizeof text;
    OK(pointsman_select(router, &request, &chosen));
    uint64_t holder = chosen.worker;
    OK(pointsman_complete(router, chosen.ticket, NULL));
    OK(pointsman_select(router, &request, &chosen));
    OK(pointsman_best_match(router, chosen.ticket, &best, &tokens));
    CHECK(best == holder && tokens > 900 && tokens >= chosen.matched_tokens);
    OK(pointsman_complete(router, chosen.ticket, NULL));
    OK(pointsman_best_match(router, chosen.ticket, &best, NULL));
    CHECK(best == 0);
    pointsman_router_free(router);
}

static void builders(void) {
    pointsman_builder *builder = NULL;
    uint8_t key[32] = {1, 2, 3};
    OK(pointsman_builder_new(&builder));
    OK(pointsman_builder_set_config(builder, "{\"policy\": \"random\"}", NUL));
    OK(pointsman_builder_set_policy(builder, "round_robin", NUL));
    OK(pointsman_builder_set_tree_budget(builder, 1 << 20));
    OK(pointsman_builder_set_limits(builder, 2, 128));
    OK(pointsman_builder_set_hash_key(builder, key, sizeof key));
    OK(pointsman_builder_set_seed(builder, 7));
    pointsman_router *routers[2] = {NULL, NULL};
    OK(pointsman_builder_build(builder, &routers[0]));
    OK(pointsman_builder_build(builder, &routers[1]));
    pointsman_builder_free(builder);
    CHECK(routers[0] != routers[1]);
    add_worker(routers[0], "a", POINTSMAN_ROLE_REGULAR);
    add_worker(routers[0], "b", POINTSMAN_ROLE_REGULAR);
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    spec.url = "c";
    FAILS(POINTSMAN_LIMIT, "maximum of 2", pointsman_worker_add(routers[0], &spec, 0, NULL));
    pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
    OK(pointsman_router_metrics(routers[0], POINTSMAN_NOW, &metrics));
    CHECK(metrics.tickets_capacity == 128 && metrics.tree_budget_bytes == 1 << 20);

    /* The same key: what one router fingerprints, the other understands. */
    uint64_t hashes[64];
    pointsman_fingerprint fingerprint = POINTSMAN_FINGERPRINT_INIT;
    char text[1000];
    memset(text, 'x', sizeof text);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    request.prompt_kind = POINTSMAN_PROMPT_TEXT;
    request.prompt = text;
    request.prompt_length = sizeof text;
    OK(pointsman_fingerprint_request(routers[1], &request, hashes, 64, &fingerprint));
    request.prompt_kind = POINTSMAN_PROMPT_FINGERPRINT;
    request.prompt = &fingerprint;
    OK(pointsman_router_set_policy(routers[0], "cache_aware", NUL));
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    OK(pointsman_select(routers[0], &request, &chosen));
    CHECK(chosen.total_tokens == 250);
    pointsman_router_free(routers[0]);
    pointsman_router_free(routers[1]);
}

/* Each status under the outcome that it stands for; a pause only where one is asked for. */
static void http_statuses(void) {
    const struct {
        uint32_t status, outcome;
        uint64_t told, pause;
    } cases[] = {
        {200, POINTSMAN_OUTCOME_SUCCESS, 0, 0},
        {404, POINTSMAN_OUTCOME_CLIENT_ERROR, 5, 0},
        {429, POINTSMAN_OUTCOME_OVERLOADED, 0, UINT64_C(1000000000)},
        {503, POINTSMAN_OUTCOME_OVERLOADED, 5, 5},
        {503, POINTSMAN_OUTCOME_WORKER_ERROR, 0, 0},
        {503, POINTSMAN_OUTCOME_OVERLOADED, UINT64_MAX, UINT64_C(300000000000)},
        {500, POINTSMAN_OUTCOME_WORKER_ERROR, 5, 0},
        {504, POINTSMAN_OUTCOME_TIMEOUT, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pointsman_completion end = POINTSMAN_COMPLETION_INIT;
        end.prompt_tokens = 7;
        end.retry_after = 1;
        OK(pointsman_outcome_of_http_status(cases[i].status, cases[i].told, &end));
        CHECK(end.outcome == cases[i].outcome && end.retry_after == cases[i].pause);
        CHECK(end.size == sizeof end && end.prompt_tokens == 7 && end.cached_tokens == POINTSMAN_UNKNOWN);
    }
    pointsman_completion end = POINTSMAN_COMPLETION_INIT;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "http_status", pointsman_outcome_of_http_status(0, 0, &end));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "http_status", pointsman_outcome_of_http_status(70000, 0, &end));
}

static void usage_excluding_cached(void) {
    pointsman_completion end = POINTSMAN_COMPLETION_INIT;
    end.outcome = POINTSMAN_OUTCOME_TIMEOUT;
    OK(pointsman_usage_excluding_cached(30, 64, 6, 7, &end));
    CHECK(end.prompt_tokens == 100 && end.cached_tokens == 64 && end.completion_tokens == 7);
    CHECK(end.size == sizeof end && end.outcome == POINTSMAN_OUTCOME_TIMEOUT);
    OK(pointsman_usage_excluding_cached(30, POINTSMAN_UNKNOWN, POINTSMAN_UNKNOWN, 7, &end));
    CHECK(end.prompt_tokens == 30 && end.cached_tokens == POINTSMAN_UNKNOWN);
    OK(pointsman_usage_excluding_cached(UINT32_MAX - 1, 9, 0, POINTSMAN_UNKNOWN, &end));
    CHECK(end.prompt_tokens == POINTSMAN_UNKNOWN && end.cached_tokens == 9);
    CHECK(end.completion_tokens == POINTSMAN_UNKNOWN);
    FAILS(POINTSMAN_INVALID_ARGUMENT, "completion", pointsman_usage_excluding_cached(1, 1, 1, 1, NULL));
}

int main(void) {
    http_statuses();
    usage_excluding_cached();
    versions();
    workers();
    who_may_serve();
    prefixes();
    pairs();
    outcomes();
    told_time();
    full_table();
    room();
    metrics();
    policy_switch();
    builders();
    puts("surface: all well");
    return 0;
}
