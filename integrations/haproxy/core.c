/*
 * pointsman for HAProxy's Lua: the part in C.
 *
 * HAProxy has one Lua state per thread (lua-load-per-thread) or one for all (lua-load). The routers live
 * here, outside of any state, one for each name and process: every thread's script opens the same one.
 * Nothing of routing is decided here; see include/pointsman.h for what the calls do.
 */
#include <lauxlib.h>
#include <lua.h>
#include <pointsman.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../usage.h"

#define ROUTER "pointsman.router"
#define USAGE "pointsman.usage"
#define NAME_MAX_BYTES 256

typedef struct entry {
    char *name, *config;
    pointsman_router *router;
    struct entry *next;
} entry;

/* Never freed: requests may be under way until the process ends. */
static entry *routers;
static pthread_mutex_t routers_lock = PTHREAD_MUTEX_INITIALIZER;

/* In master-worker mode HAProxy forks after it has read its configuration, and so has made the routers. */
static void after_fork(void) {
    for (entry *e = routers; e; e = e->next) pointsman_router_after_fork(e->router);
}

static entry *find(const char *name) {
    entry *e = routers;
    while (e && strcmp(e->name, name)) e = e->next;
    return e;
}

/* Called with the lock held. NULL: see pointsman_last_error, or there is no memory. */
static entry *make(const char *name, const char *config) {
    entry *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    e->name = strdup(name), e->config = strdup(config);
    if (!e->name || !e->config || pointsman_router_new(config, strlen(config), &e->router)) {
        free(e->name), free(e->config), free(e);
        return NULL;
    }
    e->next = routers;
    return routers = e;
}

/* open(name, config) -> router: the process's router of that name, made at the first call. */
static int open_router(lua_State *L) {
    const char *name = luaL_checkstring(L, 1), *config = luaL_checkstring(L, 2);
    pthread_mutex_lock(&routers_lock);
    entry *e = find(name);
    int differs = e && strcmp(e->config, config);
    if (!e) e = make(name, config);
    pthread_mutex_unlock(&routers_lock);
    if (!e) return luaL_error(L, "%s", pointsman_last_error());
    if (differs) return luaL_error(L, "configured twice, and differently");
    *(pointsman_router **)lua_newuserdata(L, sizeof(pointsman_router *)) = e->router;
    luaL_setmetatable(L, ROUTER);
    return 1;
}

static pointsman_router *router_at_1(lua_State *L) {
    return *(pointsman_router **)luaL_checkudata(L, 1, ROUTER);
}

static int checked(lua_State *L, pointsman_status status) {
    if (status) return luaL_error(L, "%s", pointsman_last_error());
    return 0;
}

/* ---- Workers ---------------------------------------------------------------------------------------- */

/* router:add(name, weight, kv_tokens) -> worker */
static int add(lua_State *L) {
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    uint64_t worker = 0;
    spec.url = luaL_checklstring(L, 2, &spec.url_length);
    if (spec.url_length >= NAME_MAX_BYTES) return luaL_error(L, "the name is too long");
    spec.weight = luaL_checknumber(L, 3);
    lua_Integer kv_tokens = luaL_optinteger(L, 4, 0);
    if (kv_tokens > 0) spec.kv_capacity_tokens = (uint64_t)kv_tokens;
    checked(L, pointsman_worker_add(router_at_1(L), &spec, POINTSMAN_NOW, &worker));
    lua_pushinteger(L, (lua_Integer)worker);
    return 1;
}

static uint64_t worker_at_2(lua_State *L) {
    return (uint64_t)luaL_checkinteger(L, 2);
}

static int remove_worker(lua_State *L) {
    return checked(L, pointsman_worker_remove(router_at_1(L), worker_at_2(L), POINTSMAN_NOW));
}

/* router:drain(worker, whether) */
static int drain(lua_State *L) {
    pointsman_router *router = router_at_1(L);
    uint64_t worker = worker_at_2(L);
    return checked(L, lua_toboolean(L, 3) ? pointsman_worker_drain(router, worker)
                                          : pointsman_worker_resume(router, worker));
}

/* router:weigh(worker, weight) */
static int weigh(lua_State *L) {
    return checked(L, pointsman_worker_set_weight(router_at_1(L), worker_at_2(L), luaL_checknumber(L, 3)));
}

/* router:health(worker, up): up leaves it to the outcomes of requests, not up rules it out. */
static int health(lua_State *L) {
    pointsman_health health = lua_toboolean(L, 3) ? POINTSMAN_HEALTH_UNKNOWN : POINTSMAN_HEALTH_UNHEALTHY;
    return checked(L, pointsman_worker_set_health(router_at_1(L), worker_at_2(L), health));
}

/* ---- Requests --------------------------------------------------------------------------------------- */

/* As JSON; else, where a body that may be JSON is not whole, its text; else without a prompt. */
static pointsman_status select_by_body(pointsman_router *router, pointsman_request *request,
                                       pointsman_selection *chosen) {
    pointsman_status status = pointsman_select(router, request, chosen);
    if (status != POINTSMAN_BAD_BODY) return status;
    int cut = *(const char *)request->prompt == '{';
    request->prompt_kind = cut ? POINTSMAN_PROMPT_TEXT : POINTSMAN_PROMPT_NONE;
    return pointsman_select(router, request, chosen);
}

