/* Policies written in C: how they see candidates, what they are told, and how they may misbehave. */
#include "check.h"

#include <stdatomic.h>

struct host {
    atomic_int created, destroyed, released, selects, events[8];
    int mode;
    pointsman_router *router;
    pointsman_status seen;
    pointsman_candidates last;
    pointsman_event last_event;
    char options[64];
};

enum { WELL, TOO_HIGH, FORGETS, RUNNER_UP_TOO_HIGH, FAILS_ODDLY, WANTS_NONE, CALLS_BACK, SELECTS };

static pointsman_status create(void *user_data, const char *options, size_t length, void **instance) {
    struct host *host = user_data;
    CHECK(strlen(options) == length);
    snprintf(host->options, sizeof host->options, "%s", options);
    if (strstr(options, "refuse") != NULL) return 1;
    atomic_fetch_add(&host->created, 1);
    *instance = host;
    return POINTSMAN_OK;
}

static void destroy(void *instance) { atomic_fetch_add(&((struct host *)instance)->destroyed, 1); }
static void release(void *user_data) { atomic_fetch_add(&((struct host *)user_data)->released, 1); }

/* The least loaded candidate; the next one as the runner-up. */
static pointsman_status least(void *instance, const pointsman_candidates *candidates,
                              const pointsman_request_view *request, pointsman_decision *decision) {
    struct host *host = instance;
    atomic_fetch_add(&host->selects, 1);
    host->last = *candidates;
    CHECK(candidates->size == sizeof *candidates && request->size == sizeof *request);
    CHECK(decision->size == sizeof *decision && decision->index == POINTSMAN_NONE);
    CHECK(candidates->count > 0);
    uint32_t best = 0;
    for (uint32_t i = 0; i < candidates->count; i++) {
        CHECK(candidates->workers[i] != 0 && candidates->weights[i] > 0.0);
        CHECK(candidates->slots[i] < 1024);
        CHECK(i == 0 || candidates->slots[i] > candidates->slots[i - 1]);
        if (candidates->in_flight[i] < candidates->in_flight[best]) best = i;
    }
    decision->index = best;
    decision->score = candidates->in_flight[best];
    if (candidates->count > 1) {
        decision->runner_up = best == 0 ? 1 : 0;
        decision->runner_up_score = 99.0;
    }
    switch (host->mode) {
        case TOO_HIGH: decision->index = candidates->count; break;
        case FORGETS: decision->index = POINTSMAN_NONE; break;
        case RUNNER_UP_TOO_HIGH: decision->runner_up = candidates->count; break;
        case FAILS_ODDLY: return 42;
        case WANTS_NONE: return POINTSMAN_NO_WORKER;
        case CALLS_BACK: host->seen = pointsman_worker_remove(host->router, candidates->workers[0], 0); break;
        case SELECTS: {
            pointsman_request again = POINTSMAN_REQUEST_INIT;
            pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
            host->seen = pointsman_select(host->router, &again, &chosen);
            break;
        }
    }
    return POINTSMAN_OK;
}

static void on_event(void *instance, const pointsman_event *event) {
    struct host *host = instance;
    CHECK(event->size == sizeof *event && event->kind < 8);
    atomic_fetch_add(&host->events[event->kind], 1);
    host->last_event = *event;
    if (host->mode == CALLS_BACK && host->router != NULL) {
        pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
        CHECK(pointsman_router_metrics(host->router, 0, &metrics) == POINTSMAN_IN_CALLBACK);
        CHECK(pointsman_router_tick(host->router, 0) == POINTSMAN_IN_CALLBACK);
        CHECK(pointsman_router_set_policy(host->router, "random", NUL) == POINTSMAN_IN_CALLBACK);
        pointsman_router_free(host->router);
    }
}

static pointsman_router *router_with(struct host *host, const pointsman_policy *policy,
                                     const char *config) {
    pointsman_builder *builder = NULL;
    pointsman_router *router = NULL;
    OK(pointsman_builder_new(&builder));
    OK(pointsman_builder_add_policy(builder, "least", NUL, policy));
    FAILS(POINTSMAN_ALREADY_EXISTS, "registered already",
          pointsman_builder_add_policy(builder, "least", NUL, policy));
    FAILS(POINTSMAN_ALREADY_EXISTS, "registered already",
          pointsman_builder_add_policy(builder, "random", NUL, policy));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "name is NULL or empty",
          pointsman_builder_add_policy(builder, "", NUL, policy));
    OK(pointsman_builder_set_config(builder, config, NUL));
    OK(pointsman_builder_build(builder, &router));
    pointsman_builder_free(builder);
    CHECK(atomic_load(&host->released) == 0);
    return router;
}

