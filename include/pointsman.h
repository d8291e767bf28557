/**
 * @file
 * pointsman 0.1.0: names the LLM worker that should serve a request, inside the host's process.
 *
 * Generated from the library's sources by its tests; do not edit.
 *
 * Conventions
 *   Functions return a status; they write their outputs only if it is POINTSMAN_OK. The one exception
 *   is the length that comes with POINTSMAN_BUFFER_TOO_SMALL. pointsman_last_error tells more.
 *   NULL is refused unless a function's comment allows it.
 *   Structs begin with their size, and are set up by their INIT macro, so that later versions can
 *   append fields. Never copy an INIT macro's fields by hand. Reserved fields stay 0: anything else in a
 *   struct that is passed in is POINTSMAN_INVALID_ARGUMENT, and those of outputs are set to 0.
 *   What a number stands for is said by its type: a pointsman_role is one of the POINTSMAN_ROLE_
 *   constants, and so on. These types are plain integers of a stated width, as C leaves the width of
 *   an enum to the compiler. A number that is not known is POINTSMAN_UNKNOWN (32 bits) or
 *   POINTSMAN_UNKNOWN64.
 *   Text comes with its length in bytes, or with POINTSMAN_NUL_TERMINATED instead. It is UTF-8
 *   unless said otherwise.
 *   Capacities, counts and lengths of arrays are numbers of elements: bytes of text, hashes, ids, tokens,
 *   structs. Only what is named bytes counts bytes.
 *   A worker's id is never 0 and never used again. A call about a worker that is not registered, or not
 *   any more, answers POINTSMAN_NOT_FOUND; in a list of ids it matches no worker, but 0 is refused there.
 *   What is passed in is borrowed until the call returns. What is kept is copied.
 *   The library may be unloaded (dlclose) when its routers, builders, fingerprinters and engines are freed and no
 *   thread is inside a call: it leaves no thread, handler or thread-local destructor behind.
 *   Unless said otherwise, any function may be called by any number of threads at once.
 *
 * Callbacks
 *   are the logs, the decision log, the health log, KV events, and all functions of a pointsman_policy.
 *   On the thread that one of them runs on,
 *   - pointsman_select and pointsman_select_pair work, unless a policy of the host's own would have to
 *     choose: then they answer POINTSMAN_IN_CALLBACK;
 *   - pointsman_first_token, pointsman_best_match, pointsman_progress, pointsman_complete,
 *     pointsman_selection_print, pointsman_worker_url, pointsman_worker_slot, pointsman_router_now and
 *     _new, pointsman_builder_new, pointsman_engine_new, everything about fingerprints, and all functions
 *     without a router or an engine work;
 *   - all others, those of builders among them, answer POINTSMAN_IN_CALLBACK and do nothing;
 *   - pointsman_router_free, pointsman_builder_free and pointsman_engine_free do nothing.
 *   Callbacks may so be called inside callbacks: a completion in a decision log may eject a worker. A
 *   router that is being freed, which destroy and release may see, is no valid handle any more.
 *
 *     pointsman_router *router;
 *     pointsman_router_new(NULL, 0, &router);
 *     pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
 *     spec.url = "http://10.0.0.7:8000";
 *     pointsman_worker_add(router, &spec, POINTSMAN_NOW, NULL);
 *
 *     pointsman_request request = POINTSMAN_REQUEST_INIT;
 *     request.prompt_kind = POINTSMAN_PROMPT_TEXT;
 *     request.prompt = text;
 *     request.prompt_length = text_length;
 *     pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
 *     if (pointsman_select(router, &request, &chosen) == POINTSMAN_OK) {
 *         ... send it to chosen.worker, and when the answer is complete ...
 *         pointsman_complete(router, chosen.ticket, NULL);
 *     }
 */
#ifndef POINTSMAN_H
#define POINTSMAN_H

#include <stddef.h>
#include <stdint.h>

/** The version of this header; pointsman_version_number is the library's. */
#define POINTSMAN_VERSION "0.1.0"
#define POINTSMAN_VERSION_MAJOR 0
#define POINTSMAN_VERSION_MINOR 1
#define POINTSMAN_VERSION_PATCH 0
#define POINTSMAN_VERSION_NUMBER \
    (POINTSMAN_VERSION_MAJOR * 65536u + POINTSMAN_VERSION_MINOR * 256u + POINTSMAN_VERSION_PATCH)

/** What to serve the text of pointsman_router_prometheus as. */
#define POINTSMAN_METRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/** The length that stands for "up to the terminating NUL" wherever text is passed. */
#define POINTSMAN_NUL_TERMINATED SIZE_MAX

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version --------------------------------------------------------------------------------- */

/**
 * The version of the binary interface that this header describes. A library with another number
 * must not be used with it.
 */
#define POINTSMAN_ABI_VERSION 1

/**
 * The library's version, such as "0.1.0". Static. Compare with POINTSMAN_VERSION, which is the
 * header's.
 */
const char *pointsman_version(void);

/**
 * The library's version as a number, as POINTSMAN_VERSION_NUMBER is the header's: 65,536 times
 * the major version plus 256 times the minor one plus the patch.
 */
uint32_t pointsman_version_number(void);

/** The library's POINTSMAN_ABI_VERSION: compare before using a library loaded at run time. */
uint32_t pointsman_abi_version(void);

/* ---- Special values -------------------------------------------------------------------------- */

/** The time that stands for "read the clock" wherever a time is passed. */
#define POINTSMAN_NOW 0

/** A number of 32 bits that is not known. */
#define POINTSMAN_UNKNOWN UINT32_MAX

/** A number of 64 bits that is not known. */
#define POINTSMAN_UNKNOWN64 UINT64_MAX

/** No index. */
#define POINTSMAN_NONE UINT32_MAX

/* ---- Errors ---------------------------------------------------------------------------------- */

/**
 * The result of a call: POINTSMAN_OK or one of the other POINTSMAN_ status codes.
 * The numbers never change meaning; later versions may add some.
 */
typedef int32_t pointsman_status;

/** Done. Only now are outputs written. */
#define POINTSMAN_OK 0

/**
 * An argument is NULL, too small, out of range, not UTF-8, or of no known meaning: a mistake in the
 * calling program.
 */
#define POINTSMAN_INVALID_ARGUMENT 1

/**
 * The configuration is refused: not JSON, an unknown field, a value out of range, an unknown policy.
 * The message has the position.
 */
#define POINTSMAN_INVALID_CONFIG 2

/**
 * No worker is eligible for the request: none registered, or all unhealthy, draining or ruled out; or a
 * policy of the host's own has refused them.
 */
#define POINTSMAN_NO_WORKER 3

/**
 * Every eligible worker is at its limit of requests in flight, or every two of a pair that may work
 * together; or the ticket table is full and they have limits, which a request without a ticket would
 * not count towards: queue the request or shed it.
 */
#define POINTSMAN_ALL_BUSY 4

/** Prefill and decode workers are eligible, but none that may work together. */
#define POINTSMAN_NO_PAIR 5

/** No such worker or ticket, now or any more. */
#define POINTSMAN_NOT_FOUND 6

/** The ticket is closed already: completed, expired, or its worker was removed. Harmless. */
#define POINTSMAN_ALREADY_CLOSED 7

/** The ticket's first token was reported already. Harmless. */
#define POINTSMAN_ALREADY_REPORTED 8

/** A worker with this URL, or a policy with this name, is registered already. */
#define POINTSMAN_ALREADY_EXISTS 9

/** A fixed limit is reached: workers, or replaced policies that still have requests in flight. */
#define POINTSMAN_LIMIT 10

/** A policy of the host's own failed, or chose no candidate. */
#define POINTSMAN_POLICY_FAILED 11

/** The request's body is not JSON. The message has the position. */
#define POINTSMAN_BAD_BODY 12

/** The fingerprint does not fit this router: format, key, block size or namespace. */
#define POINTSMAN_BAD_FINGERPRINT 13

/** The buffer is too small; the length needed has been written. */
#define POINTSMAN_BUFFER_TOO_SMALL 14

/** Called from inside a callback that must not call this. */
#define POINTSMAN_IN_CALLBACK 15

/** A bug in the library: a panic was caught. The router goes on working. */
#define POINTSMAN_INTERNAL 16

/** What an engine sent cannot be read. The message has the position. */
#define POINTSMAN_BAD_MESSAGE 17

/**
 * A few words for a status code; "unknown status" for a number that is none. Never NULL; static.
 */
const char *pointsman_status_string(pointsman_status status);

/**
 * The message of the last call on this thread that failed; empty if none did. Never NULL.
 *
 * Names the argument, field, worker or position that the status code cannot name. Calls that
 * succeed leave it alone. The text belongs to the thread and is valid until the next call that
 * fails on this thread; at most 1,023 bytes, UTF-8, NUL-terminated.
 */
const char *pointsman_last_error(void);

/**
 * Whether this thread is inside a callback of the library, of any router: 1, else 0. What may
 * be called there is said under "Callbacks" at the top of this header.
 */
uint32_t pointsman_in_callback(void);

/* ---- Router ---------------------------------------------------------------------------------- */

/**
 * A router: workers, policies, one prefix tree, tickets and counters.
 *
 * Threads: every function may be called from any number of threads at once, except
 * pointsman_router_free and pointsman_router_after_fork. The library has no threads, timers, sockets
 * or signal handlers of its own. pointsman_select, pointsman_select_pair, pointsman_first_token,
 * pointsman_progress and pointsman_complete take no lock that another thread could hold while it
 * works, and allocate nothing once they are warm: the first prompts of a length make room for their
 * hashes, at most 256 KiB for each of up to 32 threads that select at once.
 *
 * Fork: allowed while no other thread is inside a call. The child calls pointsman_router_after_fork
 * before it uses the router, and then has workers, policies and prefixes as they were, and no
 * requests in flight. Parent and child share nothing.
 *
 * Time: nanoseconds of any monotonic clock, the same one for all calls on a router. POINTSMAN_NOW
 * reads the router's own clock, which pointsman_router_now reads, too. Use one or the other for a
 * router, not both. As POINTSMAN_NOW is 0, a clock of the host's own must begin above 0.
 *
 * Lifetime: from pointsman_router_new or pointsman_builder_build to pointsman_router_free.
 */
