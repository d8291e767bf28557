/* The log, the decision log, and what their callbacks may do. */
#include "check.h"

struct lines {
    int count[5];
    char last[1024];
    pointsman_router *router;
};

static void on_line(void *user_data, int32_t level, const char *message, size_t length) {
    struct lines *lines = user_data;
    CHECK(level >= 1 && level <= 4 && strlen(message) == length && length < 1024);
    lines->count[level]++;
    snprintf(lines->last, sizeof lines->last, "%s", message);
    if (lines->router != NULL) {
        CHECK(pointsman_router_tick(lines->router, 0) == POINTSMAN_IN_CALLBACK);
    }
}

static int decisions;
static pointsman_decision_record seen[2];

static void on_decision(void *user_data, const pointsman_decision_record *record) {
    CHECK(user_data == &decisions && record->size == sizeof *record);
    seen[decisions++ % 2] = *record;
}

/* A log that uses the router for requests of its own: they are served, and not logged in turn. */
static void on_asking(void *user_data, const pointsman_decision_record *record) {
    const struct lines *lines = user_data;
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    decisions++;
    OK(pointsman_select(lines->router, &request, &chosen));
    CHECK(chosen.ticket != record->ticket);
    OK(pointsman_first_token(lines->router, chosen.ticket, 0, 0));
    OK(pointsman_complete(lines->router, chosen.ticket, NULL));
}

static void asking(void) {
    struct lines lines = {{0}, "", NULL};
    pointsman_builder *builder = NULL;
    OK(pointsman_builder_new(&builder));
    OK(pointsman_builder_set_log(builder, POINTSMAN_LOG_DEBUG, on_line, &lines));
    OK(pointsman_builder_set_decision_log(builder, 1, on_asking, &lines));
    pointsman_router *router = NULL;
    OK(pointsman_builder_build(builder, &router));
    pointsman_builder_free(builder);
    lines.router = router;
    add_worker(router, "http://w", 0);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    decisions = 0;
    OK(pointsman_select(router, &request, &chosen));
    CHECK(decisions == 1 && lines.count[POINTSMAN_LOG_DEBUG] == 1);
    OK(pointsman_complete(router, chosen.ticket, NULL));
    pointsman_router_free(router);
}

struct changes {
    int count;
    pointsman_health_change last;
    pointsman_router *router;
};

static void on_health(void *user_data, const pointsman_health_change *change) {
    struct changes *changes = user_data;
    char url[32];
    CHECK(change->size == sizeof *change);
    CHECK(pointsman_worker_drain(changes->router, change->worker) == POINTSMAN_IN_CALLBACK);
    OK(pointsman_worker_url(changes->router, change->worker, url, sizeof url, NULL));
    CHECK(strcmp(url, "http://sick") == 0);
    changes->count++;
    changes->last = *change;
}

#define SECOND ((uint64_t)1000000000)

/* One request to the worker at this second, which ends so. */
static void serve(pointsman_router *router, uint64_t worker, uint32_t outcome, uint64_t second) {
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    pointsman_completion end = POINTSMAN_COMPLETION_INIT;
    request.allowed = &worker, request.allowed_count = 1;
    request.now = end.now = second * SECOND;
    OK(pointsman_select(router, &request, &chosen));
    end.outcome = outcome;
    OK(pointsman_complete(router, chosen.ticket, &end));
}