static void well_behaved(uint32_t flags) {
    static struct host host;
    memset(&host, 0, sizeof host);
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    policy.flags = flags;
    policy.user_data = &host;
    policy.select = least;
    policy.on_event = on_event;
    policy.create = create;
    policy.destroy = destroy;
    policy.release = release;
    pointsman_router *router =
        router_with(&host, &policy, "{\"policy\": {\"custom\": {\"name\": \"least\", \"options\": [1]}}}");
    CHECK(strcmp(host.options, "[1]") == 0 && atomic_load(&host.created) == 1);
    uint64_t ids[3];
    for (int i = 0; i < 3; i++) {
        char url[8];
        snprintf(url, sizeof url, "w%d", i);
        ids[i] = add_worker(router, url, POINTSMAN_ROLE_REGULAR);
    }
    CHECK(atomic_load(&host.events[POINTSMAN_EVENT_WORKER_ADDED]) == 3);
    CHECK(host.last_event.worker == ids[2]);

    char prompt[2048];
    memset(prompt, 'p', sizeof prompt);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    request.prompt_kind = POINTSMAN_PROMPT_TEXT;
    request.prompt = prompt;
    request.prompt_length = sizeof prompt;
    pointsman_selection chosen[3];
    for (int i = 0; i < 3; i++) {
        chosen[i] = (pointsman_selection)POINTSMAN_SELECTION_INIT;
        OK(pointsman_select(router, &request, &chosen[i]));
        CHECK(chosen[i].worker == ids[i] && chosen[i].reason == POINTSMAN_REASON_CUSTOM);
        CHECK(chosen[i].runner_up != 0 && chosen[i].runner_up_score == 99.0);
        CHECK(host.last.count == 3 && host.last.role == POINTSMAN_ROLE_REGULAR);
    }
    CHECK((host.last.matched_tokens != NULL) == (flags == POINTSMAN_POLICY_WANTS_PREFIX));
    for (int i = 0; i < 3; i++) {
        OK(pointsman_first_token(router, chosen[i].ticket, 7, POINTSMAN_NOW));
        OK(pointsman_complete(router, chosen[i].ticket, NULL));
    }
    int told = flags == POINTSMAN_POLICY_WANTS_REQUEST_EVENTS ? 3 : 0;
    CHECK(atomic_load(&host.events[POINTSMAN_EVENT_DISPATCH]) == told);
    CHECK(atomic_load(&host.events[POINTSMAN_EVENT_FIRST_TOKEN]) == told);
    CHECK(atomic_load(&host.events[POINTSMAN_EVENT_COMPLETE]) == told);
    if (told) CHECK(host.last_event.worker == ids[2] && host.last_event.outcome == 0);
    if (flags == POINTSMAN_POLICY_WANTS_PREFIX) {
        /* What was dispatched is remembered, and shown the next time. */
        OK(pointsman_select(router, &request, &chosen[0]));
        CHECK(chosen[0].matched_tokens > 400);
        OK(pointsman_complete(router, chosen[0].ticket, NULL));
    }
    OK(pointsman_worker_remove(router, ids[0], POINTSMAN_NOW));
    CHECK(atomic_load(&host.events[POINTSMAN_EVENT_WORKER_REMOVED]) == 1);
    OK(pointsman_router_after_fork(router));
    CHECK(atomic_load(&host.events[POINTSMAN_EVENT_FORKED]) == 1);

    FAILS(POINTSMAN_INVALID_CONFIG, "options refused: create returned 1",
          pointsman_router_set_policy(
              router, "{\"custom\": {\"name\": \"least\", \"options\": \"refuse\"}}", NUL));
    OK(pointsman_router_set_policy(router, "least", NUL));
    CHECK(strcmp(host.options, "null") == 0 && atomic_load(&host.created) == 2);
    OK(pointsman_router_tick(router, POINTSMAN_NOW));
    CHECK(atomic_load(&host.destroyed) == 1);
    pointsman_router_free(router);
    CHECK(atomic_load(&host.destroyed) == 2 && atomic_load(&host.released) == 1);
}

static void pairs(void) {
    static struct host host;
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    policy.user_data = &host;
    policy.select = least;
    policy.release = release;
    pointsman_router *router = router_with(&host, &policy, "{\"policy\": \"least\"}");
    add_worker(router, "p", POINTSMAN_ROLE_PREFILL);
    add_worker(router, "d", POINTSMAN_ROLE_DECODE);
    pointsman_request request = text_request("Hello");
    pointsman_selection p = POINTSMAN_SELECTION_INIT, d = POINTSMAN_SELECTION_INIT;
    OK(pointsman_select_pair(router, &request, &p, &d));
    CHECK(p.reason == POINTSMAN_REASON_CUSTOM && d.reason == POINTSMAN_REASON_CUSTOM);
    CHECK(atomic_load(&host.selects) == 2 && host.last.role == POINTSMAN_ROLE_DECODE);
    OK(pointsman_complete(router, p.ticket, NULL));
    pointsman_router_free(router);
    CHECK(atomic_load(&host.released) == 1);
}

