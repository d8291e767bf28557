/* Many threads on one router, with workers and policies coming and going: nothing is lost or counted
 * twice. Arguments: the library (unused), threads, selections per thread. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

#define STABLE 8

static pointsman_router *router;
static atomic_int running;
static long selections;
static atomic_ullong served, refused, closed;

static void *ask(void *argument) {
    uint64_t random = (uint64_t)(uintptr_t)argument * 0x9e3779b97f4a7c15u + 1;
    char prompt[1024];
    for (size_t i = 0; i < sizeof prompt; i++) prompt[i] = (char)('a' + (random >> (i % 48)) % 8);
    unsigned long long done = 0, none = 0, late = 0;
    for (long i = 0; i < selections; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        request.prompt_kind = POINTSMAN_PROMPT_TEXT;
        request.prompt = prompt;
        request.prompt_length = (random >> 40) % sizeof prompt;
        pointsman_status status = pointsman_select(router, &request, &chosen);
        if (status != POINTSMAN_OK) {
            CHECK(status == POINTSMAN_NO_WORKER || status == POINTSMAN_ALL_BUSY);
            CHECK(pointsman_last_error()[0] != '\0');
            none++;
            continue;
        }
        CHECK(chosen.worker != 0 && chosen.user_data != 0);
        if (random >> 60 == 0) {
            status = pointsman_first_token(router, chosen.ticket, 0, POINTSMAN_NOW);
            CHECK(status == POINTSMAN_OK || status == POINTSMAN_ALREADY_CLOSED);
        }
        pointsman_completion end = POINTSMAN_COMPLETION_INIT;
        end.outcome = random >> 58 & 1 ? POINTSMAN_OUTCOME_SUCCESS : POINTSMAN_OUTCOME_CLIENT_CANCELLED;
        status = pointsman_complete(router, chosen.ticket, &end);
        CHECK(status == POINTSMAN_OK || status == POINTSMAN_ALREADY_CLOSED);
        if (status == POINTSMAN_ALREADY_CLOSED) late++;
        CHECK(chosen.ticket == 0 || pointsman_complete(router, chosen.ticket, NULL) != POINTSMAN_OK);
        done++;
    }
    atomic_fetch_add(&served, done);
    atomic_fetch_add(&refused, none);
    atomic_fetch_add(&closed, late);
    return NULL;
}

/* Adds and removes a few workers, changes the others, reads everything, switches the policy. */
static void *change(void *argument) {
    uint64_t *stable = argument;
    static const char *policies[] = {"round_robin", "power_of_two", "cache_aware", "random"};
    static char text[1 << 16];
    for (unsigned round = 0; atomic_load(&running); round++) {
        pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
        char url[32];
        uint64_t guest = 0;
        snprintf(url, sizeof url, "guest-%u", round);
        spec.url = url;
        spec.user_data = 1000 + round;
        OK(pointsman_worker_add(router, &spec, POINTSMAN_NOW, &guest));
        OK(pointsman_worker_set_weight(router, stable[round % STABLE], 1.0 + round % 3));
        OK(pointsman_worker_drain(router, stable[round % STABLE]));
        OK(pointsman_worker_resume(router, stable[round % STABLE]));
        if (round % 8 == 0) OK(pointsman_router_set_policy(router, policies[round / 8 % 4], NUL));
        pointsman_worker_info info = POINTSMAN_WORKER_INFO_INIT;
        OK(pointsman_worker_describe(router, guest, POINTSMAN_NOW, &info));
        CHECK(info.user_data == 1000 + round);
        OK(pointsman_router_prometheus(router, POINTSMAN_NOW, text, sizeof text, NULL));
        OK(pointsman_router_tick(router, POINTSMAN_NOW));
        OK(pointsman_worker_remove(router, guest, POINTSMAN_NOW));
        CHECK(pointsman_worker_url(router, guest, text, sizeof text, NULL) == POINTSMAN_NOT_FOUND);
    }
    return NULL;
}

int main(int count, char **arguments) {
    int threads = count > 2 ? atoi(arguments[2]) : 64;
    selections = count > 3 ? atol(arguments[3]) : 10000;
    router = new_router("{\"policy\": \"round_robin\", \"tree\": {\"budget_bytes\": 1048576}}");
    uint64_t stable[STABLE];
    for (int i = 0; i < STABLE; i++) {
        pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
        char url[32];
        snprintf(url, sizeof url, "stable-%d", i);
        spec.url = url;
        spec.user_data = (uint64_t)i + 1;
        OK(pointsman_worker_add(router, &spec, POINTSMAN_NOW, &stable[i]));
    }
    pthread_t ids[256], changer;
    CHECK(threads <= 256);
    atomic_store(&running, 1);
    CHECK(pthread_create(&changer, NULL, change, stable) == 0);
    for (int i = 0; i < threads; i++) {
        CHECK(pthread_create(&ids[i], NULL, ask, (void *)(uintptr_t)(i + 1)) == 0);
    }
    for (int i = 0; i < threads; i++) CHECK(pthread_join(ids[i], NULL) == 0);
    atomic_store(&running, 0);
    CHECK(pthread_join(changer, NULL) == 0);

    pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
    OK(pointsman_router_metrics(router, POINTSMAN_NOW, &metrics));
    CHECK(metrics.in_flight == 0 && metrics.tickets_open == 0 && metrics.tickets_untracked == 0);
    CHECK(metrics.workers == STABLE);
    CHECK(served + refused == (unsigned long long)threads * (unsigned long long)selections);
    for (int i = 0; i < STABLE; i++) CHECK(describe(router, stable[i]).in_flight == 0);
    printf("threads: %llu served, %llu refused, %llu closed by a removal\n", served, refused, closed);
    pointsman_router_free(router);
    return 0;
}