/* A worker that falls ill and recovers, with and without a log of each kind. */
static void health(int32_t level, int with_callback) {
    struct lines lines = {{0}, "", NULL};
    struct changes changes = {0, {0, 0, 0, 0, 0, 0}, NULL};
    pointsman_builder *builder = NULL;
    pointsman_router *router = NULL;
    OK(pointsman_builder_new(&builder));
    OK(pointsman_builder_set_policy(builder, "random", NUL));
    OK(pointsman_builder_set_log(builder, level, on_line, &lines));
    OK(pointsman_builder_set_health_log(builder, on_health, &changes));
    if (!with_callback) OK(pointsman_builder_set_health_log(builder, NULL, NULL));
    OK(pointsman_builder_build(builder, &router));
    pointsman_builder_free(builder);
    changes.router = router;
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    uint64_t worker = 0;
    spec.url = "http://sick", spec.user_data = 77;
    OK(pointsman_worker_add(router, &spec, SECOND, &worker));
    add_worker(router, "http://well", 0);
    lines.count[POINTSMAN_LOG_INFO] = 0;
    for (int i = 0; i < 3; i++) serve(router, worker, POINTSMAN_OUTCOME_WORKER_ERROR, 2);
    CHECK(lines.count[POINTSMAN_LOG_WARNING] == (level >= POINTSMAN_LOG_WARNING));
    if (level >= POINTSMAN_LOG_WARNING && level < POINTSMAN_LOG_DEBUG) {
        CHECK(strstr(lines.last, " ejected for 10 s: http://sick") != NULL);
    }
    if (with_callback) {
        CHECK(changes.count == 1 && changes.last.state == POINTSMAN_STATE_EJECTED);
        CHECK(changes.last.worker == worker && changes.last.user_data == 77);
        CHECK(changes.last.now == 2 * SECOND && changes.last.until == 12 * SECOND);
    }
    OK(pointsman_router_tick(router, 13 * SECOND));
    if (with_callback) {
        CHECK(changes.count == 2 && changes.last.state == POINTSMAN_STATE_PROBATION);
        CHECK(changes.last.until == 0);
    }
    serve(router, worker, POINTSMAN_OUTCOME_SUCCESS, 14);
    serve(router, worker, POINTSMAN_OUTCOME_SUCCESS, 15);
    CHECK(lines.count[POINTSMAN_LOG_INFO] == (level >= POINTSMAN_LOG_INFO ? 2 : 0));
    CHECK(changes.count == (with_callback ? 3 : 0));
    if (with_callback) CHECK(changes.last.state == POINTSMAN_STATE_HEALTHY);
    OK(pointsman_worker_set_health(router, worker, POINTSMAN_HEALTH_UNHEALTHY));
    CHECK(changes.count == (with_callback ? 3 : 0));
    pointsman_router_free(router);
}

/* What a name from outside contains breaks no line, nor does it end one early. */
static void odd_names(void) {
    struct lines lines = {{0}, "", NULL};
    pointsman_builder *builder = NULL;
    pointsman_router *router = NULL;
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    char url[8] = "";
    uint64_t worker = 0;
    OK(pointsman_builder_new(&builder));
    OK(pointsman_builder_set_log(builder, POINTSMAN_LOG_INFO, on_line, &lines));
    OK(pointsman_builder_build(builder, &router));
    pointsman_builder_free(builder);
    spec.url = "a\nb\0c", spec.url_length = 5;
    OK(pointsman_worker_add(router, &spec, 0, &worker));
    CHECK(strstr(lines.last, " added: a b c") != NULL);
    FAILS(POINTSMAN_ALREADY_EXISTS, "a\\nb\\0c", pointsman_worker_add(router, &spec, 0, NULL));
    OK(pointsman_worker_url(router, worker, url, sizeof url, NULL));
    CHECK(memcmp(url, spec.url, 6) == 0);
    pointsman_router_free(router);
}

static pointsman_status failing(void *instance, const pointsman_candidates *candidates,
                                const pointsman_request_view *request,
                                pointsman_decision *decision) {
    (void)instance, (void)candidates, (void)request, (void)decision;
    return POINTSMAN_OK; /* without having chosen */
}

