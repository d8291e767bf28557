/* Loads the shared library, uses it from threads, and unloads it, a hundred times. */
#include <pointsman.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition)                                              \
    do {                                                              \
        if (!(condition)) {                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                  \
        }                                                             \
    } while (0)

static struct {
    uint32_t (*abi_version)(void);
    const char *(*last_error)(void);
    pointsman_status (*router_new)(const char *, size_t, pointsman_router **);
    void (*router_free)(pointsman_router *);
    pointsman_status (*worker_add)(const pointsman_router *, const pointsman_worker_spec *, uint64_t,
                                   uint64_t *);
    pointsman_status (*select)(const pointsman_router *, const pointsman_request *,
                               pointsman_selection *);
    pointsman_status (*complete)(const pointsman_router *, uint64_t, const pointsman_completion *);
} api;

static void look_up(void *library, const char *name, void *place) {
    void *symbol = dlsym(library, name);
    CHECK(symbol != NULL);
    memcpy(place, &symbol, sizeof symbol);
}

static void *ask(void *router) {
    for (int i = 0; i < 200; i++) {
        pointsman_request request = POINTSMAN_REQUEST_INIT;
        pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
        request.prompt_kind = POINTSMAN_PROMPT_TEXT;
        request.prompt = "What does a pointsman do?";
        request.prompt_length = POINTSMAN_NUL_TERMINATED;
        CHECK(api.select(router, &request, &chosen) == POINTSMAN_OK);
        CHECK(api.complete(router, chosen.ticket, NULL) == POINTSMAN_OK);
        CHECK(api.complete(router, chosen.ticket, NULL) == POINTSMAN_ALREADY_CLOSED);
        CHECK(strstr(api.last_error(), "closed") != NULL);
    }
    return NULL;
}

static long resident_pages(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long all = 0, resident = 0;
    if (file != NULL) {
        if (fscanf(file, "%ld %ld", &all, &resident) != 2) resident = 0;
        fclose(file);
    }
    return resident;
}

int main(int count, char **arguments) {
    CHECK(count > 1);
    int rounds = count > 2 ? atoi(arguments[2]) : 100;
    long before = 0;
    for (int round = 0; round < rounds; round++) {
        void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) fprintf(stderr, "%s\n", dlerror());
        CHECK(library != NULL);
        look_up(library, "pointsman_abi_version", &api.abi_version);
        look_up(library, "pointsman_last_error", &api.last_error);
        look_up(library, "pointsman_router_new", &api.router_new);
        look_up(library, "pointsman_router_free", &api.router_free);
        look_up(library, "pointsman_worker_add", &api.worker_add);
        look_up(library, "pointsman_select", &api.select);
        look_up(library, "pointsman_complete", &api.complete);
        CHECK(api.abi_version() == POINTSMAN_ABI_VERSION);
        pointsman_router *router = NULL;
        CHECK(api.router_new(NULL, 0, &router) == POINTSMAN_OK);
        for (int i = 0; i < 3; i++) {
            pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
            spec.url = &"abc"[i];
            CHECK(api.worker_add(router, &spec, POINTSMAN_NOW, NULL) == POINTSMAN_OK);
        }
        pthread_t threads[4];
        for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, ask, router) == 0);
        for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        ask(router);
        api.router_free(router);
        CHECK(dlclose(library) == 0);
        if (round == 20) before = resident_pages();
    }
    /* 80 rounds more leave less than 12 MiB behind: the allocator may or may not have given one router's
       tables, about 4 MiB, back to the system at either moment; 80 of them would be 320 MiB. */
    long grown = (resident_pages() - before) * sysconf(_SC_PAGESIZE);
    printf("loads: grew by %ld KiB\n", grown / 1024);
    CHECK(rounds <= 20 || grown < 12 << 20);
    return 0;
}