typedef struct pointsman_router pointsman_router;

/**
 * Makes a router from a configuration document: JSON, with the fields that docs/configuration.md
 * lists. NULL or "{}" takes every default; an empty text and unknown fields are refused.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_INVALID_CONFIG, with a message that names line and
 * column where the document is not JSON of this shape, and the field where a value is out of range.
 */
pointsman_status pointsman_router_new(const char *config,
                                      size_t config_length,
                                      pointsman_router **router);

/**
 * Frees a router; NULL is allowed. No other call on it may be under way or follow. Open tickets
 * are forgotten. Inside a callback it does nothing.
 */
void pointsman_router_free(pointsman_router *router);

/**
 * Call this in a forked child before the router is used there: it draws new random seeds, and
 * forgets tickets and requests in flight. No other thread of the child may be inside a call.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_router_after_fork(pointsman_router *router);

/**
 * Does at once the maintenance that calls otherwise do in small pieces: closes expired tickets,
 * ends ejections and pauses. Never needed; helpful where requests are rare.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_router_tick(const pointsman_router *router, uint64_t now);

/** The router's own clock: nanoseconds since it was made; 0 if router is NULL. */
uint64_t pointsman_router_now(const pointsman_router *router);

/**
 * Switches the policy of every role while requests are under way. policy is the name of a policy
 * with its defaults ("random", "round_robin", "power_of_two", "cache_aware", and for the latter's
 * rules "least_work" and "threshold"; or one registered with the builder), or the JSON that stands
 * for a policy in the configuration: {"power_of_two": {"max_report_age_secs": 5}}, or
 * {"custom": {"name": "mine", "options": ...}} for one registered with the builder as mine. The
 * prefix tree keeps its contents; requests in flight complete at the policy that chose their
 * worker.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_INVALID_CONFIG, also if the policy's create
 * callback refuses the options; POINTSMAN_LIMIT; POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_router_set_policy(const pointsman_router *router,
                                             const char *policy,
                                             size_t policy_length);

/**
 * Copies the name of the policy that regular requests are chosen by, and a final NUL, into buffer.
 * length may be NULL; it gets the name's length without the NUL.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BUFFER_TOO_SMALL, where length is written
 * nevertheless; POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_router_policy(const pointsman_router *router,
                                         char *buffer,
                                         size_t capacity,
                                         size_t *length);

/**
 * As pointsman_router_set_policy, with separate policies for the prefill and the decode workers of
 * pairs; NULL leaves that role to policy.
 *
 * Errors: as pointsman_router_set_policy.
 */
pointsman_status pointsman_router_set_policies(const pointsman_router *router,
                                               const char *policy,
                                               size_t policy_length,
                                               const char *prefill,
                                               size_t prefill_length,
                                               const char *decode,
                                               size_t decode_length);

/**
 * Sends a share (0 to 1) of the requests to a second policy; policy NULL stops it. Requests with
 * a routing key stay with one of the two.
 *
 * Errors: as pointsman_router_set_policy.
 */
pointsman_status pointsman_router_set_split(const pointsman_router *router,
                                            const char *policy,
                                            size_t policy_length,
                                            double share);

/**
 * Runs a second policy beside the real one: its decisions are compared and counted, not followed.
 * NULL stops it. The Prometheus text says how the two differ.
 *
 * Errors: as pointsman_router_set_policy.
 */
pointsman_status pointsman_router_set_shadow(const pointsman_router *router,
                                             const char *policy,
                                             size_t policy_length);

/* ---- Workers --------------------------------------------------------------------------------- */

/** What a worker does: one of the POINTSMAN_ROLE_ constants. */
typedef uint32_t pointsman_role;

/** Serves whole requests. */
#define POINTSMAN_ROLE_REGULAR 0

/** Computes the prompt of a prefill/decode pair. */
#define POINTSMAN_ROLE_PREFILL 1

/** Generates the answer of a prefill/decode pair. */
#define POINTSMAN_ROLE_DECODE 2

/**
 * One label: of a worker, or demanded by a request. For example a model's name, a zone or a customer's
 * tier. A worker has any number of labels, a request at most POINTSMAN_MAX_REQUEST_LABELS, and only
 * workers with all of them may serve it. Metrics do not show labels. Elements of an array of labels lie
 * as far apart as the first one's size says.
 */
typedef struct pointsman_label {
    /** Set by POINTSMAN_LABEL_INIT. */
    uint32_t size;
    /** Must be 0. */
    uint32_t reserved;
    /** The key, UTF-8. */
    const char *key;
    /** Its length; POINTSMAN_NUL_TERMINATED by default. */
    size_t key_length;
    /** The value, UTF-8. */
    const char *value;
    /** Its length; POINTSMAN_NUL_TERMINATED by default. */
    size_t value_length;
} pointsman_label;

/** What a worker is, given once at registration. Everything is copied. */
typedef struct pointsman_worker_spec {
    /** Set by POINTSMAN_WORKER_SPEC_INIT. */
    uint32_t size;
    /** What it does; POINTSMAN_ROLE_REGULAR by default. */
    pointsman_role role;
    /** Identifies the worker, UTF-8. Any text that the host likes; no two workers have the same. */
    const char *url;
    /** Its length; POINTSMAN_NUL_TERMINATED by default. */
    size_t url_length;
    /** Pairs are formed within a group only; a worker without one pairs with any. NULL: none. */
    const char *group;
    /** Its length; POINTSMAN_NUL_TERMINATED by default. */
    size_t group_length;
    /** Share of the work in relation to the others': from 0.000001 to 1,000,000; 1 by default. */
    double weight;
    /** Tokens that fit into its KV cache, at least 1; POINTSMAN_UNKNOWN64 by default. */
    uint64_t kv_capacity_tokens;
    /** Returned with every selection of this worker. */
    uint64_t user_data;
    /** What requests can ask for; NULL: none. */
    const pointsman_label *labels;
    /** How many. */
    uint32_t label_count;
    /** Requests that it may hold at once; 0: no limit. */
    uint32_t max_in_flight;
} pointsman_worker_spec;

/**
 * What is to change about a worker. A field that is left as INIT sets it leaves its part as it is.
 * Everything is copied.
 */
typedef struct pointsman_worker_change {
    /** Set by POINTSMAN_WORKER_CHANGE_INIT. */
    uint32_t size;
    /** Requests that it may hold at once; 0: no limit; POINTSMAN_UNKNOWN: as it is. */
    uint32_t max_in_flight;
    /** Its URL, which no other worker has. NULL: as it is. */
    const char *url;
    /** Its length; POINTSMAN_NUL_TERMINATED by default. */
    size_t url_length;
    /** Its group; an empty text: none. NULL: as it is. */
    const char *group;
    /** Its length; POINTSMAN_NUL_TERMINATED by default. */
    size_t group_length;
    /** Its weight: from 0.000001 to 1,000,000. 0: as it is. */
    double weight;
    /** Tokens that fit into its KV cache; POINTSMAN_UNKNOWN64: not known. 0: as it is. */
    uint64_t kv_capacity_tokens;
    /** All of its labels. NULL: as they are; not NULL with a count of 0: none. */
    const pointsman_label *labels;
    /** How many. */
    uint32_t label_count;
    /** Must be 0. */
    uint32_t reserved;
} pointsman_worker_change;

/** What the host says about a worker's health: one of the POINTSMAN_HEALTH_ constants. */
typedef uint32_t pointsman_health;

/** Not known to the host: the outcomes of requests decide. */
#define POINTSMAN_HEALTH_UNKNOWN 0

/** The host says that it is healthy: it takes requests whatever their outcomes. */
#define POINTSMAN_HEALTH_HEALTHY 1

/** The host says that it is unhealthy: it takes no requests. */
#define POINTSMAN_HEALTH_UNHEALTHY 2

/** A worker's report of its own load. */
typedef struct pointsman_load {
    /** Set by POINTSMAN_LOAD_INIT. */
    uint32_t size;
    /** Requests that it is running. */
    uint32_t running;
    /** Requests in its queue. */
    uint32_t waiting;
    /** Must be 0. */
    uint32_t reserved;
    /** KV cache tokens in use; POINTSMAN_UNKNOWN64 by default. */
    uint64_t kv_used_tokens;
    /** KV cache tokens in all; POINTSMAN_UNKNOWN64 by default. */
    uint64_t kv_total_tokens;
    /** When this was so; POINTSMAN_NOW by default. */
    uint64_t at;
} pointsman_load;

