/* A server whose processes are forked after the router is made, as nginx's are. */
#include <pointsman.h>

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int serve(pointsman_router *router, int process) {
    int served[3] = {0};
    /* Before anything else: new random draws, and none of the parent's requests in flight. */
    if (pointsman_router_after_fork(router)) return 1;
    for (int i = 0; i < 300; i++) {
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        if (pointsman_select(router, &request, &chosen)) return 1;
        served[chosen.user_data]++;
        if (pointsman_complete(router, chosen.ticket, NULL)) return 1;
    }
    printf("process %d served %d, %d and %d\n", process, served[0], served[1], served[2]);
    fflush(stdout);
    pointsman_router_free(router);
    return 0;
}

int main(void) {
    const char *urls[] = {"http://10.0.0.1:8000", "http://10.0.0.2:8000", "http://10.0.0.3:8000"};
    pointsman_router *router;
    int bad = 0;
    if (pointsman_router_new("{\"policy\": \"power_of_two\"}", POINTSMAN_NUL_TERMINATED, &router)) return 1;
    for (uint64_t i = 0; i < 3; i++) {
        pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
        spec.url = urls[i];
        spec.user_data = i;
        if (pointsman_worker_add(router, &spec, POINTSMAN_NOW, NULL)) return 1;
    }
    for (int process = 0; process < 4; process++) {
        pid_t child = fork();
        if (child < 0) return 1;
        if (child == 0) _exit(serve(router, process));
    }
    for (int process = 0; process < 4; process++) {
        int status = 1;
        wait(&status);
        bad |= status;
    }
    pointsman_router_free(router);
    return bad != 0;
}
