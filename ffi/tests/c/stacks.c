/* How deep requests of every kind go, lost races included. Argument 2: the most that they may take of a
 * stack, in KiB. */
#include "check.h"

#include <pthread.h>
#include <semaphore.h>

#define PAINT 0xa5
#define WORKERS 1024
/* Races that a request loses before it gets a place. */
#define RACES 40

static pointsman_router *router;
static char text[1 << 20];
static char body[(1 << 20) + 100];
static unsigned char *stack;
static const size_t size = 1 << 20;

/* A second thread, so that what it does is not on the measured stack, takes the last place of a worker
 * that a request has just been promised. */
static sem_t wanted, taken;
static uint64_t victim;
static uint64_t tickets[3 * RACES];
static int count_taken, races;
static pthread_t measured;

static void *take(void *unused) {
    for (;;) {
        CHECK(sem_wait(&wanted) == 0);
        if (victim == 0) return unused;
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        request.allowed = &victim;
        request.allowed_count = 1;
        OK(pointsman_select(router, &request, &chosen));
        tickets[count_taken++] = chosen.ticket;
        CHECK(sem_post(&taken) == 0);
    }
}

static pointsman_status first(void *instance, const pointsman_candidates *candidates,
                              const pointsman_request_view *request, pointsman_decision *decision) {
    (void)instance, (void)request;
    decision->index = 0;
    if (races > 0 && candidates->role == POINTSMAN_ROLE_REGULAR &&
        pthread_equal(pthread_self(), measured)) {
        races--;
        victim = candidates->workers[0];
        CHECK(sem_post(&wanted) == 0 && sem_wait(&taken) == 0);
    }
    return POINTSMAN_OK;
}

static void *ask(void *loses) {
    measured = pthread_self();
    for (uint32_t kind = 0; kind < 5; kind++) {
        if (kind == POINTSMAN_PROMPT_FINGERPRINT) continue;
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT, decode = POINTSMAN_SELECTION_INIT;
        request.prompt_kind = kind;
        request.prompt = kind == POINTSMAN_PROMPT_JSON ? body : text;
        request.prompt_length = kind == POINTSMAN_PROMPT_JSON     ? strlen(body)
                                : kind == POINTSMAN_PROMPT_TOKENS ? sizeof text / 4
                                                                  : sizeof text;
        races = loses != NULL ? RACES : 0;
        OK(pointsman_select(router, &request, &chosen));
        CHECK(races == 0 && count_taken == (loses != NULL ? RACES : 0));
        OK(pointsman_complete(router, chosen.ticket, NULL));
        while (count_taken > 0) OK(pointsman_complete(router, tickets[--count_taken], NULL));
        OK(pointsman_select_pair(router, &request, &chosen, &decode));
        OK(pointsman_complete(router, chosen.ticket, NULL));
    }
    return NULL;
}

/* Runs it on a painted stack; how much of that has lost its paint. */
static size_t depth(void *loses) {
    pthread_attr_t attributes;
    pthread_t thread;
    memset(stack, PAINT, size);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, stack, size) == 0);
    CHECK(pthread_create(&thread, &attributes, ask, loses) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0);
    size_t untouched = 0;
    while (untouched < size && stack[untouched] == PAINT) untouched++;
    return size - untouched;
}

int main(int count, char **arguments) {
    size_t most = (count > 2 ? (size_t)atoi(arguments[2]) : 256) * 1024;
    stack = aligned_alloc(1 << 16, size);
    CHECK(stack != NULL);
    memset(text, 'x', sizeof text);
    strcpy(body, "{\"messages\": [{\"role\": \"user\", \"content\": \"");
    memset(body + strlen(body), 'y', 1 << 20);
    strcat(body, "\"}]}");
    const char *policies[] = {"cache_aware", "{\"cache_aware\": {\"rule\": \"threshold\"}}", "first"};
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    policy.select = first;
    policy.flags = POINTSMAN_POLICY_WANTS_PREFIX;
    pointsman_builder *builder = NULL;
    pthread_t taker;
    OK(pointsman_builder_new(&builder));
    OK(pointsman_builder_add_policy(builder, "first", NUL, &policy));
    CHECK(sem_init(&wanted, 0, 0) == 0 && sem_init(&taken, 0, 0) == 0);
    CHECK(pthread_create(&taker, NULL, take, NULL) == 0);
    for (int i = 0; i < 4; i++) {
        /* The last time with lost races. */
        int loses = i == 3;
        OK(pointsman_builder_set_policy(builder, policies[loses ? 2 : i], NUL));
        OK(pointsman_builder_build(builder, &router));
        for (int w = 0; w < WORKERS; w++) {
            char url[8];
            snprintf(url, sizeof url, "w%d", w);
            uint64_t worker = add_worker(router, url, (uint32_t)w % 3);
            OK(pointsman_worker_set_max_in_flight(router, worker, 1));
        }
        size_t used = depth(loses ? &loses : NULL);
        printf("%s%s: %zu bytes of stack\n", policies[loses ? 2 : i], loses ? ", races lost" : "", used);
        CHECK(used < most);
        pointsman_router_free(router);
    }
    victim = 0;
    CHECK(sem_post(&wanted) == 0);
    CHECK(pthread_join(taker, NULL) == 0);
    CHECK(sem_destroy(&wanted) == 0 && sem_destroy(&taken) == 0);
    pointsman_builder_free(builder);
    free(stack);
    puts("stacks: all well");
    return 0;
}