/**
 * Registers a worker, which takes requests from here on. worker may be NULL; it gets the
 * worker's id, which is never 0 and never reused.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_ALREADY_EXISTS (the URL), POINTSMAN_LIMIT,
 * POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_worker_add(const pointsman_router *router,
                                      const pointsman_worker_spec *spec,
                                      uint64_t now,
                                      uint64_t *worker);

/**
 * Removes a worker at once: its open tickets are closed, its prefixes forgotten. To let its
 * requests end first, drain it.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_worker_remove(const pointsman_router *router,
                                         uint64_t worker,
                                         uint64_t now);

/**
 * Changes what a worker was registered as, all of it or, with an error, nothing. The worker keeps its
 * id, its slot, its prefixes, its requests in flight and its health. Where its KV capacity shrinks,
 * what was sent there longest ago counts as forgotten. Policies of the host's own get
 * POINTSMAN_EVENT_WORKER_CHANGED.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_ALREADY_EXISTS (the URL),
 * POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_worker_update(const pointsman_router *router,
                                         uint64_t worker,
                                         const pointsman_worker_change *change);

/**
 * Stops sending new requests to a worker; those in flight go on.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_worker_drain(const pointsman_router *router, uint64_t worker);

/**
 * Sends new requests to a drained worker again.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_worker_resume(const pointsman_router *router, uint64_t worker);

/**
 * Changes a worker's weight: from 0.000001 to 1,000,000.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT (0 is not allowed: drain it), POINTSMAN_NOT_FOUND,
 * POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_worker_set_weight(const pointsman_router *router,
                                             uint64_t worker,
                                             double weight);

/**
 * Changes how many requests a worker may hold at once; 0 lifts the limit.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_worker_set_max_in_flight(const pointsman_router *router,
                                                    uint64_t worker,
                                                    uint32_t max_in_flight);

/**
 * Sets a worker's health, as the host knows it.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_worker_set_health(const pointsman_router *router,
                                             uint64_t worker,
                                             pointsman_health health);

/**
 * Stores a worker's report of its load, for policies that use it.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_worker_report_load(const pointsman_router *router,
                                              uint64_t worker,
                                              const pointsman_load *load);

#define POINTSMAN_LABEL_INIT \
    {sizeof(pointsman_label), 0, NULL, POINTSMAN_NUL_TERMINATED, NULL, \
     POINTSMAN_NUL_TERMINATED}

#define POINTSMAN_WORKER_SPEC_INIT \
    {sizeof(pointsman_worker_spec), 0, NULL, POINTSMAN_NUL_TERMINATED, NULL, \
     POINTSMAN_NUL_TERMINATED, 1.0, POINTSMAN_UNKNOWN64, 0, NULL, 0, 0}

#define POINTSMAN_WORKER_CHANGE_INIT \
    {sizeof(pointsman_worker_change), POINTSMAN_UNKNOWN, NULL, POINTSMAN_NUL_TERMINATED, \
     NULL, POINTSMAN_NUL_TERMINATED, 0.0, 0, NULL, 0, 0}

#define POINTSMAN_LOAD_INIT \
    {sizeof(pointsman_load), 0, 0, 0, POINTSMAN_UNKNOWN64, POINTSMAN_UNKNOWN64, 0}

/* ---- Workers, looked up ---------------------------------------------------------------------- */

/** A worker's state and counters. */
typedef struct pointsman_worker_info {
    /** Set by POINTSMAN_WORKER_INFO_INIT. */
    uint32_t size;
    /** What it does. */
    pointsman_role role;
    /** Its id. */
    uint64_t worker;
    /** The host's own number. */
    uint64_t user_data;
    /** The weight as configured. */
    double weight;
    /** The weight in force: lowered during slow start or overload. */
    double effective_weight;
    /** 1 if its health lets it take new work, else 0. */
    uint32_t healthy;
    /** 1 if it gets one request at a time, to see if it has recovered; else 0. */
    uint32_t on_probation;
    /** 1 if it is draining, else 0. */
    uint32_t draining;
    /** Its slot. */
    uint32_t slot;
    /** Requests in flight. */
    uint64_t in_flight;
    /** Requests ever sent to it. */
    uint64_t selections;
    /** KV tokens that its requests in flight are expected to hold at their end. */
    uint64_t resident_tokens;
    /** Cached tokens predicted, over the requests whose usage was reported. */
    uint64_t predicted_cached_tokens;
    /** Cached tokens that it reported for those requests. */
    uint64_t reported_cached_tokens;
    /** Requests that ended with POINTSMAN_OUTCOME_CLIENT_CANCELLED. */
    uint64_t client_cancelled;
    /** Requests that ended with POINTSMAN_OUTCOME_CLIENT_ERROR. */
    uint64_t client_error;
    /** Requests that ended with POINTSMAN_OUTCOME_WORKER_ERROR. */
    uint64_t worker_error;
    /** Requests that ended with POINTSMAN_OUTCOME_TIMEOUT. */
    uint64_t timeout;
    /** Requests that ended with POINTSMAN_OUTCOME_OVERLOADED. */
    uint64_t overloaded;
    /** Requests that were not completed in time. */
    uint64_t expired;
    /** Requests that it may hold at once; 0: no limit. */
    uint32_t max_in_flight;
    /** 0. */
    uint32_t reserved;
} pointsman_worker_info;

/**
 * Finds the worker registered with a URL.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_worker_find(const pointsman_router *router,
                                       const char *url,
                                       size_t url_length,
                                       uint64_t *worker);

/**
 * Copies a worker's URL and a final NUL into buffer. length may be NULL; it gets the URL's
 * length without the NUL. Neither locks nor allocates.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_NOT_FOUND; POINTSMAN_BUFFER_TOO_SMALL, where
 * length is written nevertheless.
 */
pointsman_status pointsman_worker_url(const pointsman_router *router,
                                      uint64_t worker,
                                      char *buffer,
                                      size_t capacity,
                                      size_t *length);

/**
 * Reads a worker's slot, below 1,024: what pointsman_request's allowed_words counts, until the
 * worker is removed. O(1); neither locks nor allocates.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND.
 */
pointsman_status pointsman_worker_slot(const pointsman_router *router,
                                       uint64_t worker,
                                       uint32_t *slot);

/**
 * Describes a worker. O(workers), allocates: for listings, not for requests.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_worker_describe(const pointsman_router *router,
                                           uint64_t worker,
                                           uint64_t now,
                                           pointsman_worker_info *info);

/**
 * Lists the ids of all workers, in the order of their slots. capacity and count are numbers of ids;
 * count gets how many there are. O(workers), allocates.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BUFFER_TOO_SMALL, where count is written
 * nevertheless; POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_workers(const pointsman_router *router,
                                   uint64_t *workers,
                                   size_t capacity,
                                   size_t *count);

/**
 * Describes all workers, in the order of their slots, as of one moment. infos is an array of capacity
 * elements; the first one's size, set by POINTSMAN_WORKER_INFO_INIT, says how far they lie apart, the
 * others need none. capacity and count are numbers of elements; count gets how many workers there
 * are. infos may be NULL with a capacity of 0, to ask for the count. URLs are read by
 * pointsman_worker_url. O(workers), allocates.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BUFFER_TOO_SMALL, where count is written
 * nevertheless; POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_workers_describe(const pointsman_router *router,
                                            uint64_t now,
                                            pointsman_worker_info *infos,
                                            size_t capacity,
                                            size_t *count);

#define POINTSMAN_WORKER_INFO_INIT \
    {sizeof(pointsman_worker_info), 0, 0, 0, 0.0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
     0, 0, 0, 0, 0}

/* ---- Request --------------------------------------------------------------------------------- */

/** Labels that one request may demand. */
#define POINTSMAN_MAX_REQUEST_LABELS 16

/** What a request's prompt points to: one of the POINTSMAN_PROMPT_ constants. */
typedef uint32_t pointsman_prompt_kind;

/** There is no prompt, or none that can be read. */
#define POINTSMAN_PROMPT_NONE 0

/** prompt points to text, or any bytes: all of the prompt, as the engine will see it. */
#define POINTSMAN_PROMPT_TEXT 1

/** prompt points to token ids, uint32_t; prompt_length counts tokens. */
#define POINTSMAN_PROMPT_TOKENS 2

/**
 * prompt points to a pointsman_fingerprint of this router or one with the same key; prompt_length
 * is ignored.
 */
#define POINTSMAN_PROMPT_FINGERPRINT 3

/**
 * prompt points to a JSON request body as it came from the client: OpenAI chat, completions and
 * responses, SGLang generate. Its model, lora_path, cache_salt and extra_key form the namespace
 * unless cache_namespace is set; its token limit counts as expected_output_tokens unless that is set.
 * Read only by policies that want prefixes.
 */
#define POINTSMAN_PROMPT_JSON 4

/**
 * One request to be routed: lives on the caller's stack and borrows all that it points to until the
 * call returns. Nothing is copied.
 */
typedef struct pointsman_request {
    /** Set by POINTSMAN_REQUEST_INIT. */
    uint32_t size;
    /** What prompt points to. */
    pointsman_prompt_kind prompt_kind;
    /** The prompt, in that form. */
    const void *prompt;
    /** Its length, in bytes or tokens. */
    size_t prompt_length;
    /**
     * Requests share prefixes within a namespace only: model, LoRA and cache salt, as the host
     * spells them, UTF-8. NULL: none.
     */
    const char *cache_namespace;
    /** Its length; POINTSMAN_NUL_TERMINATED by default. */
    size_t cache_namespace_length;
    /**
     * What the request belongs to, for example a session, as any bytes: where no prefix says
     * otherwise, cache-aware policies send equal keys to the same worker. NULL: none.
     */
    const void *routing_key;
    /** Its length; POINTSMAN_NUL_TERMINATED by default. */
    size_t routing_key_length;
    /**
     * Ids of workers that must not be chosen, for example those that failed before a retry. Those that
     * are not registered rule nothing out.
     */
    const uint64_t *excluded;
    /** How many. */
    size_t excluded_count;
    /**
     * Ids of the only workers that may be chosen; NULL: all. Not NULL with a count of 0: none. Those that
     * are not registered admit nothing.
     */
    const uint64_t *allowed;
    /** How many. */
    size_t allowed_count;
    /**
     * Slots of the only workers that may be chosen, as bits: slot s is bit s % 64 of word s / 64.
     * NULL: all. With allowed, only workers in both may be chosen.
     */
    const uint64_t *allowed_words;
    /** How many words; missing ones are 0. */
    size_t allowed_words_count;
    /** Labels that the worker must carry, all of them, at most POINTSMAN_MAX_REQUEST_LABELS. */
    const pointsman_label *labels;
    /** How many. */
    size_t label_count;
    /** Tokens that the answer is expected to have; POINTSMAN_UNKNOWN by default. */
    uint32_t expected_output_tokens;
    /** Must be 0. */
    uint32_t reserved;
    /** The time of the request; POINTSMAN_NOW by default. */
    uint64_t now;
} pointsman_request;

#define POINTSMAN_REQUEST_INIT \
    {sizeof(pointsman_request), 0, NULL, 0, NULL, POINTSMAN_NUL_TERMINATED, NULL, \
     POINTSMAN_NUL_TERMINATED, NULL, 0, NULL, 0, NULL, 0, NULL, 0, POINTSMAN_UNKNOWN, 0, 0}

