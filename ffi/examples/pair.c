/* Prefill and decode on different workers: one decision, one ticket, two phases. */
#include <pointsman.h>

#include <stdio.h>

static void add(pointsman_router *router, const char *url, uint32_t role, const char *group) {
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    spec.url = url;
    spec.role = role;
    spec.group = group; /* pairs stay within a group: here, what one fast network connects */
    if (pointsman_worker_add(router, &spec, POINTSMAN_NOW, NULL)) {
        fprintf(stderr, "%s\n", pointsman_last_error());
    }
}

int main(void) {
    pointsman_router *router;
    if (pointsman_router_new(NULL, 0, &router)) return 1;
    add(router, "prefill-1", POINTSMAN_ROLE_PREFILL, "rack-1");
    add(router, "decode-1a", POINTSMAN_ROLE_DECODE, "rack-1");
    add(router, "decode-1b", POINTSMAN_ROLE_DECODE, "rack-1");
    add(router, "prefill-2", POINTSMAN_ROLE_PREFILL, "rack-2");
    add(router, "decode-2", POINTSMAN_ROLE_DECODE, "rack-2");
    for (int i = 0; i < 4; i++) {
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        request.prompt_kind = POINTSMAN_PROMPT_TEXT;
        request.prompt = "How many trains leave the station before noon?";
        request.prompt_length = POINTSMAN_NUL_TERMINATED;
        request.expected_output_tokens = 200;
        pointsman_selection prefill = POINTSMAN_SELECTION_INIT, decode = POINTSMAN_SELECTION_INIT;
        if (pointsman_select_pair(router, &request, &prefill, &decode)) {
            fprintf(stderr, "%s\n", pointsman_last_error());
            return 1;
        }
        char line[512];
        if (pointsman_selection_print(router, &prefill, line, sizeof line, NULL) == POINTSMAN_OK) {
            printf("prefill %s\n", line);
        }
        if (pointsman_selection_print(router, &decode, line, sizeof line, NULL) == POINTSMAN_OK) {
            printf("decode  %s\n", line);
        }
        /* When the prompt is computed, the prefill worker is free for the next one. */
        pointsman_first_token(router, prefill.ticket, POINTSMAN_UNKNOWN, POINTSMAN_NOW);
        pointsman_complete(router, prefill.ticket, NULL);
    }
    pointsman_router_free(router);
    return 0;
}
