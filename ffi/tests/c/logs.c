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
        OK(pointsman_worker_drain(router, worker, 1));
        OK(pointsman_worker_drain(router, worker, 0));
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
    puts("logs: all well");
    return 0;
}
