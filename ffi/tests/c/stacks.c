/* Requests of every kind from threads with a small stack. Argument 2: its size in KiB. */
#include "check.h"

#include <pthread.h>

static pointsman_router *router;
static char text[1 << 20];
static char body[(1 << 20) + 100];

static pointsman_status first(void *instance, const pointsman_candidates *candidates,
                              const pointsman_request_view *request, pointsman_decision *decision) {
    (void)instance, (void)candidates, (void)request;
    decision->index = 0;
    return POINTSMAN_OK;
}

static void *ask(void *unused) {
    (void)unused;
    for (uint32_t kind = 0; kind < 5; kind++) {
        if (kind == POINTSMAN_PROMPT_FINGERPRINT) continue;
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT, decode = POINTSMAN_SELECTION_INIT;
        request.prompt_kind = kind;
        request.prompt = kind == POINTSMAN_PROMPT_JSON ? body : text;
        request.prompt_length = kind == POINTSMAN_PROMPT_JSON     ? strlen(body)
                                : kind == POINTSMAN_PROMPT_TOKENS ? sizeof text / 4
                                                                  : sizeof text;
        OK(pointsman_select(router, &request, &chosen));
        OK(pointsman_complete(router, chosen.ticket, NULL));
        OK(pointsman_select_pair(router, &request, &chosen, &decode));
        OK(pointsman_complete(router, chosen.ticket, NULL));
    }
    return unused;
}

int main(int count, char **arguments) {
    size_t stack = (count > 2 ? (size_t)atoi(arguments[2]) : 256) * 1024;
    memset(text, 'x', sizeof text);
    strcpy(body, "{\"messages\": [{\"role\": \"user\", \"content\": \"");
    memset(body + strlen(body), 'y', 1 << 20);
    strcat(body, "\"}]}");
    const char *policies[] = {"cache_aware", "{\"cache_aware\": {\"rule\": \"threshold\"}}", "first"};
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    policy.select = first;
    policy.flags = POINTSMAN_POLICY_WANTS_PREFIX;
    pointsman_builder *builder = NULL;
    OK(pointsman_builder_new(&builder));
    OK(pointsman_builder_add_policy(builder, "first", NUL, &policy));
    for (int i = 0; i < 3; i++) {
        OK(pointsman_builder_set_policy(builder, policies[i], NUL));
        OK(pointsman_builder_build(builder, &router));
        for (int w = 0; w < 1024; w++) {
            char url[8];
            snprintf(url, sizeof url, "w%d", w);
            add_worker(router, url, (uint32_t)w % 3);
        }
        pthread_attr_t attributes;
        pthread_t thread;
        CHECK(pthread_attr_init(&attributes) == 0);
        CHECK(pthread_attr_setstacksize(&attributes, stack) == 0);
        CHECK(pthread_create(&thread, &attributes, ask, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(pthread_attr_destroy(&attributes) == 0);
        pointsman_router_free(router);
    }
    pointsman_builder_free(builder);
    puts("stacks: all well");
    return 0;
}