/* ---- Selection ------------------------------------------------------------------------------- */

/** Why a worker was chosen: one of the POINTSMAN_REASON_ constants. */
typedef uint32_t pointsman_reason;

/** A random draw. */
#define POINTSMAN_REASON_RANDOM 0

/** Its turn. */
#define POINTSMAN_REASON_ROUND_ROBIN 1

/** The less loaded of two random candidates. */
#define POINTSMAN_REASON_POWER_OF_TWO 2

/** It holds the longest part of the prompt. */
#define POINTSMAN_REASON_PREFIX_MATCH 3

/** Least loaded, as no worker holds enough of the prompt. */
#define POINTSMAN_REASON_LEAST_LOADED 4

/** Least loaded, as the loads are out of balance. */
#define POINTSMAN_REASON_IMBALANCED 5

/** Least work to wait for and to cause. */
#define POINTSMAN_REASON_LEAST_WORK 6

/** The rendezvous worker of the routing key. */
#define POINTSMAN_REASON_ROUTING_KEY 7

/** The only candidate. */
#define POINTSMAN_REASON_ONLY_CANDIDATE 8

/** Least resident KV tokens, for decode. */
#define POINTSMAN_REASON_LEAST_RESIDENT 9

/** A reason of the host's own policy. */
#define POINTSMAN_REASON_CUSTOM 10

/**
 * The chosen worker, why it was chosen, and the ticket: the duty to call pointsman_complete once.
 */
typedef struct pointsman_selection {
    /** Set by POINTSMAN_SELECTION_INIT. */
    uint32_t size;
    /** Why it was chosen. */
    pointsman_reason reason;
    /**
     * The ticket; 0 if the table was full: the request is not tracked, so its worker is one without a
     * limit of requests in flight, and completing it is harmless.
     */
    uint64_t ticket;
    /** The worker's id. */
    uint64_t worker;
    /** The host's own number, given at registration. */
    uint64_t user_data;
    /** The best of those not chosen, where the policy compared; else 0. */
    uint64_t runner_up;
    /** What the policy minimised, in its own unit; 0 where it compared nothing. */
    double score;
    /** The same for the runner-up. */
    double runner_up_score;
    /** Leading tokens of the prompt that the worker is believed to hold. */
    uint32_t matched_tokens;
    /**
     * Tokens of the prompt, estimated where only bytes are known; 0 where the prompt was not read.
     */
    uint32_t total_tokens;
} pointsman_selection;

/** A reason's name, as in metrics; "unknown" for a number that is none. Never NULL; static. */
const char *pointsman_reason_string(pointsman_reason reason);

/**
 * Writes a selection as one line of JSON and a final NUL into buffer: the record of the
 * decision, for the host's log. length may be NULL; it gets the length without the NUL. router
 * may be NULL; the URLs are left out then.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BUFFER_TOO_SMALL, where length is written
 * nevertheless.
 */
pointsman_status pointsman_selection_print(const pointsman_router *router,
                                           const pointsman_selection *selection,
                                           char *buffer,
                                           size_t capacity,
                                           size_t *length);

#define POINTSMAN_SELECTION_INIT \
    {sizeof(pointsman_selection), 0, 0, 0, 0, 0, 0.0, 0.0, 0, 0}

/* ---- Outcome --------------------------------------------------------------------------------- */

/** How a request ended: one of the POINTSMAN_OUTCOME_ constants. */
typedef uint32_t pointsman_outcome;

/** The worker answered in full. */
#define POINTSMAN_OUTCOME_SUCCESS 0

/** The client went away. */
#define POINTSMAN_OUTCOME_CLIENT_CANCELLED 1

/** The request was the client's fault (4xx). */
#define POINTSMAN_OUTCOME_CLIENT_ERROR 2

/**
 * The worker failed: refused or broke the connection, or answered 5xx. Counts against its health.
 */
#define POINTSMAN_OUTCOME_WORKER_ERROR 3

/** The worker did not answer in time. Counts against its health. */
#define POINTSMAN_OUTCOME_TIMEOUT 4

/** The worker asked for a pause (429, 503): its weight is lowered for retry_after nanoseconds. */
#define POINTSMAN_OUTCOME_OVERLOADED 5

/** The ticket was not completed in time. Reported only by the library. */
#define POINTSMAN_OUTCOME_EXPIRED 6

/** How a request ended. */
typedef struct pointsman_completion {
    /** Set by POINTSMAN_COMPLETION_INIT. */
    uint32_t size;
    /** How; POINTSMAN_OUTCOME_SUCCESS by default. */
    pointsman_outcome outcome;
    /** Nanoseconds until an overloaded worker takes its full share again. */
    uint64_t retry_after;
    /**
     * Tokens of the prompt as the worker reports them, the cached ones among them, as OpenAI's APIs count;
     * for Anthropic's Messages see pointsman_usage_excluding_cached. Where cached_tokens is above it,
     * nothing is learned from any of the counts. POINTSMAN_UNKNOWN by default.
     */
    uint32_t prompt_tokens;
    /** Of these, found in its cache; POINTSMAN_UNKNOWN by default. */
    uint32_t cached_tokens;
    /** Tokens generated; POINTSMAN_UNKNOWN by default. */
    uint32_t completion_tokens;
    /**
     * The worker of a pair that the outcome is about: POINTSMAN_ROLE_PREFILL or POINTSMAN_ROLE_DECODE; by
     * default (POINTSMAN_ROLE_REGULAR) the prefill worker until the first token, then the decode worker.
     */
    pointsman_role failed_role;
    /** When it ended; POINTSMAN_NOW by default. */
    uint64_t now;
} pointsman_completion;

/** An outcome's name, as in metrics; "unknown" for a number that is none. Never NULL; static. */
const char *pointsman_outcome_string(pointsman_outcome outcome);

/**
 * Sets a completion's outcome and retry_after to what the status of an HTTP response says about
 * the worker, for a response that came to its end; the completion's other fields stay.
 * retry_after: the nanoseconds that its Retry-After header asks for, 0 if it has none.
 *
 * 429, and 503 with a retry_after, are POINTSMAN_OUTCOME_OVERLOADED, for 1 second where no length is
 * given and 300 seconds at most; 504 is POINTSMAN_OUTCOME_TIMEOUT; other 5xx are
 * POINTSMAN_OUTCOME_WORKER_ERROR, other 4xx POINTSMAN_OUTCOME_CLIENT_ERROR, and all else is
 * POINTSMAN_OUTCOME_SUCCESS. A response that never came or broke off has no status that counts:
 * report POINTSMAN_OUTCOME_WORKER_ERROR.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, also if http_status is not between 100 and 599.
 */
pointsman_status pointsman_outcome_of_http_status(uint32_t http_status,
                                                  uint64_t retry_after,
                                                  pointsman_completion *completion);

/**
 * Sets a completion's token counts to what an API reports whose input tokens exclude those that were
 * read from the cache or written into it, such as Anthropic's Messages (input_tokens,
 * cache_read_input_tokens, cache_creation_input_tokens, output_tokens); each may be
 * POINTSMAN_UNKNOWN. The completion's other fields stay.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT.
 */
pointsman_status pointsman_usage_excluding_cached(uint32_t input_tokens,
                                                  uint32_t cache_read_tokens,
                                                  uint32_t cache_creation_tokens,
                                                  uint32_t output_tokens,
                                                  pointsman_completion *completion);

#define POINTSMAN_COMPLETION_INIT \
    {sizeof(pointsman_completion), 0, 0, POINTSMAN_UNKNOWN, POINTSMAN_UNKNOWN, \
     POINTSMAN_UNKNOWN, 0, 0}

/* ---- Routing --------------------------------------------------------------------------------- */

/**
 * Names the worker for a request and charges it. O(1) for policies that do not read the prompt;
 * else each byte of the prompt is read once. Uses less than 64 KiB of stack, whatever the prompt's
 * length: 24 KiB, or 56 where a policy of the host's own chooses among more than 128 workers.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NO_WORKER, POINTSMAN_ALL_BUSY, POINTSMAN_BAD_BODY,
 * POINTSMAN_BAD_FINGERPRINT, POINTSMAN_POLICY_FAILED; POINTSMAN_IN_CALLBACK where a callback asks
 * and a policy of the host's own would have to choose. Nothing is charged then.
 */
pointsman_status pointsman_select(const pointsman_router *router,
                                  const pointsman_request *request,
                                  pointsman_selection *selection);

/**
 * Names a prefill and a decode worker for a request, as one decision under one ticket, which
 * both selections carry.
 *
 * Errors: as pointsman_select, and POINTSMAN_NO_PAIR.
 */
pointsman_status pointsman_select_pair(const pointsman_router *router,
                                       const pointsman_request *request,
                                       pointsman_selection *prefill,
                                       pointsman_selection *decode);

/**
 * The prompt is computed; cached_tokens of it came from the worker's cache (POINTSMAN_UNKNOWN if
 * it does not say). A pair's prefill worker gets its load back. Optional for single workers.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_ALREADY_CLOSED,
 * POINTSMAN_ALREADY_REPORTED.
 */
pointsman_status pointsman_first_token(const pointsman_router *router,
                                       uint64_t ticket,
                                       uint32_t cached_tokens,
                                       uint64_t now);

/**
 * The longest match that any candidate for the prompt of an open request had: worker gets its id, 0 where
 * the prompt was not read, no candidate held any of it, or the request is over or not tracked; tokens,
 * which may be NULL, the leading tokens that it is believed to hold. It is the chosen worker where none had
 * more; else from there the prompt's KV could be fetched. O(1).
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT.
 */
pointsman_status pointsman_best_match(const pointsman_router *router,
                                      uint64_t ticket,
                                      uint64_t *worker,
                                      uint32_t *tokens);

/**
 * The request is alive: its deadline starts anew. Only needed by requests that may run longer
 * than the deadline, one hour by default.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_ALREADY_CLOSED.
 */
