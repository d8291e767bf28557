/* What every test program here uses: checks that name their line, and short forms of common calls. */
#ifndef CHECK_H
#define CHECK_H

#include <pointsman.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: %s\n  last error: %s\n", __FILE__, __LINE__, #condition, \
                    pointsman_last_error());                                                \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

/* The call succeeds. */
#define OK(call)                                                                             \
    do {                                                                                     \
        pointsman_status status_ = (call);                                                   \
        if (status_ != POINTSMAN_OK) {                                                       \
            fprintf(stderr, "%s:%d: %s\n  %s: %s\n", __FILE__, __LINE__, #call,               \
                    pointsman_status_string(status_), pointsman_last_error());               \
            abort();                                                                         \
        }                                                                                    \
    } while (0)

/* The call fails with this status and a message that contains this text. */
#define FAILS(status, text, call)                                                            \
    do {                                                                                     \
        pointsman_status status_ = (call);                                                   \
        if (status_ != (status) || strstr(pointsman_last_error(), text) == NULL) {           \
            fprintf(stderr, "%s:%d: %s\n  gave %s: %s\n", __FILE__, __LINE__, #call,          \
                    pointsman_status_string(status_), pointsman_last_error());               \
            abort();                                                                         \
        }                                                                                    \
    } while (0)

#define NUL POINTSMAN_NUL_TERMINATED

static inline pointsman_router *new_router(const char *config) {
    pointsman_router *router = NULL;
    OK(pointsman_router_new(config, NUL, &router));
    CHECK(router != NULL);
    return router;
}

static inline uint64_t add_worker(pointsman_router *router, const char *url, uint32_t role) {
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    uint64_t worker = 0;
    spec.url = url;
    spec.role = role;
    OK(pointsman_worker_add(router, &spec, POINTSMAN_NOW, &worker));
    CHECK(worker != 0);
    return worker;
}

static inline pointsman_request text_request(const char *text) {
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    request.prompt_kind = POINTSMAN_PROMPT_TEXT;
    request.prompt = text;
    request.prompt_length = strlen(text);
    return request;
}

static inline pointsman_worker_info describe(pointsman_router *router, uint64_t worker) {
    pointsman_worker_info info = POINTSMAN_WORKER_INFO_INIT;
    OK(pointsman_worker_describe(router, worker, POINTSMAN_NOW, &info));
    return info;
}

#endif
