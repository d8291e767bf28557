/**
 * @file
 * pointsman @VERSION@: names the LLM worker that should serve a request, inside the host's process.
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
#define POINTSMAN_VERSION "@VERSION@"
#define POINTSMAN_VERSION_MAJOR @MAJOR@
#define POINTSMAN_VERSION_MINOR @MINOR@
#define POINTSMAN_VERSION_PATCH @PATCH@
#define POINTSMAN_VERSION_NUMBER \
    (POINTSMAN_VERSION_MAJOR * 65536u + POINTSMAN_VERSION_MINOR * 256u + POINTSMAN_VERSION_PATCH)

/** What to serve the text of pointsman_router_prometheus as. */
#define POINTSMAN_METRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/** The length that stands for "up to the terminating NUL" wherever text is passed. */
#define POINTSMAN_NUL_TERMINATED SIZE_MAX

#ifdef __cplusplus
extern "C" {
#endif