pointsman_status pointsman_progress(const pointsman_router *router, uint64_t ticket, uint64_t now);

/**
 * The request is over: its load is given back. completion NULL is a success of which nothing
 * else is known. To be called once for each ticket; a second or late call is an error that harms
 * nothing, and ticket 0 is no error.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_ALREADY_CLOSED.
 */
pointsman_status pointsman_complete(const pointsman_router *router,
                                    uint64_t ticket,
                                    const pointsman_completion *completion);

/* ---- Fingerprints ---------------------------------------------------------------------------- */

/** What a prompt's length is counted in: one of the POINTSMAN_UNIT_ constants. */
typedef uint32_t pointsman_unit;

/** Lengths are counted in bytes of text. */
#define POINTSMAN_UNIT_TEXT 0

/** Lengths are counted in tokens. */
#define POINTSMAN_UNIT_TOKENS 1

/**
 * A prompt's fingerprint: a small header, and the hashes of its leading blocks, which it borrows.
 * Copy it freely while the hashes are alive; pointsman_fingerprint_encode makes bytes of it that can
 * be stored or sent.
 */
typedef struct pointsman_fingerprint {
    /** Set by POINTSMAN_FINGERPRINT_INIT. */
    uint32_t size;
    /** Format version. */
    uint32_t version;
    /** What total is counted in. */
    pointsman_unit unit;
    /** Bytes per block. */
    uint32_t block_bytes;
    /** Check value of the key that it was made with. */
    uint32_t key_id;
    /** Number of hashes. */
    uint32_t hash_count;
    /** Check value of the namespace; 0 where there is none. */
    uint64_t cache_namespace;
    /** Length of the whole prompt in bytes or tokens, whether hashed or not. */
    uint64_t total;
    /** The hashes. */
    const uint64_t *hashes;
    /**
     * Whether the user speaks after an agent's loop, and what engines hold then, which routers learn by; 0
     * says that it is not known.
     */
    uint32_t turn;
    /** Must be 0. */
    uint32_t reserved;
} pointsman_fingerprint;

/**
 * Writes a fingerprint as bytes: 32 of header and 8 for each hash, the same on every machine.
 * length may be NULL; it gets the number of bytes.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BAD_FINGERPRINT; POINTSMAN_BUFFER_TOO_SMALL,
 * where length is written nevertheless.
 */
pointsman_status pointsman_fingerprint_encode(const pointsman_fingerprint *fingerprint,
                                              void *buffer,
                                              size_t capacity,
                                              size_t *length);

/**
 * Reads a fingerprint from bytes. Its hashes go to hashes, as many as capacity has room for.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_BAD_FINGERPRINT.
 */
pointsman_status pointsman_fingerprint_decode(const void *bytes,
                                              size_t length,
                                              uint64_t *hashes,
                                              size_t capacity,
                                              pointsman_fingerprint *fingerprint);

#define POINTSMAN_FINGERPRINT_INIT \
    {sizeof(pointsman_fingerprint), 0, 0, 0, 0, 0, 0, 0, NULL, 0, 0}

/* ---- Prompts made into fingerprints ---------------------------------------------------------- */

/**
 * Fingerprints a prompt that arrives in pieces. Used by one thread at a time, for one prompt after
 * another.
 *
 * Lifetime: from pointsman_fingerprinter_new to pointsman_fingerprinter_free; keeps what it needs of
 * the router alive, so the order of freeing does not matter.
 */
typedef struct pointsman_fingerprinter pointsman_fingerprinter;

/**
 * What kind of request a JSON body is: one of the POINTSMAN_BODY_ constants, given by the field that
 * holds the prompt.
 */
typedef uint32_t pointsman_body_kind;

/** No field holds a prompt, or several do. */
#define POINTSMAN_BODY_NONE 0

/** `messages`. */
#define POINTSMAN_BODY_CHAT 1

/** `prompt`. */
#define POINTSMAN_BODY_COMPLETION 2

/** `input`. */
#define POINTSMAN_BODY_RESPONSES 3

/** `text` or `input_ids`. */
#define POINTSMAN_BODY_GENERATE 4

/** What a JSON body says besides its prompt. */
typedef struct pointsman_body {
    /** Set by POINTSMAN_BODY_INIT. */
    uint32_t size;
    /** What kind of request it is. */
    pointsman_body_kind kind;
    /** 1 if the answer is to be streamed, else 0. */
    uint32_t stream;
    /**
     * Most tokens to be generated for all answers together; POINTSMAN_UNKNOWN if the body does not say.
     */
    uint32_t max_tokens;
    /** 1 if a prompt was found that can be read, else 0: the fingerprint is empty then. */
    uint32_t has_prompt;
    /** 0. */
    uint32_t reserved;
} pointsman_body;

/**
 * Fingerprints a request's prompt into hashes, as many blocks as capacity has room for: 4,096
 * cover 512 KiB of text with the default block size. The result borrows hashes, which may be
 * overwritten in any case. A request with POINTSMAN_PROMPT_FINGERPRINT then routes like this one.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_BAD_FINGERPRINT, POINTSMAN_BAD_BODY.
 */
pointsman_status pointsman_fingerprint_request(const pointsman_router *router,
                                               const pointsman_request *request,
                                               uint64_t *hashes,
                                               size_t capacity,
                                               pointsman_fingerprint *fingerprint);

/**
 * Makes a fingerprinter with room for capacity hashes of 8 bytes each, at most 16,777,216: one for
 * each block of a prompt, of which tree.block_bytes bytes of text (128 by default), or a quarter as
 * many tokens, make one. Of a longer prompt the rest is counted and not hashed; with a capacity of 0
 * only its length is known.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT.
 */
pointsman_status pointsman_fingerprinter_new(const pointsman_router *router,
                                             size_t capacity,
                                             pointsman_fingerprinter **fingerprinter);

/** Frees a fingerprinter and its last result; NULL is allowed. */
void pointsman_fingerprinter_free(pointsman_fingerprinter *fingerprinter);

/**
 * Begins a prompt: POINTSMAN_PROMPT_TEXT, POINTSMAN_PROMPT_TOKENS or POINTSMAN_PROMPT_JSON, in
 * this namespace (NULL: none, or the one that the JSON body forms). Forgets a prompt that was
 * begun before and not finished. The result of the last one becomes invalid.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT.
 */
pointsman_status pointsman_fingerprinter_begin(pointsman_fingerprinter *fingerprinter,
                                               pointsman_prompt_kind prompt_kind,
                                               const char *cache_namespace,
                                               size_t cache_namespace_length);

/**
 * Adds the next piece: bytes, or tokens (uint32_t, length counts tokens), as begun. How the
 * prompt is cut makes no difference.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, also if no prompt is begun; POINTSMAN_BAD_BODY, now and until
 * the next begin.
 */
pointsman_status pointsman_fingerprinter_push(pointsman_fingerprinter *fingerprinter,
                                              const void *piece,
                                              size_t length);

/**
 * Ends the prompt. The result borrows the fingerprinter's memory until the next begin.
 *
 * A body without a prompt that can be read has a fingerprint without hashes, which is routed like
 * POINTSMAN_PROMPT_NONE.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, also if no prompt is begun; POINTSMAN_BAD_BODY.
 */
pointsman_status pointsman_fingerprinter_finish(pointsman_fingerprinter *fingerprinter,
                                                pointsman_fingerprint *fingerprint);

/**
 * Reads what the JSON body that was finished last says besides its prompt.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_NOT_FOUND if the last prompt was no JSON body or
 * is not finished.
 */
pointsman_status pointsman_fingerprinter_body(const pointsman_fingerprinter *fingerprinter,
                                              pointsman_body *body);

#define POINTSMAN_BODY_INIT \
    {sizeof(pointsman_body), 0, 0, POINTSMAN_UNKNOWN, 0, 0}

/* ---- What engines say ------------------------------------------------------------------------ */

/**
 * Hears one worker's engine: decodes what it says about its cache and its load. Has no socket: the host
 * fetches the bytes. Used by one thread at a time.
 *
 * Lifetime: from pointsman_engine_new to pointsman_engine_free. It does not belong to a router.
 */
typedef struct pointsman_engine pointsman_engine;

/** Which of an engine's sockets a message came from: one of the POINTSMAN_SOURCE_ constants. */
typedef uint32_t pointsman_source;

/** The one that it publishes on. */
#define POINTSMAN_SOURCE_LIVE 0

/** The one that answers what is asked for again. */
#define POINTSMAN_SOURCE_REPLAY 1

/** What an event says: one of the POINTSMAN_KV_ constants. */
typedef uint32_t pointsman_kv_kind;

/** Blocks are cached from now on. */
#define POINTSMAN_KV_STORED 0

/** One copy of each of these blocks is cached no more. */
#define POINTSMAN_KV_REMOVED 1

/** Nothing is cached any more by this rank. */
#define POINTSMAN_KV_CLEARED 2

/** The messages from gap_from up to, but not with, gap_to are missing. */
#define POINTSMAN_KV_GAP 3

/** The rank's engine is another process than before: nothing that it has said holds. */
#define POINTSMAN_KV_RESTARTED 4

/**
 * What a block lies in: one of the POINTSMAN_MEDIUM_ constants, or, for a name that this library does
 * not know, a number above them that is made of the name.
 */
typedef uint32_t pointsman_medium;

/** The accelerator's memory. */
#define POINTSMAN_MEDIUM_DEVICE 0

/** The host's memory. */
#define POINTSMAN_MEDIUM_HOST 1

/** A disk. */
#define POINTSMAN_MEDIUM_DISK 2

/** A store that several workers share. */
#define POINTSMAN_MEDIUM_SHARED 3

/** How the layers of a cache group attend: one of the POINTSMAN_ATTENTION_ constants. */
typedef uint32_t pointsman_attention;

/** The engine does not say: it has one group, whose blocks describe prefixes. */
#define POINTSMAN_ATTENTION_UNKNOWN 0

/** To all tokens: the group's blocks describe prefixes. */
#define POINTSMAN_ATTENTION_FULL 1

