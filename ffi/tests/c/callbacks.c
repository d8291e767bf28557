/* Every function, called from every callback: it works, or it answers POINTSMAN_IN_CALLBACK. */
#include "check.h"

/* The callbacks that there are; the events of a policy are told apart. */
enum callback { NOTHING, LOG, DECISION, HEALTH, ROOM, SELECT, EVENT, CREATE = EVENT + 8, DESTROY, RELEASE, KV, CALLBACKS };

static const char *const names[CALLBACKS] = {
    "none",   "log",    "decision log", "health log", "room", "select",  "event",   "dispatch", "first token",
    "complete", "added", "removed",      "forked",     "changed", "create", "destroy", "release", "kv events"};

/* What a function does in a callback. CHOOSES: it works where no policy of the host's own has to choose. */
enum rule { WORKS, CHOOSES, REFUSED };

static struct {
    pointsman_router *router, *made_router;
    pointsman_builder *builder, *made_builder;
    pointsman_fingerprinter *printer;
    pointsman_engine *engine, *made_engine;
    pointsman_selection chosen, pair[2];
    pointsman_fingerprint print;
    uint64_t worker, ticket, hashes[64];
    int own_policy_chooses;
    enum callback armed; /* the callback that tries every function when it is called next */
    int tried[CALLBACKS];
} host;

static const char *const any = "{}";
static char text[4096];
static size_t length;
static uint64_t number;
static uint32_t small;

static pointsman_status never(void *instance, const pointsman_candidates *candidates,
                              const pointsman_request_view *request, pointsman_decision *decision) {
    (void)instance, (void)candidates, (void)request, (void)decision;
    abort();
}

static pointsman_status select_one(void) {
    pointsman_request request = text_request("Hello");
    host.chosen = (pointsman_selection)POINTSMAN_SELECTION_INIT;
    const pointsman_status status = pointsman_select(host.router, &request, &host.chosen);
    if (status == POINTSMAN_OK) OK(pointsman_complete(host.router, host.chosen.ticket, NULL));
    return status;
}
static pointsman_status select_two(void) {
    pointsman_request request = text_request("Hello");
    host.pair[0] = host.pair[1] = (pointsman_selection)POINTSMAN_SELECTION_INIT;
    const pointsman_status status =
        pointsman_select_pair(host.router, &request, &host.pair[0], &host.pair[1]);
    if (status == POINTSMAN_OK) OK(pointsman_complete(host.router, host.pair[0].ticket, NULL));
    return status;
}
static pointsman_status print_request(void) {
    const pointsman_request request = text_request("Hello");
    return pointsman_fingerprint_request(host.router, &request, host.hashes, 64, &host.print);
}
static pointsman_status add_policy(void) {
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    policy.select = never;
    return pointsman_builder_add_policy(host.builder, "never", NUL, &policy);
}
static pointsman_status add(void) {
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    spec.url = "http://never";
    return pointsman_worker_add(host.router, &spec, 0, &number);
}
static pointsman_status report_load(void) {
    const pointsman_load load = POINTSMAN_LOAD_INIT;
    return pointsman_worker_report_load(host.router, host.worker, &load);
}
static pointsman_status update(void) {
    const pointsman_worker_change change = POINTSMAN_WORKER_CHANGE_INIT;
    return pointsman_worker_update(host.router, host.worker, &change);
}
static pointsman_status describe_worker(void) {
    pointsman_worker_info info = POINTSMAN_WORKER_INFO_INIT;
    return pointsman_worker_describe(host.router, host.worker, 0, &info);
}
static pointsman_status metrics(void) {
    pointsman_metrics counted = POINTSMAN_METRICS_INIT;
    return pointsman_router_metrics(host.router, 0, &counted);
}
static pointsman_status of_http_status(void) {
    pointsman_completion end = POINTSMAN_COMPLETION_INIT;
    return pointsman_outcome_of_http_status(429, 0, &end);
}
static pointsman_status excluding_cached(void) {
    pointsman_completion end = POINTSMAN_COMPLETION_INIT;
    return pointsman_usage_excluding_cached(1, 2, 3, 4, &end);
}
static pointsman_status body(void) {
    pointsman_body said = POINTSMAN_BODY_INIT;
    return pointsman_fingerprinter_body(host.printer, &said);
}
static pointsman_status print_encoded(void) {
    return pointsman_fingerprint_encode(&host.print, text, sizeof text, &length);
}
static pointsman_status print_decoded(void) {
    return pointsman_fingerprint_decode(text, length, host.hashes, 64, &host.print);
}

