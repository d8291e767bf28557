/* What a request costs through the C interface. Arguments: the library (unused), policy, requests;
 * "time" as a third prints nanoseconds instead of being counted by callgrind. */
#include "check.h"

#include <time.h>

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int count, char **arguments) {
    const char *policy = count > 2 ? arguments[2] : "round_robin";
    long requests = count > 3 ? atol(arguments[3]) : 1000000;
    pointsman_router *router = new_router(NULL);
    OK(pointsman_router_set_policy(router, policy, NUL));
    for (int i = 0; i < 8; i++) {
        char url[8];
        snprintf(url, sizeof url, "w%d", i);
        add_worker(router, url, POINTSMAN_ROLE_REGULAR);
    }
    double start = seconds();
    uint64_t sum = 0;
    for (long i = 0; i < requests; i++) {
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        pointsman_completion end = POINTSMAN_COMPLETION_INIT;
        request.now = end.now = 1000000 + (uint64_t)i;
        if (pointsman_select(router, &request, &chosen) != POINTSMAN_OK) abort();
        if (pointsman_complete(router, chosen.ticket, &end) != POINTSMAN_OK) abort();
        sum += chosen.worker;
    }
    double spent = seconds() - start;
    CHECK(sum != 0);
    if (count > 4) printf("%.1f ns\n", spent / (double)requests * 1e9);
    pointsman_router_free(router);
    return 0;
}