/** Otherwise: the group's blocks describe no prefixes. */
#define POINTSMAN_ATTENTION_PARTIAL 2

/**
 * One thing that an engine says about its KV cache. Belongs to the library and is valid during the call,
 * with all that it points to. Fields that its kind does not have are 0 or NULL.
 */
typedef struct pointsman_kv_event {
    /** sizeof this struct in the library. */
    uint32_t size;
    /** What it says. */
    pointsman_kv_kind kind;
    /** The data-parallel rank. */
    uint32_t rank;
    /**
     * What the blocks lie in. An engine counts copies by rank, medium, group and hash: a block that was
     * stored twice is cached until it has been removed twice.
     */
    pointsman_medium medium;
    /** The cache group of a model whose layers cache differently, else 0. */
    uint32_t group;
    /** 1 if the blocks lie outside of the worker, else 0. */
    uint32_t is_remote;
    /** How the group's layers attend. */
    pointsman_attention attention;
    /** Tokens of the group's window; POINTSMAN_UNKNOWN if it has none. */
    uint32_t window;
    /** Tokens in a block; 0 if the engine does not say. */
    uint32_t block_size;
    /**
     * 1 if parent is the hash of the block that the first one continues, 0 at a prompt's beginning.
     */
    uint32_t has_parent;
    /** 1 if more than its tokens makes a block what it is: an image, an adapter, a salt; else 0. */
    uint32_t has_extra_keys;
    /**
     * 1 if the engine caches pairs of neighbouring tokens, of which tokens has the first ones; else 0.
     */
    uint32_t has_pairs;
    /** See has_parent. */
    uint64_t parent;
    /** The blocks' hashes, in the order of the blocks: the low 64 bits of the engine's. */
    const uint64_t *hashes;
    /** How many. */
    size_t hash_count;
    /**
     * The blocks' tokens. Whose they are is only known where there are block_size for each hash.
     */
    const uint32_t *tokens;
    /** How many; 0 if the engine does not tell them. */
    size_t token_count;
    /** The name of the LoRA adapter, not terminated; NULL if there is none. */
    const char *lora_name;
    /** Its length. */
    size_t lora_name_length;
    /** What keeps this content apart from others', not terminated; NULL if it is not told. */
    const char *cache_salt;
    /** Its length. */
    size_t cache_salt_length;
    /** The conversation, where clients name it, not terminated; else NULL. */
    const char *session_id;
    /** Its length. */
    size_t session_id_length;
    /** The first message that is missing. */
    uint64_t gap_from;
    /** The first message after those. */
    uint64_t gap_to;
} pointsman_kv_event;

/**
 * Receives events, on the thread that feeds, before the call that feeds returns. It must return, not
 * throw. What it may call is said under "Callbacks" at the top of this header.
 */
typedef void (*pointsman_kv_callback)(void *user_data, const pointsman_kv_event *event);

/** What a message was: one of the POINTSMAN_MESSAGE_ constants. */
typedef uint32_t pointsman_message;

/** Events, which were handed out. */
#define POINTSMAN_MESSAGE_EVENTS 0

/** A message that came before, by a replay as a rule: nothing was handed out. */
#define POINTSMAN_MESSAGE_KNOWN 1

/** The mark at the end of a replay. */
#define POINTSMAN_MESSAGE_END_OF_REPLAY 2

/** What has become of a message, and what is known of the cache now. */
typedef struct pointsman_fed {
    /** Set by POINTSMAN_FED_INIT. */
    uint32_t size;
    /** What the message was. */
    pointsman_message message;
    /** The data-parallel rank that it is of. */
    uint32_t rank;
    /** Events that were handed out, not counting gaps and restarts. */
    uint32_t events;
    /** Events of a name that this library does not know: passed over. */
    uint32_t unknown;
    /** Events that could not be understood: passed over. */
    uint32_t refused;
    /**
     * The byte of the payload that shows what is wrong with the first of those; else
     * POINTSMAN_UNKNOWN64.
     */
    uint64_t refused_at;
    /** When the engine made the message, in seconds of its time of day. */
    double time;
    /**
     * Tokens that the cache holds, counting each copy; POINTSMAN_UNKNOWN64 after missed messages.
     */
    uint64_t held_tokens;
    /** What it held when it last began to evict: its true capacity; POINTSMAN_UNKNOWN64 before. */
    uint64_t capacity_tokens;
    /** Tokens that it has evicted since the engine was made. */
    uint64_t removed_tokens;
} pointsman_fed;

/** What a load is read from: one of the POINTSMAN_LOAD_FROM_ constants. */
typedef uint32_t pointsman_load_source;

/** The text of `/metrics`: of vLLM, SGLang, TensorRT-LLM's own server, or Triton. */
#define POINTSMAN_LOAD_FROM_METRICS 0

/**
 * The value of an answer's header `endpoint-load-metrics` (ORCA), of vLLM or Triton. It lacks what is
 * running: the host adds that.
 */
#define POINTSMAN_LOAD_FROM_ORCA 1

/** The answer of SGLang's `/v1/loads`. */
#define POINTSMAN_LOAD_FROM_LISTING 2

/** What an engine says about its load. What it does not say is not known, never 0. */
typedef struct pointsman_engine_load {
    /** Set by POINTSMAN_ENGINE_LOAD_INIT. */
    uint32_t size;
    /** Requests that it is running; POINTSMAN_UNKNOWN if that is not known. */
    uint32_t running;
    /** Requests in its queue; POINTSMAN_UNKNOWN if that is not known. */
    uint32_t waiting;
    /** Data-parallel ranks that the text tells of. */
    uint32_t ranks;
    /** The part of its KV cache that is in use, from 0 to 1; below 0 if that is not known. */
    double kv_usage;
    /**
     * The part of prompts' tokens that it finds in its cache, from 0 to 1; below 0 if that is not known.
     */
    double hit_rate;
    /** KV cache tokens in use; POINTSMAN_UNKNOWN64 if that is not known. */
    uint64_t kv_used_tokens;
    /** KV cache tokens in all; POINTSMAN_UNKNOWN64 if that is not known. */
    uint64_t kv_total_tokens;
    /**
     * Tokens of prompts that it has looked for in its cache; POINTSMAN_UNKNOWN64 if that is not known.
     */
    uint64_t queried_tokens;
    /** Those that it found; POINTSMAN_UNKNOWN64 if that is not known. */
    uint64_t hit_tokens;
    /** 1 if the router got it as a report, else 0. */
    uint32_t reported;
    /** 0. */
    uint32_t reserved;
} pointsman_engine_load;

/**
 * Makes a worker's engine of which nothing has been heard.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT.
 */
pointsman_status pointsman_engine_new(pointsman_engine **engine);

/** Frees an engine; NULL is allowed. Inside a callback it does nothing. */
void pointsman_engine_free(pointsman_engine *engine);

/**
 * Decodes a message of vLLM's or SGLang's KV events: the last two frames of what came from the ZeroMQ
 * socket. Each event is handed to the callback (NULL: to none). With a router (NULL: without) the
 * worker is believed what it says: how long it holds a prompt is decided by what it evicts, not by a
 * capacity, and what was cleared or restarted is forgotten at once. fed may be NULL.
 *
 * Where messages are missing, POINTSMAN_KV_GAP comes before the events that follow; see
 * pointsman_engine_gap for having them replayed.
 *
 * Errors: POINTSMAN_BAD_MESSAGE, nothing has changed then; POINTSMAN_INVALID_ARGUMENT;
 * POINTSMAN_NOT_FOUND (the worker), the events have been handed out then; POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_engine_feed(pointsman_engine *engine,
                                       const pointsman_router *router,
                                       uint64_t worker,
                                       pointsman_source source,
                                       const void *sequence,
                                       size_t sequence_length,
                                       const void *payload,
                                       size_t payload_length,
                                       pointsman_kv_callback callback,
                                       void *user_data,
                                       pointsman_fed *fed);

/**
 * Says which messages are missing before this one, from the live socket: a replay is to be asked for
 * from `from` on. Where none is missing, from and to are equal. To fill a gap, feed the replay's answers
 * as POINTSMAN_SOURCE_REPLAY, and this message after them. If the message shows a restart, that is
 * handed to the callback now.
 *
 * Errors: POINTSMAN_BAD_MESSAGE, POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_engine_gap(pointsman_engine *engine,
                                      const void *sequence,
                                      size_t sequence_length,
                                      const void *payload,
                                      size_t payload_length,
                                      pointsman_kv_callback callback,
                                      void *user_data,
                                      uint64_t *from,
                                      uint64_t *to);

/**
 * Tells that the worker's engine is another process from here on, for hosts that see its connection
 * break: nothing that it has said holds. A lower sequence tells the same by itself.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_NOT_FOUND, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_engine_restart(pointsman_engine *engine,
                                          const pointsman_router *router,
                                          uint64_t worker,
                                          pointsman_kv_callback callback,
                                          void *user_data);

/**
 * Reads a worker's load from what its engine answers. With a router (NULL: without) it is stored as the
 * worker's report, if requests running and waiting are known: a worker without a report is not one
 * without load. load may be NULL.
 *
 * rank is a data-parallel rank, or POINTSMAN_NONE for all together, where a number that one of them
 * does not tell is not known. running is what the host counts itself, for texts that lack it;
 * POINTSMAN_UNKNOWN: it does not.
 *
 * Errors: POINTSMAN_BAD_MESSAGE; POINTSMAN_INVALID_ARGUMENT; POINTSMAN_NOT_FOUND (the worker);
 * POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_engine_read_load(pointsman_engine *engine,
                                            const pointsman_router *router,
                                            uint64_t worker,
                                            pointsman_load_source source,
                                            const void *text,
                                            size_t length,
                                            uint32_t rank,
                                            uint32_t running,
                                            pointsman_engine_load *load);

#define POINTSMAN_KV_EVENT_INIT \
    {sizeof(pointsman_kv_event), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, NULL, 0, \
     NULL, 0, NULL, 0, NULL, 0, 0, 0}

#define POINTSMAN_FED_INIT \
    {sizeof(pointsman_fed), 0, 0, 0, 0, 0, 0, 0.0, 0, 0, 0}

#define POINTSMAN_ENGINE_LOAD_INIT \
    {sizeof(pointsman_engine_load), 0, 0, 0, 0.0, 0.0, 0, 0, 0, 0, 0, 0}

/* ---- Metrics --------------------------------------------------------------------------------- */