/* A function without a status: it works if what it gives is what it always gives. */
#define GIVES(condition) ((condition) ? POINTSMAN_OK : -1)
#define ROUTER host.router
#define BUILDER host.builder
#define PRINTER host.printer
#define ENGINE host.engine
static const uint8_t key[32] = {1};
/* A message of KV events: all blocks are cleared. */
static const uint8_t zeros[8] = {0};
static const uint8_t cleared[] = "\x92\x01\x91\x91\xb0" "AllBlocksCleared";
static uint64_t found;

/* Each function once, the call that tries it, and its rule. */
#define FUNCTIONS(X)                                                                                \
    X(pointsman_abi_version, WORKS, GIVES(pointsman_abi_version() == POINTSMAN_ABI_VERSION))        \
    X(pointsman_version, WORKS, GIVES(strcmp(pointsman_version(), POINTSMAN_VERSION) == 0))         \
    X(pointsman_version_number, WORKS, GIVES(pointsman_version_number() == POINTSMAN_VERSION_NUMBER)) \
    X(pointsman_status_string, WORKS, GIVES(pointsman_status_string(1)[0] != '\0'))                 \
    X(pointsman_last_error, WORKS, GIVES(pointsman_last_error() != NULL))                           \
    X(pointsman_in_callback, WORKS, GIVES(pointsman_in_callback() == 1))                            \
    X(pointsman_outcome_string, WORKS, GIVES(strcmp(pointsman_outcome_string(0), "success") == 0))  \
    X(pointsman_outcome_of_http_status, WORKS, of_http_status())                                    \
    X(pointsman_usage_excluding_cached, WORKS, excluding_cached())                                  \
    X(pointsman_reason_string, WORKS, GIVES(pointsman_reason_string(1)[0] != '\0'))                 \
    X(pointsman_select, CHOOSES, select_one())                                                      \
    X(pointsman_select_pair, CHOOSES, select_two())                                                 \
    X(pointsman_first_token, WORKS, pointsman_first_token(ROUTER, host.ticket, 0, 0))               \
    X(pointsman_best_match, WORKS, pointsman_best_match(ROUTER, host.ticket, &found, NULL))         \
    X(pointsman_progress, WORKS, pointsman_progress(ROUTER, host.ticket, 0))                        \
    X(pointsman_complete, WORKS, pointsman_complete(ROUTER, host.ticket, NULL))                     \
    X(pointsman_selection_print, WORKS,                                                             \
      pointsman_selection_print(ROUTER, &host.chosen, text, sizeof text, NULL))                     \
    X(pointsman_router_new, WORKS, pointsman_router_new(any, NUL, &host.made_router))               \
    X(pointsman_router_free, REFUSED, (pointsman_router_free(ROUTER), POINTSMAN_IN_CALLBACK))       \
    X(pointsman_router_now, WORKS, GIVES(pointsman_router_now(ROUTER) > 0))                         \
    X(pointsman_router_after_fork, REFUSED, pointsman_router_after_fork(ROUTER))                    \
    X(pointsman_router_tick, REFUSED, pointsman_router_tick(ROUTER, 0))                             \
    X(pointsman_router_policy, REFUSED, pointsman_router_policy(ROUTER, text, sizeof text, NULL))   \
    X(pointsman_router_set_policy, REFUSED, pointsman_router_set_policy(ROUTER, "random", NUL))     \
    X(pointsman_router_set_policies, REFUSED,                                                       \
      pointsman_router_set_policies(ROUTER, "random", NUL, NULL, 0, NULL, 0))                       \
    X(pointsman_router_set_split, REFUSED, pointsman_router_set_split(ROUTER, NULL, 0, 0))          \
    X(pointsman_router_set_shadow, REFUSED, pointsman_router_set_shadow(ROUTER, NULL, 0))           \
    X(pointsman_router_metrics, REFUSED, metrics())                                                 \
    X(pointsman_router_prometheus, REFUSED,                                                         \
      pointsman_router_prometheus(ROUTER, 0, text, sizeof text, NULL))                              \
    X(pointsman_router_prometheus_families, REFUSED,                                                \
      pointsman_router_prometheus_families(ROUTER, 0, text, sizeof text, NULL))                     \
    X(pointsman_worker_url, WORKS, pointsman_worker_url(ROUTER, host.worker, text, sizeof text, NULL)) \
    X(pointsman_worker_slot, WORKS, pointsman_worker_slot(ROUTER, host.worker, &small))             \
    X(pointsman_worker_add, REFUSED, add())                                                         \
    X(pointsman_worker_remove, REFUSED, pointsman_worker_remove(ROUTER, host.worker, 0))            \
    X(pointsman_worker_drain, REFUSED, pointsman_worker_drain(ROUTER, host.worker))                 \
    X(pointsman_worker_resume, REFUSED, pointsman_worker_resume(ROUTER, host.worker))               \
    X(pointsman_worker_set_weight, REFUSED, pointsman_worker_set_weight(ROUTER, host.worker, 2))    \
    X(pointsman_worker_set_max_in_flight, REFUSED,                                                  \
      pointsman_worker_set_max_in_flight(ROUTER, host.worker, 2))                                   \
    X(pointsman_worker_set_health, REFUSED, pointsman_worker_set_health(ROUTER, host.worker, 2))    \
    X(pointsman_worker_report_load, REFUSED, report_load())                                         \
    X(pointsman_worker_find, REFUSED, pointsman_worker_find(ROUTER, "http://a", NUL, &number))      \
    X(pointsman_worker_describe, REFUSED, describe_worker())                                        \
    X(pointsman_worker_update, REFUSED, update())                                                   \
    X(pointsman_workers_describe, REFUSED, pointsman_workers_describe(ROUTER, 0, NULL, 0, &length)) \
    X(pointsman_workers, REFUSED, pointsman_workers(ROUTER, host.hashes, 64, &length))              \
    X(pointsman_fingerprint_request, WORKS, print_request())                                        \
    X(pointsman_fingerprint_encode, WORKS, print_encoded())                                         \
    X(pointsman_fingerprint_decode, WORKS, print_decoded())                                         \
    X(pointsman_fingerprinter_new, WORKS, pointsman_fingerprinter_new(ROUTER, 16, &host.printer))   \
    X(pointsman_fingerprinter_begin, WORKS,                                                         \
      pointsman_fingerprinter_begin(PRINTER, POINTSMAN_PROMPT_JSON, NULL, 0))                       \
    X(pointsman_fingerprinter_push, WORKS, pointsman_fingerprinter_push(PRINTER, any, NUL))         \
    X(pointsman_fingerprinter_finish, WORKS, pointsman_fingerprinter_finish(PRINTER, &host.print))  \
    X(pointsman_fingerprinter_body, WORKS, body())                                                  \
    X(pointsman_fingerprinter_free, WORKS, (pointsman_fingerprinter_free(PRINTER), POINTSMAN_OK))   \
    X(pointsman_engine_new, WORKS, pointsman_engine_new(&host.made_engine))                         \
    X(pointsman_engine_free, REFUSED, (pointsman_engine_free(ENGINE), POINTSMAN_IN_CALLBACK))       \
    X(pointsman_engine_feed, REFUSED,                                                               \
      pointsman_engine_feed(ENGINE, ROUTER, host.worker, 0, zeros, 8, cleared, sizeof cleared - 1, NULL, NULL, NULL)) \
    X(pointsman_engine_gap, REFUSED,                                                                \
      pointsman_engine_gap(ENGINE, zeros, 8, cleared, sizeof cleared - 1, NULL, NULL, &number, &number)) \
    X(pointsman_engine_restart, REFUSED, pointsman_engine_restart(ENGINE, ROUTER, host.worker, NULL, NULL)) \
    X(pointsman_engine_read_load, REFUSED,                                                          \
      pointsman_engine_read_load(ENGINE, ROUTER, host.worker, 0, "", 0, POINTSMAN_NONE, 0, NULL))   \
    X(pointsman_builder_new, WORKS, pointsman_builder_new(&host.made_builder))                      \
    X(pointsman_builder_free, REFUSED, (pointsman_builder_free(BUILDER), POINTSMAN_IN_CALLBACK))    \
    X(pointsman_builder_set_config, REFUSED, pointsman_builder_set_config(BUILDER, any, NUL))       \
    X(pointsman_builder_set_policy, REFUSED, pointsman_builder_set_policy(BUILDER, "random", NUL))  \
    X(pointsman_builder_set_tree_budget, REFUSED, pointsman_builder_set_tree_budget(BUILDER, 1 << 20)) \
    X(pointsman_builder_set_limits, REFUSED, pointsman_builder_set_limits(BUILDER, 1, 1))           \
    X(pointsman_builder_set_hash_key, REFUSED, pointsman_builder_set_hash_key(BUILDER, key, 32))    \
    X(pointsman_builder_set_seed, REFUSED, pointsman_builder_set_seed(BUILDER, 1))                  \
    X(pointsman_builder_add_policy, REFUSED, add_policy())                                          \
    X(pointsman_builder_set_log, REFUSED, pointsman_builder_set_log(BUILDER, 0, NULL, NULL))        \
    X(pointsman_builder_set_decision_log, REFUSED,                                                  \
      pointsman_builder_set_decision_log(BUILDER, 1, NULL, NULL))                                   \
    X(pointsman_builder_set_health_log, REFUSED, pointsman_builder_set_health_log(BUILDER, NULL, NULL)) \
    X(pointsman_builder_set_room_callback, REFUSED,                                                 \
      pointsman_builder_set_room_callback(BUILDER, NULL, NULL))                                      \
    X(pointsman_builder_build, REFUSED, pointsman_builder_build(BUILDER, &host.made_router))

