/*
 * A policy of one's own: the cheapest worker that is not busy, and the least loaded one otherwise.
 * The host keeps the price of each worker in user_data; how busy is too busy comes from the options.
 */
#include <pointsman.h>

#include <stdio.h>
#include <stdlib.h>

struct cheapest {
    uint32_t busy;
};

static pointsman_status create(void *user_data, const char *options, size_t length, void **instance) {
    struct cheapest *policy = malloc(sizeof *policy);
    (void)user_data, (void)length;
    if (policy == NULL) return POINTSMAN_INTERNAL;
    policy->busy = (uint32_t)strtoul(options, NULL, 10);
    if (policy->busy == 0) {
        free(policy);
        return POINTSMAN_INVALID_CONFIG;
    }
    *instance = policy;
    return POINTSMAN_OK;
}

static pointsman_status choose(void *instance, const pointsman_candidates *candidates,
                               const pointsman_request_view *request, pointsman_decision *decision) {
    const struct cheapest *policy = instance;
    uint32_t cheap = POINTSMAN_NONE, idle = 0;
    (void)request;
    for (uint32_t i = 0; i < candidates->count; i++) {
        if (candidates->in_flight[i] < candidates->in_flight[idle]) idle = i;
        if (candidates->in_flight[i] >= policy->busy) continue;
        if (cheap == POINTSMAN_NONE || candidates->user_data[i] < candidates->user_data[cheap]) cheap = i;
    }
    decision->index = cheap != POINTSMAN_NONE ? cheap : idle;
    decision->score = (double)candidates->user_data[decision->index];
    return POINTSMAN_OK;
}

int main(void) {
    pointsman_builder *builder;
    pointsman_router *router;
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    policy.select = choose;
    policy.create = create;
    policy.destroy = free;
    const char *config = "{\"policy\": {\"custom\": {\"name\": \"cheapest\", \"options\": 3}}}";
    if (pointsman_builder_new(&builder) ||
        pointsman_builder_add_policy(builder, "cheapest", POINTSMAN_NUL_TERMINATED, &policy) ||
        pointsman_builder_set_config(builder, config, POINTSMAN_NUL_TERMINATED) ||
        pointsman_builder_build(builder, &router)) {
        fprintf(stderr, "%s\n", pointsman_last_error());
        return 1;
    }
    pointsman_builder_free(builder);
    const char *urls[] = {"dear", "cheap", "middling"};
    const uint64_t prices[] = {30, 10, 20};
    for (int i = 0; i < 3; i++) {
        pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
        spec.url = urls[i];
        spec.user_data = prices[i];
        if (pointsman_worker_add(router, &spec, POINTSMAN_NOW, NULL)) return 1;
    }
    for (int i = 0; i < 8; i++) {
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        char url[16];
        if (pointsman_select(router, &request, &chosen)) return 1;
        if (pointsman_worker_url(router, chosen.worker, url, sizeof url, NULL)) return 1;
        printf("%s ", url);
    }
    printf("\n");
    pointsman_router_free(router);
    return 0;
}
