/* Counts what the library allocates and frees, by standing in for the C library's functions
 * (-Wl,--wrap): nothing, from selection to completion, once warm. */
#include "check.h"

#include <stdatomic.h>

static atomic_long calls;

#define WRAP(result, name, parameters, call) \
    result __real_##name parameters;         \
    result __wrap_##name parameters;         \
    result __wrap_##name parameters {        \
        atomic_fetch_add(&calls, 1);         \
        call;                                \
    }

WRAP(void *, malloc, (size_t size), return __real_malloc(size))
WRAP(void *, calloc, (size_t count, size_t size), return __real_calloc(count, size))
WRAP(void *, realloc, (void *old, size_t size), return __real_realloc(old, size))
WRAP(void *, aligned_alloc, (size_t alignment, size_t size), return __real_aligned_alloc(alignment, size))
WRAP(int, posix_memalign, (void **place, size_t alignment, size_t size), return __real_posix_memalign(place, alignment, size))
WRAP(void, free, (void *old), __real_free(old))

static pointsman_status first(void *instance, const pointsman_candidates *candidates,
                              const pointsman_request_view *request, pointsman_decision *decision) {
    (void)instance, (void)candidates, (void)request;
    decision->index = 0;
    return POINTSMAN_OK;
}

static long requests(pointsman_router *router, int rounds) {
    static char text[40000];
    static uint32_t tokens[4000];
    const char *body = "{\"messages\": [{\"role\": \"user\", \"content\": \"How much is the fish?\"}]}";
    char url[64];
    long before = atomic_load(&calls);
    for (int i = 0; i < rounds; i++) {
        memset(text, 'a' + i % 26, sizeof text);
        tokens[0] = (uint32_t)i;
        for (uint32_t kind = 0; kind < 5; kind++) {
            if (kind == POINTSMAN_PROMPT_FINGERPRINT) continue;
            pointsman_request request = POINTSMAN_REQUEST_INIT;
            request.prompt_kind = kind;
            request.prompt = kind == POINTSMAN_PROMPT_TEXT     ? (const void *)text
                             : kind == POINTSMAN_PROMPT_TOKENS ? (const void *)tokens
                             : kind == POINTSMAN_PROMPT_JSON   ? body
                                                               : NULL;
            request.prompt_length = kind == POINTSMAN_PROMPT_TEXT     ? sizeof text
                                    : kind == POINTSMAN_PROMPT_TOKENS ? 4000
                                    : kind == POINTSMAN_PROMPT_JSON   ? strlen(body)
                                                                      : 0;
            request.routing_key = "key";
            pointsman_selection chosen = POINTSMAN_SELECTION_INIT, decode = POINTSMAN_SELECTION_INIT;
            pointsman_completion end = POINTSMAN_COMPLETION_INIT;
            OK(pointsman_select(router, &request, &chosen));
            OK(pointsman_worker_url(router, chosen.worker, url, sizeof url, NULL));
            OK(pointsman_first_token(router, chosen.ticket, 3, POINTSMAN_NOW));
            OK(pointsman_progress(router, chosen.ticket, POINTSMAN_NOW));
            end.prompt_tokens = 1000;
            OK(pointsman_complete(router, chosen.ticket, &end));
            /* Errors of requests are not worth an allocation either. */
            CHECK(pointsman_complete(router, chosen.ticket, NULL) == POINTSMAN_ALREADY_CLOSED);
            request.allowed = &chosen.worker;
            CHECK(pointsman_select(router, &request, &chosen) == POINTSMAN_NO_WORKER);
            request.allowed = NULL;
            OK(pointsman_select_pair(router, &request, &chosen, &decode));
            OK(pointsman_complete(router, chosen.ticket, NULL));
        }
    }
    return atomic_load(&calls) - before;
}

int main(void) {
    const char *policies[] = {"random", "round_robin", "power_of_two", "cache_aware",
                              "{\"cache_aware\": {\"rule\": \"threshold\"}}", "first"};
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    policy.select = first;
    policy.flags = POINTSMAN_POLICY_WANTS_PREFIX;
    for (int i = 0; i < 6; i++) {
        pointsman_builder *builder = NULL;
        pointsman_router *router = NULL;
        OK(pointsman_builder_new(&builder));
        OK(pointsman_builder_add_policy(builder, "first", NUL, &policy));
        OK(pointsman_builder_set_policy(builder, policies[i], NUL));
        OK(pointsman_builder_set_tree_budget(builder, 1 << 20));
        OK(pointsman_builder_build(builder, &router));
        pointsman_builder_free(builder);
        for (int w = 0; w < 24; w++) {
            char url[8];
            snprintf(url, sizeof url, "w%d", w);
            add_worker(router, url, (uint32_t)w % 3);
        }
        requests(router, 50);
        long counted = requests(router, 200);
        printf("allocations: %s %ld\n", policies[i], counted);
        CHECK(counted == 0);
        pointsman_router_free(router);
    }
    CHECK(atomic_load(&calls) > 100);
    return 0;
}
