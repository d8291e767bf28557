/* A router made before the fork: eight children choose differently, inherit no load and no ticket,
 * and leave the parent alone. */
#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN 8
#define DRAWS 64
#define WORKERS 16

static void child(pointsman_router *router, uint64_t inherited, int out) {
    OK(pointsman_router_after_fork(router));
    pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
    OK(pointsman_router_metrics(router, POINTSMAN_NOW, &metrics));
    CHECK(metrics.workers == WORKERS && metrics.in_flight == 0 && metrics.tickets_open == 0);
    CHECK(pointsman_complete(router, inherited, NULL) == POINTSMAN_ALREADY_CLOSED);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    unsigned char draws[DRAWS];
    for (int i = 0; i < DRAWS; i++) {
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        OK(pointsman_select(router, &request, &chosen));
        draws[i] = (unsigned char)chosen.user_data;
        OK(pointsman_complete(router, chosen.ticket, NULL));
    }
    /* The child changes its own membership only. */
    OK(pointsman_worker_remove(router, describe(router, 0x10000).worker, POINTSMAN_NOW));
    CHECK(write(out, draws, sizeof draws) == sizeof draws);
    pointsman_router_free(router);
    _exit(0);
}

static void fork_them(const char *policy) {
    char config[64];
    snprintf(config, sizeof config, "{\"policy\": \"%s\"}", policy);
    pointsman_router *router = new_router(config);
    uint64_t first = 0;
    for (int i = 0; i < WORKERS; i++) {
        pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
        char url[8];
        snprintf(url, sizeof url, "w%d", i);
        spec.url = url;
        spec.user_data = (uint64_t)i + 1;
        OK(pointsman_worker_add(router, &spec, POINTSMAN_NOW, i == 0 ? &first : NULL));
    }
    CHECK(first == 0x10000);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection open[5];
    for (int i = 0; i < 5; i++) {
        open[i] = (pointsman_selection)POINTSMAN_SELECTION_INIT;
        OK(pointsman_select(router, &request, &open[i]));
    }
    unsigned char draws[CHILDREN][DRAWS];
    for (int i = 0; i < CHILDREN; i++) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) child(router, open[0].ticket, ends[1]);
        close(ends[1]);
        CHECK(read(ends[0], draws[i], DRAWS) == DRAWS);
        close(ends[0]);
        int status = 1;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    for (int i = 0; i < CHILDREN; i++) {
        for (int j = 0; j < i; j++) CHECK(memcmp(draws[i], draws[j], DRAWS) != 0);
    }
    pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
    OK(pointsman_router_metrics(router, POINTSMAN_NOW, &metrics));
    CHECK(metrics.in_flight == 5 && metrics.tickets_open == 5 && metrics.workers == WORKERS);
    for (int i = 0; i < 5; i++) OK(pointsman_complete(router, open[i].ticket, NULL));
    pointsman_router_free(router);
}

int main(void) {
    fork_them("random");
    fork_them("power_of_two");
    fork_them("cache_aware");
    puts("forks: all well");
    return 0;
}