static int push_selection(lua_State *L, pointsman_router *router, const pointsman_selection *chosen) {
    char name[NAME_MAX_BYTES];
    size_t length = 0;
    if (pointsman_worker_url(router, chosen->worker, name, sizeof name, &length)) {
        pointsman_complete(router, chosen->ticket, NULL); /* removed since: there is no worker to send it to */
        lua_pushnil(L);
        lua_pushliteral(L, "the worker was removed");
        return 2;
    }
    lua_pushlstring(L, name, length);
    lua_pushinteger(L, (lua_Integer)chosen->ticket);
    lua_pushstring(L, pointsman_reason_string(chosen->reason));
    lua_pushinteger(L, chosen->matched_tokens);
    lua_pushinteger(L, chosen->total_tokens);
    return 5;
}

static int push_failure(lua_State *L) {
    lua_pushnil(L);
    lua_pushstring(L, pointsman_last_error());
    return 2;
}

/* router:select(body, key) -> name, ticket, reason, matched, total; or nil, message. Both may be nil. */
static int select_worker(lua_State *L) {
    pointsman_router *router = router_at_1(L);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    request.prompt = luaL_optlstring(L, 2, NULL, &request.prompt_length);
    if (request.prompt && request.prompt_length) request.prompt_kind = POINTSMAN_PROMPT_JSON;
    size_t key_length = 0;
    request.routing_key = luaL_optlstring(L, 3, NULL, &key_length);
    if (request.routing_key) request.routing_key_length = key_length;
    if (select_by_body(router, &request, &chosen)) return push_failure(L);
    return push_selection(L, router, &chosen);
}

/* router:charge(worker) -> name, ticket, ...: for a request that HAProxy has sent to that worker by itself. */
static int charge(lua_State *L) {
    pointsman_router *router = router_at_1(L);
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    uint64_t worker = 0;
    if (pointsman_worker_find(router, luaL_checkstring(L, 2), POINTSMAN_NUL_TERMINATED, &worker))
        return push_failure(L);
    request.allowed = &worker, request.allowed_count = 1;
    if (pointsman_select(router, &request, &chosen)) return push_failure(L);
    return push_selection(L, router, &chosen);
}

static uint64_t ticket_at_2(lua_State *L) {
    return (uint64_t)luaL_checkinteger(L, 2);
}

/* Late, repeated or of a worker that was removed: harmless, so these three say nothing. */
static int first_token(lua_State *L) {
    pointsman_first_token(router_at_1(L), ticket_at_2(L), POINTSMAN_UNKNOWN, POINTSMAN_NOW);
    return 0;
}

static int progress(lua_State *L) {
    pointsman_progress(router_at_1(L), ticket_at_2(L), POINTSMAN_NOW);
    return 0;
}

/* usage() -> usage: the token counts of one answer. */
static int new_usage(lua_State *L) {
    memset(lua_newuserdata(L, sizeof(usage_reader)), 0, sizeof(usage_reader));
    luaL_setmetatable(L, USAGE);
    return 1;
}

/* usage:push(bytes) */
static int push_usage(lua_State *L) {
    size_t length = 0;
    usage_reader *usage = luaL_checkudata(L, 1, USAGE);
    const char *bytes = luaL_checklstring(L, 2, &length);
    usage_push(usage, bytes, length);
    return 0;
}

/* router:complete(ticket, outcome, retry_after_seconds, usage); the last two may be nil */
static int complete(lua_State *L) {
    static const char *const names[] = {"success", "client_cancelled", "client_error", "worker_error",
                                        "timeout", "overloaded",       NULL};
    pointsman_completion completion = POINTSMAN_COMPLETION_INIT;
    completion.outcome = (uint32_t)luaL_checkoption(L, 3, NULL, names);
    double seconds = luaL_optnumber(L, 4, 0);
    if (seconds > 0 && seconds < 1e6) completion.retry_after = (uint64_t)(seconds * 1e9);
    if (!lua_isnoneornil(L, 5)) usage_report(luaL_checkudata(L, 5, USAGE), &completion);
    pointsman_complete(router_at_1(L), ticket_at_2(L), &completion);
    return 0;
}

/* ---- Metrics ---------------------------------------------------------------------------------------- */

/* router:prometheus() -> text */
static int prometheus(lua_State *L) {
    pointsman_router *router = router_at_1(L);
    size_t length = 0, capacity = 16384;
    for (;;) {
        char *text = lua_newuserdata(L, capacity);
        pointsman_status status = pointsman_router_prometheus(router, POINTSMAN_NOW, text, capacity, &length);
        if (!status) return lua_pushlstring(L, text, length), 1;
        if (status != POINTSMAN_BUFFER_TOO_SMALL) return checked(L, status);
        lua_pop(L, 1);
        capacity = length + 4096; /* it may grow until it is asked for again */
    }
}

static const luaL_Reg methods[] = {
    {"add", add},           {"remove", remove_worker}, {"drain", drain},
    {"weigh", weigh},       {"health", health},        {"select", select_worker},
    {"charge", charge},     {"first_token", first_token}, {"progress", progress},
    {"complete", complete}, {"prometheus", prometheus}, {NULL, NULL},
};

static void at_load(void) {
    pthread_atfork(NULL, NULL, after_fork);
}

int luaopen_pointsman_core(lua_State *L) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (pointsman_abi_version() != POINTSMAN_ABI_VERSION) return luaL_error(L, "header and library differ");
    pthread_once(&once, at_load);
    luaL_newmetatable(L, ROUTER);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newmetatable(L, USAGE);
    lua_newtable(L);
    lua_pushcfunction(L, push_usage);
    lua_setfield(L, -2, "push");
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    lua_pushcfunction(L, open_router);
    lua_setfield(L, -2, "open");
    lua_pushcfunction(L, new_usage);
    lua_setfield(L, -2, "usage");
    return 1;
}
