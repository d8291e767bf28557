/* How a request ended: what nginx knows about it, in the router's words. */

#include "pointsman_nginx.h"

#define NANOSECONDS 1000000000ull

/* The pause of a worker that answers 429 or 503 without saying for how long. */
#define DEFAULT_RETRY_AFTER 1

/* Longest pause that is believed, in seconds. */
#define MAX_RETRY_AFTER 300

static uint32_t outcome_of(ngx_pointsman_peer_t *peer, ngx_peer_connection_t *pc, ngx_uint_t state);
static ngx_uint_t broke_off(ngx_http_upstream_t *u, ngx_connection_t *c);
static uint64_t retry_after(ngx_http_upstream_t *u);

/* Gives the load back. Called while the connection to the worker still is as it ended. */
void ngx_pointsman_complete(ngx_pointsman_peer_t *peer, ngx_peer_connection_t *pc, ngx_uint_t state)
{
    ngx_http_upstream_t *u = peer->request->upstream;
    pointsman_router *router = peer->upstream->router;
    pointsman_completion completion = POINTSMAN_COMPLETION_INIT;
    completion.outcome = outcome_of(peer, pc, state);
    if (completion.outcome == POINTSMAN_OUTCOME_OVERLOADED) {
        completion.retry_after = retry_after(u);
    }
    if (completion.outcome == POINTSMAN_OUTCOME_SUCCESS) {
        ngx_pointsman_find_usage(peer, &completion);
        if (peer->waiting && u->state != NULL && u->state->header_time != (ngx_msec_t) -1) {
            /* An answer without a body, or one that no filter saw: the header counts. */
            (void) pointsman_first_token(router, peer->chosen.ticket, POINTSMAN_UNKNOWN,
                                         peer->dispatched + (uint64_t) u->state->header_time * 1000000);
        }
    }
    (void) pointsman_complete(router, peer->chosen.ticket, &completion);
    ngx_pointsman_stop_waiting(peer);
    peer->upstream->changed = 1;
}

static uint32_t outcome_of(ngx_pointsman_peer_t *peer, ngx_peer_connection_t *pc, ngx_uint_t state)
{
    ngx_http_upstream_t *u = peer->request->upstream;
    ngx_connection_t *client = peer->request->connection;
    ngx_connection_t *c = pc->connection;
    ngx_uint_t status = u->state != NULL ? u->state->status : 0;

    if (c != NULL && (c->read->timedout || c->write->timedout)) {
        return POINTSMAN_OUTCOME_TIMEOUT;
    }
    if (status == NGX_HTTP_TOO_MANY_REQUESTS || status == NGX_HTTP_SERVICE_UNAVAILABLE) {
        return POINTSMAN_OUTCOME_OVERLOADED;
    }
    if (status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
        return POINTSMAN_OUTCOME_WORKER_ERROR;
    }
    if (status >= NGX_HTTP_BAD_REQUEST) {
        return POINTSMAN_OUTCOME_CLIENT_ERROR;
    }
    if (state & NGX_PEER_FAILED) {
        return POINTSMAN_OUTCOME_WORKER_ERROR;
    }
    if (client->error || client->timedout) {
        return POINTSMAN_OUTCOME_CLIENT_CANCELLED;
    }
    return status == 0 || broke_off(u, c) ? POINTSMAN_OUTCOME_WORKER_ERROR : POINTSMAN_OUTCOME_SUCCESS;
}

/* Whether the answer's end is missing. A length of -1 is an answer that ends with its connection. */
static ngx_uint_t broke_off(ngx_http_upstream_t *u, ngx_connection_t *c)
{
    if (u->error || (c != NULL && (c->error || c->read->error))) {
        return 1;
    }
    if (u->pipe != NULL && u->buffering) {
        return u->pipe->upstream_error || (u->pipe->upstream_eof && u->pipe->length > 0);
    }
    return c != NULL && c->read->eof && u->length > 0;
}

static uint64_t retry_after(ngx_http_upstream_t *u)
{
    static const u_char name[] = "Retry-After";
    ngx_int_t seconds = DEFAULT_RETRY_AFTER;
    for (ngx_list_part_t *part = &u->headers_in.headers.part; part != NULL; part = part->next) {
        ngx_table_elt_t *headers = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            ngx_int_t told;
            if (headers[i].key.len != sizeof(name) - 1
                || ngx_strncasecmp(headers[i].key.data, (u_char *) name, sizeof(name) - 1) != 0) {
                continue;
            }
            told = ngx_atoi(headers[i].value.data, headers[i].value.len);
            if (told >= 0) {
                seconds = ngx_min(told, MAX_RETRY_AFTER);
            }
        }
    }
    return (uint64_t) seconds * NANOSECONDS;
}