/* A policy that breaks its contract is an error, what a request cannot help is a warning. */
static void failures(void) {
    struct lines lines = {{0}, "", NULL};
    pointsman_builder *builder = NULL;
    pointsman_router *router = NULL;
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    policy.select = failing;
    OK(pointsman_builder_new(&builder));
    OK(pointsman_builder_add_policy(builder, "failing", NUL, &policy));
    OK(pointsman_builder_set_policy(builder, "failing", NUL));
    OK(pointsman_builder_set_log(builder, POINTSMAN_LOG_ERROR, on_line, &lines));
    OK(pointsman_builder_build(builder, &router));
    pointsman_builder_free(builder);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    CHECK(pointsman_select(router, &request, &chosen) == POINTSMAN_NO_WORKER);
    CHECK(lines.count[POINTSMAN_LOG_ERROR] == 0);
    add_worker(router, "http://w", 0);
    CHECK(pointsman_select(router, &request, &chosen) == POINTSMAN_POLICY_FAILED);
    CHECK(lines.count[POINTSMAN_LOG_ERROR] == 1 && strstr(lines.last, "failing") != NULL);
    pointsman_router_free(router);
}

static pointsman_router *router_with(int32_t level, struct lines *lines) {
    pointsman_builder *builder = NULL;
    pointsman_router *router = NULL;
    OK(pointsman_builder_new(&builder));
    OK(pointsman_builder_set_policy(builder, "power_of_two", NUL));
    OK(pointsman_builder_set_log(builder, level, on_line, lines));
    OK(pointsman_builder_set_decision_log(builder, 1, on_decision, &decisions));
    OK(pointsman_builder_build(builder, &router));
    pointsman_builder_free(builder);
    return router;
}

int main(void) {
    asking();
    for (int32_t level = 0; level <= POINTSMAN_LOG_DEBUG; level++) {
        struct lines lines = {{0}, "", NULL};
        pointsman_router *router = router_with(level, &lines);
        lines.router = router;
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        CHECK(pointsman_select(router, &request, &chosen) == POINTSMAN_NO_WORKER);
        CHECK(lines.count[POINTSMAN_LOG_WARNING] == (level >= POINTSMAN_LOG_WARNING));
        uint64_t worker = add_worker(router, "http://w", 0);
        CHECK(lines.count[POINTSMAN_LOG_INFO] == (level >= POINTSMAN_LOG_INFO));
        OK(pointsman_worker_set_weight(router, worker, 2.0));
        OK(pointsman_worker_drain(router, worker));
        OK(pointsman_worker_resume(router, worker));
        OK(pointsman_worker_set_health(router, worker, POINTSMAN_HEALTH_HEALTHY));
        OK(pointsman_router_set_policy(router, "round_robin", NUL));
        CHECK(lines.count[POINTSMAN_LOG_INFO] == (level >= POINTSMAN_LOG_INFO ? 6 : 0));
        decisions = 0;
        OK(pointsman_select(router, &request, &chosen));
        CHECK(decisions == 1 && seen[0].worker == worker && seen[0].ticket == chosen.ticket);
        CHECK(seen[0].role == POINTSMAN_ROLE_REGULAR);
        CHECK(seen[0].reason == POINTSMAN_REASON_ROUND_ROBIN);
        if (level >= POINTSMAN_LOG_DEBUG) {
            CHECK(lines.count[POINTSMAN_LOG_DEBUG] == 1);
            CHECK(strstr(lines.last, "selected {\"ticket\":") == lines.last);
            CHECK(strstr(lines.last, "\"url\":\"http://w\"") != NULL);
        }
        OK(pointsman_complete(router, chosen.ticket, NULL));
        add_worker(router, "p", POINTSMAN_ROLE_PREFILL);
        add_worker(router, "d", POINTSMAN_ROLE_DECODE);
        pointsman_selection decode = POINTSMAN_SELECTION_INIT;
        decisions = 0;
        OK(pointsman_select_pair(router, &request, &chosen, &decode));
        CHECK(decisions == 2 && seen[0].ticket == seen[1].ticket);
        OK(pointsman_complete(router, chosen.ticket, NULL));
        OK(pointsman_worker_remove(router, worker, 0));
        pointsman_router_free(router);
    }
    for (int32_t level = 0; level <= POINTSMAN_LOG_DEBUG; level++) {
        health(level, 0);
        health(level, 1);
    }
    failures();
    odd_names();
    puts("logs: all well");
    return 0;
}