#define TRY(name, rule, call) \
    static pointsman_status try_##name(void) { return call; }
FUNCTIONS(TRY)

#define ROW(name, rule, call) {#name, rule, try_##name},
static const struct {
    const char *name;
    enum rule rule;
    pointsman_status (*call)(void);
} functions[] = {FUNCTIONS(ROW)};

/* Called by every callback; the one that is awaited tries all functions. */
static void called(enum callback callback) {
    if (host.armed != callback) return;
    host.armed = NOTHING;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const enum rule rule = functions[i].rule;
        const int works = rule == WORKS || (rule == CHOOSES && !host.own_policy_chooses);
        const pointsman_status expected = works ? POINTSMAN_OK : POINTSMAN_IN_CALLBACK;
        const pointsman_status given = functions[i].call();
        if (given != expected) {
            fprintf(stderr, "%s in %s (a policy of the host's own chooses: %d): %s, expected %s\n  %s\n",
                    functions[i].name, names[callback], host.own_policy_chooses,
                    pointsman_status_string(given), pointsman_status_string(expected),
                    pointsman_last_error());
            abort();
        }
    }
    host.tried[callback]++;
}

static void on_line(void *user_data, pointsman_log_level level, const char *message, size_t size) {
    (void)user_data, (void)level, (void)message, (void)size;
    called(LOG);
}
static void on_decision(void *user_data, const pointsman_decision_record *record) {
    (void)user_data, (void)record;
    called(DECISION);
}
static void on_health(void *user_data, const pointsman_health_change *change) {
    (void)user_data, (void)change;
    called(HEALTH);
}
static void on_room(void *user_data) {
    (void)user_data;
    called(ROOM);
}
static void on_kv(void *user_data, const pointsman_kv_event *event) {
    (void)user_data, (void)event;
    called(KV);
}
static pointsman_status choose(void *instance, const pointsman_candidates *candidates,
                               const pointsman_request_view *request, pointsman_decision *decision) {
    (void)instance, (void)candidates, (void)request;
    called(SELECT);
    decision->index = 0;
    return POINTSMAN_OK;
}
static void on_event(void *instance, const pointsman_event *event) {
    (void)instance;
    called((enum callback)(EVENT + (int)event->kind));
}
static pointsman_status create(void *user_data, const char *options, size_t size, void **instance) {
    (void)options, (void)size;
    called(CREATE);
    *instance = user_data;
    return POINTSMAN_OK;
}

