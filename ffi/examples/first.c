#include <pointsman.h>
#include <stdio.h>

int main(void) {
    const char *urls[] = {"http://10.0.0.1:8000", "http://10.0.0.2:8000", "http://10.0.0.3:8000"};
    pointsman_router *router;
    int served[3] = {0};
    if (pointsman_router_new(NULL, 0, &router)) return 1;
    for (uint64_t i = 0; i < 3; i++) {
        pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
        spec.url = urls[i], spec.user_data = i;
        if (pointsman_worker_add(router, &spec, POINTSMAN_NOW, NULL)) return 1;
    }
    for (int i = 0; i < 1000; i++) {
        char prompt[512]; /* one of fifty documents, and a question about it */
        int length = snprintf(prompt, sizeof prompt, "Document %d. %0400d Question %d?", i % 50, i % 50, i);
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        request.prompt_kind = POINTSMAN_PROMPT_TEXT, request.prompt = prompt, request.prompt_length = (size_t)length;
        if (pointsman_select(router, &request, &chosen)) return fputs(pointsman_last_error(), stderr), 1;
        served[chosen.user_data]++; /* here the request would be sent to urls[chosen.user_data] */
        pointsman_complete(router, chosen.ticket, NULL);
    }
    pointsman_router_free(router);
    return printf("served %d, %d and %d requests\n", served[0], served[1], served[2]) < 0;
}
