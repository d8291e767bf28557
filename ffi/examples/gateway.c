/*
 * The skeleton of a gateway: several threads take requests from clients and relay them, one thread
 * watches the workers and tells the router what it sees, and metrics are read at the end.
 *
 * The workers are simulated; what a gateway would do over the network stands in relay().
 */
#include <pointsman.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS 4
#define CLIENTS 8
#define REQUESTS 2000
#define TRIES 3

static pointsman_router *router;
static uint64_t ids[WORKERS];
static atomic_int down; /* the worker that is out of order, or -1 */
static atomic_int running = 1;
static atomic_int answered, failed;

static void check(pointsman_status status, const char *what) {
    if (status == POINTSMAN_OK) return;
    fprintf(stderr, "%s: %s\n", what, pointsman_last_error());
    exit(1);
}

/* Sends the body to a worker and relays the answer: whether that went well. */
static int relay(uint64_t worker, const char *body, pointsman_completion *end) {
    if ((int)worker == atomic_load(&down)) {
        end->outcome = POINTSMAN_OUTCOME_WORKER_ERROR;
        return 0;
    }
    /* A worker reports this with its answer. */
    end->prompt_tokens = (uint32_t)strlen(body) / 4;
    end->completion_tokens = 50;
    return 1;
}

/* One client's request, tried at another worker if the first one fails before it answers. */
static int serve(const char *body, const char *session) {
    uint64_t failed_workers[TRIES];
    for (int i = 0; i < TRIES; i++) {
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        request.prompt_kind = POINTSMAN_PROMPT_JSON;
        request.prompt = body;
        request.prompt_length = strlen(body);
        request.routing_key = session;
        request.excluded = failed_workers;
        request.excluded_count = (size_t)i;
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        pointsman_status status = pointsman_select(router, &request, &chosen);
        if (status == POINTSMAN_BAD_BODY) return 400;
        if (status == POINTSMAN_NO_WORKER || status == POINTSMAN_ALL_BUSY) return 503;
        check(status, "select");
        pointsman_completion end = POINTSMAN_COMPLETION_INIT;
        int well = relay(chosen.user_data, body, &end);
        if (well) {
            /* When the first byte of the answer comes back. */
            pointsman_first_token(router, chosen.ticket, POINTSMAN_UNKNOWN, POINTSMAN_NOW);
        }
        /* POINTSMAN_ALREADY_CLOSED, if the worker was removed in the meantime, needs no care. */
        pointsman_complete(router, chosen.ticket, &end);
        if (well) return 200;
        failed_workers[i] = chosen.worker;
    }
    return 502;
}

static void *client(void *argument) {
    int number = (int)(intptr_t)argument;
    char body[1024], session[32];
    snprintf(session, sizeof session, "session-%d", number);
    for (int i = 0; i < REQUESTS; i++) {
        snprintf(body, sizeof body,
                 "{\"model\": \"m\", \"messages\": [{\"role\": \"system\", \"content\": \"You are "
                 "client %d's assistant. %0300d\"}, {\"role\": \"user\", \"content\": \"%d?\"}]}",
                 number, number, i);
        atomic_fetch_add(serve(body, session) == 200 ? &answered : &failed, 1);
    }
    return NULL;
}

/* Asks the workers how they are, and tells the router. */
static void *watcher(void *unused) {
    for (int round = 0; atomic_load(&running); round++) {
        for (int i = 0; i < WORKERS; i++) {
            pointsman_load load = POINTSMAN_LOAD_INIT;
            load.running = (uint32_t)(round + i) % 8;
            check(pointsman_worker_report_load(router, ids[i], &load), "report_load");
            int healthy = i != atomic_load(&down);
            check(pointsman_worker_set_health(
                      router, ids[i], healthy ? POINTSMAN_HEALTH_UNKNOWN : POINTSMAN_HEALTH_UNHEALTHY),
                  "set_health");
        }
        atomic_store(&down, round % 8 == 3 ? round / 8 % WORKERS : -1);
    }
    return unused;
}

int main(void) {
    check(pointsman_router_new("{\"slow_start_secs\": 0}", POINTSMAN_NUL_TERMINATED, &router), "new");
    for (int i = 0; i < WORKERS; i++) {
        char url[32];
        snprintf(url, sizeof url, "http://10.0.0.%d:8000", i + 1);
        pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
        spec.url = url;
        spec.user_data = (uint64_t)i;
        spec.kv_capacity_tokens = 400000;
        spec.max_in_flight = 256;
        check(pointsman_worker_add(router, &spec, POINTSMAN_NOW, &ids[i]), "add");
    }
    atomic_store(&down, -1);
    pthread_t clients[CLIENTS], watch;
    pthread_create(&watch, NULL, watcher, NULL);
    for (int i = 0; i < CLIENTS; i++) pthread_create(&clients[i], NULL, client, (void *)(intptr_t)i);
    for (int i = 0; i < CLIENTS; i++) pthread_join(clients[i], NULL);
    atomic_store(&running, 0);
    pthread_join(watch, NULL);

    pointsman_metrics metrics = POINTSMAN_METRICS_INIT;
    check(pointsman_router_metrics(router, POINTSMAN_NOW, &metrics), "metrics");
    printf("%d answered, %d failed, %llu decisions, %llu still in flight\n", answered, failed,
           (unsigned long long)metrics.decisions, (unsigned long long)metrics.in_flight);
    pointsman_router_free(router);
    return metrics.in_flight != 0 || answered == 0;
}