/* The router and the builder that go while a callback of theirs runs. */
static pointsman_router *going;
static void on_the_going(void) {
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    if (going == NULL) return;
    FAILS(POINTSMAN_INVALID_ARGUMENT, "handle", pointsman_select(going, &request, &chosen));
    FAILS(POINTSMAN_INVALID_ARGUMENT, "handle", pointsman_complete(going, 1, NULL));
    CHECK(pointsman_router_now(going) == 0 && pointsman_router_tick(going, 0) == POINTSMAN_IN_CALLBACK);
    pointsman_router_free(going);
}
static void destroy(void *instance) { (void)instance, on_the_going(), called(DESTROY); }
static void release(void *user_data) { (void)user_data, on_the_going(), called(RELEASE); }

static pointsman_builder *new_builder(void) {
    pointsman_builder *builder = NULL;
    pointsman_policy policy = POINTSMAN_POLICY_INIT;
    static int anything;
    policy.flags = POINTSMAN_POLICY_WANTS_REQUEST_EVENTS;
    policy.user_data = &anything;
    policy.select = choose, policy.on_event = on_event;
    policy.create = create, policy.destroy = destroy, policy.release = release;
    OK(pointsman_builder_new(&builder));
    OK(pointsman_builder_add_policy(builder, "own", NUL, &policy));
    OK(pointsman_builder_set_log(builder, POINTSMAN_LOG_DEBUG, on_line, NULL));
    OK(pointsman_builder_set_decision_log(builder, 1, on_decision, NULL));
    OK(pointsman_builder_set_health_log(builder, on_health, NULL));
    OK(pointsman_builder_set_room_callback(builder, on_room, NULL));
    return builder;
}