static void misbehaving(void) {
    static struct host host;
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    policy.user_data = &host;
    policy.select = least;
    policy.on_event = on_event;
    policy.flags = 4;
    pointsman_builder *builder = NULL;
    OK(pointsman_builder_new(&builder));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "policy.flags",
          pointsman_builder_add_policy(builder, "x", NUL, &policy));
    pointsman_builder_free(builder);
    policy.flags = POINTSMAN_POLICY_WANTS_REQUEST_EVENTS;
    pointsman_router *router = router_with(&host, &policy, "{\"policy\": \"least\"}");
    uint64_t worker = add_worker(router, "a", 0);
    uint64_t other = add_worker(router, "b", 0);
    host.router = router;
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
#define MISBEHAVES(how, status, text)                                    \
    do {                                                                 \
        host.mode = how;                                                 \
        FAILS(status, text, pointsman_select(router, &request, &chosen)); \
        CHECK(chosen.ticket == 0 && describe(router, worker).in_flight == 0); \
    } while (0)
    MISBEHAVES(TOO_HIGH, POINTSMAN_POLICY_FAILED, "index 2");
    MISBEHAVES(FORGETS, POINTSMAN_POLICY_FAILED, "not a candidate");
    MISBEHAVES(RUNNER_UP_TOO_HIGH, POINTSMAN_POLICY_FAILED, "runner-up 2");
    MISBEHAVES(FAILS_ODDLY, POINTSMAN_POLICY_FAILED, "select returned 42");
    host.mode = WANTS_NONE;
    FAILS(POINTSMAN_NO_WORKER, "refused all of 2 candidates",
          pointsman_select(router, &request, &chosen));
    /* Only a limit is told as one: beside a full worker, too, the refusal is the policy's own. */
    pointsman_selection second = POINTSMAN_SELECTION_INIT, none = POINTSMAN_SELECTION_INIT;
    OK(pointsman_worker_set_max_in_flight(router, worker, 1));
    OK(pointsman_worker_set_max_in_flight(router, other, 1));
    host.mode = WELL;
    OK(pointsman_select(router, &request, &chosen));
    host.mode = WANTS_NONE;
    FAILS(POINTSMAN_NO_WORKER, "refused all of 1 candidates",
          pointsman_select(router, &request, &none));
    host.mode = WELL;
    OK(pointsman_select(router, &request, &second));
    host.mode = WANTS_NONE;
    FAILS(POINTSMAN_ALL_BUSY, "in-flight limit", pointsman_select(router, &request, &none));
    OK(pointsman_complete(router, chosen.ticket, NULL));
    OK(pointsman_complete(router, second.ticket, NULL));
    OK(pointsman_worker_set_max_in_flight(router, worker, 0));
    OK(pointsman_worker_set_max_in_flight(router, other, 0));
    /* Calls from inside a callback that would deadlock or recurse are refused; the rest goes on. */
    host.mode = CALLS_BACK;
    OK(pointsman_select(router, &request, &chosen));
    CHECK(host.seen == POINTSMAN_IN_CALLBACK);
    add_worker(router, "c", 0);
    OK(pointsman_complete(router, chosen.ticket, NULL));
    host.mode = SELECTS;
    OK(pointsman_select(router, &request, &chosen));
    CHECK(host.seen == POINTSMAN_IN_CALLBACK);
    OK(pointsman_complete(router, chosen.ticket, NULL));
    host.mode = WELL;
    OK(pointsman_select(router, &request, &chosen));
    OK(pointsman_complete(router, chosen.ticket, NULL));
    pointsman_router_free(router);
}

/* Arrays of every size that the library keeps on the stack. */
static void many(void) {
    static struct host host;
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    policy.user_data = &host;
    policy.select = least;
    pointsman_router *router = router_with(&host, &policy, "{\"policy\": \"least\"}");
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    for (uint32_t i = 0; i < 1024; i++) {
        char url[8];
        snprintf(url, sizeof url, "w%u", i);
        add_worker(router, url, 0);
        if (i < 20 || i == 127 || i == 128 || i == 1023) {
            pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
            OK(pointsman_select(router, &request, &chosen));
            CHECK(host.last.count == i + 1);
            OK(pointsman_complete(router, chosen.ticket, NULL));
        }
    }
    pointsman_router_free(router);
}

int main(void) {
    well_behaved(0);
    well_behaved(POINTSMAN_POLICY_WANTS_PREFIX);
    well_behaved(POINTSMAN_POLICY_WANTS_REQUEST_EVENTS);
    pairs();
    misbehaving();
    many();
    puts("policy: all well");
    return 0;
}