/** A router's counters since it was made. */
typedef struct pointsman_metrics {
    /** Set by POINTSMAN_METRICS_INIT. */
    uint32_t size;
    /** Workers registered now. */
    uint32_t workers;
    /** Of these, healthy and not draining. */
    uint32_t eligible_workers;
    /** 0. */
    uint32_t reserved;
    /** Decisions made; a pair counts as two. */
    uint64_t decisions;
    /** Requests in flight now, over all workers. */
    uint64_t in_flight;
    /** Tickets open now. */
    uint64_t tickets_open;
    /** Most that can be open. */
    uint64_t tickets_capacity;
    /** Selections that got no ticket because the table was full. */
    uint64_t tickets_untracked;
    /** Tickets that were not completed in time. */
    uint64_t tickets_expired;
    /** Bytes that the ticket table holds. */
    uint64_t tickets_bytes;
    /** Bytes that the prefix tree may hold. */
    uint64_t tree_budget_bytes;
    /** Bytes that it holds. */
    uint64_t tree_held_bytes;
    /** Nodes that it wrote. */
    uint64_t tree_inserted_nodes;
    /** Nodes that it replaced to make room. */
    uint64_t tree_evicted_nodes;
    /** Inserts and touches skipped because another thread wrote to the same set. */
    uint64_t tree_skipped;
} pointsman_metrics;

/**
 * Reads the counters; workers have counters of their own, see
 * pointsman_worker_describe. O(workers); allocates.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_router_metrics(const pointsman_router *router,
                                          uint64_t now,
                                          pointsman_metrics *metrics);

/**
 * Writes every counter as OpenMetrics text, which Prometheus reads, and a final NUL, into buffer;
 * serve it as POINTSMAN_METRICS_CONTENT_TYPE. length may be NULL; it gets the text's length without
 * the NUL. About 4 KiB, and 2 KiB for each worker. The last line is "# EOF".
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BUFFER_TOO_SMALL, where length is written
 * nevertheless; POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_router_prometheus(const pointsman_router *router,
                                             uint64_t now,
                                             char *buffer,
                                             size_t capacity,
                                             size_t *length);

/**
 * As pointsman_router_prometheus without the last line, for hosts that write families of their own
 * after it and end the text themselves.
 *
 * Errors: as pointsman_router_prometheus.
 */
pointsman_status pointsman_router_prometheus_families(const pointsman_router *router,
                                                      uint64_t now,
                                                      char *buffer,
                                                      size_t capacity,
                                                      size_t *length);