/* A ticket that the functions of a request are tried with. */
static uint64_t opened(void) {
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    OK(pointsman_select(host.router, &request, &chosen));
    return chosen.ticket;
}

/* What is done here calls this callback, which tries all functions. */
#define CALLS(callback, what)             \
    do {                                  \
        host.ticket = opened();           \
        host.armed = callback;            \
        what;                             \
        CHECK(host.armed == NOTHING);     \
        pointsman_router_free(host.made_router);   \
        pointsman_builder_free(host.made_builder); \
        pointsman_engine_free(host.made_engine);   \
        host.made_router = NULL, host.made_builder = NULL, host.made_engine = NULL; \
    } while (0)

static void fail(uint64_t worker) {
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    pointsman_completion end = POINTSMAN_COMPLETION_INIT;
    request.allowed = &worker, request.allowed_count = 1;
    end.outcome = POINTSMAN_OUTCOME_WORKER_ERROR;
    OK(pointsman_select(host.router, &request, &chosen));
    OK(pointsman_complete(host.router, chosen.ticket, &end));
}

static void select_a_pair(void) {
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection p = POINTSMAN_SELECTION_INIT, d = POINTSMAN_SELECTION_INIT;
    OK(pointsman_select_pair(host.router, &request, &p, &d));
    OK(pointsman_complete(host.router, p.ticket, NULL));
}

/* The logs, by whichever policy. */
static void logs(void) {
    const uint64_t sick = add_worker(host.router, "http://sick", 0);
    CALLS(LOG, OK(pointsman_complete(host.router, opened(), NULL)));
    CALLS(LOG, OK(pointsman_worker_drain(host.router, sick)));
    CALLS(LOG, OK(pointsman_worker_resume(host.router, sick)));
    CALLS(DECISION, OK(pointsman_complete(host.router, opened(), NULL)));
    CALLS(DECISION, select_a_pair());
    CALLS(KV, OK(pointsman_engine_feed(ENGINE, ROUTER, host.worker, POINTSMAN_SOURCE_LIVE, zeros, 8, cleared,
                                       sizeof cleared - 1, on_kv, NULL, NULL)));
    fail(sick), fail(sick);
    CALLS(HEALTH, fail(sick));
    CALLS(HEALTH, OK(pointsman_router_tick(host.router, pointsman_router_now(host.router) + 11000000000u)));
    OK(pointsman_worker_remove(host.router, sick, 0));
}

/* A place that comes free after a request was refused for want of one. */
static void room(void) {
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    uint64_t narrow = 0;
    spec.url = "http://narrow", spec.max_in_flight = 1;
    OK(pointsman_worker_add(host.router, &spec, 0, &narrow));
    request.allowed = &narrow, request.allowed_count = 1;
    OK(pointsman_select(host.router, &request, &chosen));
    const uint64_t ticket = chosen.ticket;
    CHECK(pointsman_select(host.router, &request, &chosen) == POINTSMAN_ALL_BUSY);
    CALLS(ROOM, OK(pointsman_complete(host.router, ticket, NULL)));
    OK(pointsman_worker_remove(host.router, narrow, 0));
}

static void a_policy_s_own(void) {
    uint64_t other = 0;
    CALLS(SELECT, OK(pointsman_complete(host.router, opened(), NULL)));
    CALLS(SELECT, select_a_pair());
    const uint64_t ticket = opened();
    CALLS(EVENT + POINTSMAN_EVENT_DISPATCH, OK(pointsman_complete(host.router, opened(), NULL)));
    CALLS(EVENT + POINTSMAN_EVENT_FIRST_TOKEN, OK(pointsman_first_token(host.router, ticket, 0, 0)));
    CALLS(EVENT + POINTSMAN_EVENT_COMPLETE, OK(pointsman_complete(host.router, ticket, NULL)));
    CALLS(EVENT + POINTSMAN_EVENT_WORKER_ADDED, other = add_worker(host.router, "http://other", 0));
    const pointsman_worker_change change = POINTSMAN_WORKER_CHANGE_INIT;
    CALLS(EVENT + POINTSMAN_EVENT_WORKER_CHANGED, OK(pointsman_worker_update(host.router, other, &change)));
    CALLS(EVENT + POINTSMAN_EVENT_WORKER_REMOVED, OK(pointsman_worker_remove(host.router, other, 0)));
    CALLS(CREATE, OK(pointsman_router_set_policy(host.router, "own", NUL)));
    CALLS(DESTROY, OK(pointsman_router_tick(host.router, 0)));
    /* What a policy is told of after it was replaced, and of workers while it is installed. */
    const uint64_t late = opened();
    OK(pointsman_router_set_policy(host.router, "round_robin", NUL));
    host.own_policy_chooses = 0;
    CALLS(EVENT + POINTSMAN_EVENT_FIRST_TOKEN, OK(pointsman_first_token(host.router, late, 0, 0)));
    CALLS(EVENT + POINTSMAN_EVENT_COMPLETE, OK(pointsman_complete(host.router, late, NULL)));
    CALLS(EVENT + POINTSMAN_EVENT_WORKER_ADDED, OK(pointsman_router_set_shadow(host.router, "own", NUL)));
    CALLS(SELECT, OK(pointsman_complete(host.router, opened(), NULL)));
    OK(pointsman_router_set_shadow(host.router, NULL, 0));
}

int main(void) {
    OK(pointsman_engine_new(&host.engine));
    for (int own = 0; own < 2; own++) {
        memset(&host.chosen, 0, sizeof host.chosen);
        host.chosen = (pointsman_selection)POINTSMAN_SELECTION_INIT;
        host.print = (pointsman_fingerprint)POINTSMAN_FINGERPRINT_INIT;
        host.builder = new_builder();
        OK(pointsman_builder_set_policy(host.builder, own ? "own" : "cache_aware", NUL));
        OK(pointsman_builder_build(host.builder, &host.router));
        host.own_policy_chooses = own;
        host.worker = add_worker(host.router, "http://a", 0);
        add_worker(host.router, "http://b", 0);
        add_worker(host.router, "http://p", POINTSMAN_ROLE_PREFILL);
        add_worker(host.router, "http://d", POINTSMAN_ROLE_DECODE);
        OK(select_one());
        logs();
    room();
        if (own) a_policy_s_own();
        pointsman_router_free(host.router);
        pointsman_builder_free(host.builder);
    }

    /* While a builder builds, or it goes, or a router: all functions, with another router. */
    pointsman_router *router = new_router("{\"policy\": \"random\"}");
    host.router = router;
    host.worker = add_worker(router, "http://a", 0);
    add_worker(router, "http://p", POINTSMAN_ROLE_PREFILL);
    add_worker(router, "http://d", POINTSMAN_ROLE_DECODE);
    host.builder = new_builder();
    OK(pointsman_builder_set_policy(host.builder, "own", NUL));
    CALLS(CREATE, OK(pointsman_builder_build(host.builder, &going)));
    CALLS(DESTROY, pointsman_router_free(going));
    OK(pointsman_builder_build(host.builder, &going));
    CALLS(EVENT + POINTSMAN_EVENT_FORKED, OK(pointsman_router_after_fork(going)));
    pointsman_router *last = going;
    going = NULL;
    pointsman_builder_free(host.builder);
    host.builder = new_builder();
    going = last;
    CALLS(RELEASE, pointsman_router_free(going));
    going = NULL;
    CALLS(RELEASE, pointsman_builder_free(host.builder));
    pointsman_router_free(router);

    for (int callback = LOG; callback < CALLBACKS; callback++) {
        CHECK(callback == EVENT || host.tried[callback] > 0);
    }
    CHECK(pointsman_in_callback() == 0);
    puts("callbacks: all well");
    return 0;
}