#define POINTSMAN_METRICS_INIT \
    {sizeof(pointsman_metrics), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/* ---- Log ------------------------------------------------------------------------------------- */

/**
 * How much a log receives: one of the POINTSMAN_LOG_ constants, each of which includes those above it.
 */
typedef int32_t pointsman_log_level;

/** Nothing. */
#define POINTSMAN_LOG_NONE 0

/** A policy of the host's own failed, or chose no candidate. */
#define POINTSMAN_LOG_ERROR 1

/** A request found no worker or could not be read; a worker was ejected. */
#define POINTSMAN_LOG_WARNING 2

/** Workers were added, removed, changed or recovered; a policy was switched. */
#define POINTSMAN_LOG_INFO 3

/** Every decision, as the line of pointsman_selection_print. */
#define POINTSMAN_LOG_DEBUG 4

/** A worker's health by outcomes and time: one of the POINTSMAN_STATE_ constants. */
typedef uint32_t pointsman_state;

/** A worker takes its share again. */
#define POINTSMAN_STATE_HEALTHY 0

/** A worker gets nothing: it failed too often in a row, or on probation. */
#define POINTSMAN_STATE_EJECTED 1

/** A worker gets one request at a time, to see if it has recovered. */
#define POINTSMAN_STATE_PROBATION 2

/**
 * Receives messages. Called on the thread that caused the message, before the call that caused it
 * returns, possibly by several threads at once; no lock is held. Messages about a worker's health
 * come as pointsman_health_callback says. message is UTF-8, NUL-terminated, at most 1,023 bytes
 * without a line end, and valid during the call only. What callbacks do themselves causes no message.
 *
 * It must return, not throw. What it may call is said under "Callbacks" at the top of this header.
 */
typedef void (*pointsman_log_callback)(void *user_data,
                                       pointsman_log_level level,
                                       const char *message,
                                       size_t length);

/** One decision, for the decision log. Belongs to the library and is valid during the call. */
typedef struct pointsman_decision_record {
    /** sizeof this struct in the library. */
    uint32_t size;
    /** The role that a worker was chosen for. */
    pointsman_role role;
    /** When, on the clock that the host uses for this router. */
    uint64_t now;
    /** The request's ticket. */
    uint64_t ticket;
    /** The worker that was chosen. */
    uint64_t worker;
    /** The best of those not chosen; 0 where the policy did not compare. */
    uint64_t runner_up;
    /** What the policy minimised. */
    double score;
    /** The same for the runner-up. */
    double runner_up_score;
    /** Why. */
    pointsman_reason reason;
    /** Leading tokens of the prompt that the worker is believed to hold. */
    uint32_t matched_tokens;
    /** Tokens of the prompt. */
    uint32_t total_tokens;
    /** Leading tokens of the prompt that best_match is believed to hold. */
    uint32_t best_match_tokens;
    /**
     * The candidate with the longest match; 0 where the prompt was not read, or no candidate held any of it.
     */
    uint64_t best_match;
} pointsman_decision_record;

/**
 * Receives decisions, on the thread that asked, before pointsman_select returns. It must return, not
 * throw. What it selects itself is not logged. What it may call is said under "Callbacks" at the top of
 * this header.
 */
typedef void (*pointsman_decision_callback)(void *user_data,
                                            const pointsman_decision_record *record);

/**
 * A change of a worker's health by the outcomes of requests or by time. Belongs to the library and is
 * valid during the call.
 */
typedef struct pointsman_health_change {
    /** sizeof this struct in the library. */
    uint32_t size;
    /** What the worker has become. */
    pointsman_state state;
    /** When, on the clock that the host uses for this router. */
    uint64_t now;
    /** Which worker. */
    uint64_t worker;
    /** The host's own number of it. */
    uint64_t user_data;
    /** When probation begins, if it was ejected; else 0. */
    uint64_t until;
} pointsman_health_change;

/**
 * Receives changes of health, in order and by one thread at a time: the one whose call caused the
 * change, before that call returns, or one that is reporting an earlier change at that moment. Other
 * threads do not wait for it. Up to 1,024 changes are queued; further ones are dropped. What the host
 * sets by pointsman_worker_set_health is not reported.
 *
 * It must return, not throw. What it may call is said under "Callbacks" at the top of this header.
 */
typedef void (*pointsman_health_callback)(void *user_data,
                                          const pointsman_health_change *change);

/* ---- Waiting for room ------------------------------------------------------------------------ */

/**
 * Says that a place may have come free. Called by the thread whose call gave it back, before that call
 * returns, possibly by several threads at once; no lock is held.
 *
 * It must return, not throw. It does best to wake whoever selects, by an eventfd or an event of the host's
 * loop. Functions that change or list the workers, or switch policies, answer POINTSMAN_IN_CALLBACK.
 */
typedef void (*pointsman_room_callback)(void *user_data);

/* ---- Policies of the host's own -------------------------------------------------------------- */

/** What a policy of the host's own wants: POINTSMAN_POLICY_WANTS_ bits. */
typedef uint32_t pointsman_policy_flags;

/**
 * The policy reads prefixes: prompts are fingerprinted, candidates show how much each holds, and
 * what is dispatched is remembered.
 */
#define POINTSMAN_POLICY_WANTS_PREFIX 1

/** The policy wants the events of requests; it gets those of workers in any case. */
#define POINTSMAN_POLICY_WANTS_REQUEST_EVENTS 2

/**
 * An event that a policy of the host's own receives: one of the POINTSMAN_EVENT_ constants. Later
 * versions may add some.
 */
typedef uint32_t pointsman_event_kind;

/**
 * A decision was charged: the request is about to be sent. For a pair there are two such events.
 */
#define POINTSMAN_EVENT_DISPATCH 1

/** The prompt is computed. */
#define POINTSMAN_EVENT_FIRST_TOKEN 2

/** The request is over; exactly once per request. */
#define POINTSMAN_EVENT_COMPLETE 3

/** A worker was registered. Also sent for every worker when the policy is installed. */
#define POINTSMAN_EVENT_WORKER_ADDED 4

/** A worker was removed; what is known about its slot is to be forgotten. */
#define POINTSMAN_EVENT_WORKER_REMOVED 5

/** This process is a forked child: draw new random seeds, forget requests in flight. */
#define POINTSMAN_EVENT_FORKED 6

/** A worker's URL, group, KV capacity or labels have changed; its id and slot are as before. */
#define POINTSMAN_EVENT_WORKER_CHANGED 7

/**
 * The workers that a policy may choose from: arrays of count elements each, one element per worker.
 * They belong to the library and are valid during the call.
 */
typedef struct pointsman_candidates {
    /** sizeof this struct in the library. */
    uint32_t size;
    /** Their role. */
    pointsman_role role;
    /** How many there are, at least 1. */
    uint32_t count;
    /** 0. */
    uint32_t reserved;
    /** Their ids. */
    const uint64_t *workers;
    /** The host's own numbers. */
    const uint64_t *user_data;
    /** The weights in force: as configured, lowered during slow start or overload. */
    const double *weights;
    /**
     * Their slots, below 1,024: small numbers to keep knowledge about a worker under, until
     * POINTSMAN_EVENT_WORKER_REMOVED. Ascending.
     */
    const uint32_t *slots;
    /** Requests in flight. */
    const uint32_t *in_flight;
    /**
     * Leading tokens of the prompt that each is believed to hold; NULL unless the policy has
     * POINTSMAN_POLICY_WANTS_PREFIX.
     */
    const uint32_t *matched_tokens;
} pointsman_candidates;

/** The request as a policy sees it. Belongs to the library and is valid during the call. */
typedef struct pointsman_request_view {
    /** sizeof this struct in the library. */
    uint32_t size;
    /**
     * Tokens of the prompt, estimated where only bytes are known; 0 where the prompt was not read.
     */
    uint32_t prompt_tokens;
    /** The time of the request. */
    uint64_t now;
    /** A keyed digest of the routing key; 0 if there is none. */
    uint64_t routing_key;
} pointsman_request_view;

/**
 * What a policy's select callback decides. The library sets everything before the call: index to
 * POINTSMAN_NONE, so that forgetting to choose is an error, and the rest to "nothing compared".
 */
typedef struct pointsman_decision {
    /** sizeof this struct in the library. */
    uint32_t size;
    /**
     * The chosen candidate: an index into the arrays. Anything else fails the request with
     * POINTSMAN_POLICY_FAILED.
     */
    uint32_t index;
    /** The best of those not chosen, as an index, or POINTSMAN_NONE. */
    uint32_t runner_up;
    /** Prompt tokens that the worker will have to compute; handed back with the events. */
    uint32_t work_tokens;
    /** What the policy minimised, in its own unit. */
    double score;
    /** The same for the runner-up. */
    double runner_up_score;
} pointsman_decision;

/**
 * Something happened to a request or a worker. Belongs to the library and is valid during the call.
 */
typedef struct pointsman_event {
    /** sizeof this struct in the library. */
    uint32_t size;
    /** What happened; ignore kinds that you do not know. */
    pointsman_event_kind kind;
    /**
     * The worker; for POINTSMAN_EVENT_COMPLETE the one that answered. 0 for POINTSMAN_EVENT_FORKED.
     */
    uint64_t worker;
    /**
     * The worker that computed the prompt, where that is known to be another one; else worker. 0 with
     * POINTSMAN_EVENT_COMPLETE if the prefill worker of a pair has left.
     */
    uint64_t prefill_worker;
    /** The host's own number of the worker; only with the events of workers. */
    uint64_t user_data;
    /** The time of the event; 0 with the events of workers. */
    uint64_t now;
    /** The time of the dispatch. */
    uint64_t dispatched;
    /** The worker's slot. */
    uint32_t slot;
    /** The worker's role in the request. */
    pointsman_role role;
    /** As decided. */
    uint32_t work_tokens;
    /** As predicted when the worker was chosen. */
    uint32_t matched_tokens;
    /** Prompt tokens; POINTSMAN_UNKNOWN if it was not reported. */
    uint32_t prompt_tokens;
    /**
     * Prompt tokens that the worker found in its cache; POINTSMAN_UNKNOWN if it was not reported.
     */
    uint32_t cached_tokens;
    /** Tokens generated; POINTSMAN_UNKNOWN if it was not reported. */
    uint32_t completion_tokens;
    /** How the request ended, with POINTSMAN_EVENT_COMPLETE. */
    pointsman_outcome outcome;
} pointsman_event;

/**
 * A policy of the host's own.
 *
 * Callbacks are called from any thread that uses the router, several at a time. They must return,
 * not throw or longjmp, and be quick. What they may call is said under "Callbacks" at the top of this
 * header.
 */
typedef struct pointsman_policy {
    /** Set by POINTSMAN_POLICY_INIT. */
    uint32_t size;
    /** What it wants; 0 by default. */
    pointsman_policy_flags flags;
    /** Passed to create and release; and to select and on_event if there is no create. */
    void *user_data;
    /**
     * Chooses one candidate. Only decides: it may be called again for the same request, and a decision
     * may be dropped. Returns POINTSMAN_OK; POINTSMAN_NO_WORKER to refuse all of them, which the host gets
     * as POINTSMAN_NO_WORKER; any other number fails the request with POINTSMAN_POLICY_FAILED. Not called
     * where no candidate has room. Required.
     *
     * Pairs are formed by calling it once for the prefill and once for the decode workers.
     */
    pointsman_status (*select)(void *instance,
                               const pointsman_candidates *candidates,
                               const pointsman_request_view *request,
                               pointsman_decision *decision);
    /** Called with what happens to requests and workers. May be NULL. */
    void (*on_event)(void *instance, const pointsman_event *event);
    /**
     * Makes an instance each time that configuration names the policy, with the options given
     * there as JSON ("null" if none are). What it stores is passed to select and on_event. Returns
     * POINTSMAN_OK, or any other number to refuse the options. May be NULL.
     */
    pointsman_status (*create)(void *user_data,
                               const char *options,
                               size_t options_length,
                               void **instance);
    /** Frees an instance that create made, when nothing uses it any more. May be NULL. */
    void (*destroy)(void *instance);
    /**
     * Called once, when the builder and all routers that could make instances are gone. May be NULL.
     */
    void (*release)(void *user_data);
} pointsman_policy;

#define POINTSMAN_POLICY_INIT \
    {sizeof(pointsman_policy), 0, NULL, NULL, NULL, NULL, NULL, NULL}

/* ---- Builder --------------------------------------------------------------------------------- */

/**
 * The settings of routers to be built. Used by one thread at a time; makes any number of routers.
 *
 * Lifetime: from pointsman_builder_new to pointsman_builder_free, which may come before the routers
 * are freed.
 */
typedef struct pointsman_builder pointsman_builder;

/**
 * Makes a builder with every setting at its default.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT.
 */
pointsman_status pointsman_builder_new(pointsman_builder **builder);

/** Frees a builder; NULL is allowed. Inside a callback it does nothing. */
void pointsman_builder_free(pointsman_builder *builder);

/**
 * Replaces all settings by those of a configuration document; see pointsman_router_new.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_INVALID_CONFIG, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_builder_set_config(pointsman_builder *builder,
                                              const char *config,
                                              size_t config_length);

/**
 * Sets the policy, as pointsman_router_set_policy does later. Its name is looked up when the
 * router is built.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_INVALID_CONFIG, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_builder_set_policy(pointsman_builder *builder,
                                              const char *policy,
                                              size_t policy_length);

/**
 * Sets the bytes that the prefix tree may hold; never exceeded. Default 64 MiB.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK. The range is checked when the router
 * is built.
 */
pointsman_status pointsman_builder_set_tree_budget(pointsman_builder *builder,
                                                   uint64_t bytes);

/**
 * Sets how many workers (1 to 1,024, the default) and how many open tickets (1 to 1,048,576, rounded
 * up to a multiple of 64; default 65,536) the router has room for; 0 leaves a number as it is. With all
 * tickets open, a request is not tracked (ticket 0): it goes to a random worker without a limit of
 * requests in flight, or, where all have one, to none: POINTSMAN_ALL_BUSY.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK. The range is checked when the router
 * is built.
 */
pointsman_status pointsman_builder_set_limits(pointsman_builder *builder,
                                              uint32_t max_workers,
                                              uint32_t max_tickets);

/**
 * Sets the 32-byte key of the router's hashes. Only routers that share fingerprints, or must
 * agree with each other, need the same key; by default each draws its own. Keep it secret.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_builder_set_hash_key(pointsman_builder *builder,
                                                const uint8_t *key,
                                                size_t key_length);

/**
 * Makes every random draw repeatable as long as one thread calls: for tests and simulations.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_builder_set_seed(pointsman_builder *builder, uint64_t seed);

/**
 * Registers a policy of the host's own under a name that configuration can use. The struct is
 * copied.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT (also if it has no select callback),
 * POINTSMAN_ALREADY_EXISTS, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_builder_add_policy(pointsman_builder *builder,
                                              const char *name,
                                              size_t name_length,
                                              const pointsman_policy *policy);

/**
 * Sets the callback that the routers built from here on write messages up to this level to; a NULL
 * callback or POINTSMAN_LOG_NONE keeps them silent, which is the default.
 * What user_data points to must outlive those routers.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_builder_set_log(pointsman_builder *builder,
                                           pointsman_log_level level,
                                           pointsman_log_callback callback,
                                           void *user_data);

/**
 * Passes one in every decisions, chosen at random, to a callback; a NULL callback stops it. What
 * user_data points to must outlive the routers built.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, also if every is 0; POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_builder_set_decision_log(pointsman_builder *builder,
                                                    uint32_t every,
                                                    pointsman_decision_callback callback,
                                                    void *user_data);

/**
 * Calls back when outcomes or time have ejected a worker, admitted it on probation, or made it
 * healthy again; a NULL callback stops it. What user_data points to must outlive the routers
 * built.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_builder_set_health_log(pointsman_builder *builder,
                                                  pointsman_health_callback callback,
                                                  void *user_data);

/**
 * Calls back when a place may have come free since a request was refused with POINTSMAN_ALL_BUSY; a
 * NULL callback stops it. What user_data points to must outlive the routers built.
 *
 * To let a request wait: put it where the callback finds it, then select once more; whatever comes
 * free after that is told, once. Then select for the waiting requests until one is refused again. A
 * change of workers or policies is told, too, as it may leave nothing to wait for. Time alone frees
 * nothing: where ejected workers or forgotten tickets may be what is missing, call
 * pointsman_router_tick once in a while. A completion that nobody waits for costs one load more.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_builder_set_room_callback(pointsman_builder *builder,
                                                     pointsman_room_callback callback,
                                                     void *user_data);

/**
 * Builds a router. The builder can be used again.
 *
 * Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_INVALID_CONFIG, also if the policy's create
 * callback refuses the options; POINTSMAN_IN_CALLBACK.
 */
pointsman_status pointsman_builder_build(const pointsman_builder *builder,
                                         pointsman_router **router);

#ifdef __cplusplus
}
#endif

#endif
