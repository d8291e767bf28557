/* How a request ended: what nginx knows about it, in the router's words. */

#include "pointsman_nginx.h"

#define NANOSECONDS 1000000000ull

/* Longest pause that is read, in seconds: the library believes in less. */
#define MAX_RETRY_AFTER 86400

static void judge(ngx_pointsman_peer_t *peer, ngx_peer_connection_t *pc, ngx_uint_t state,
                  pointsman_completion *completion);
static ngx_uint_t broke_off(ngx_http_upstream_t *u, ngx_connection_t *c);
static uint64_t retry_after(ngx_http_upstream_t *u);

/* Gives the load back. Called while the connection to the worker still is as it ended. */
void ngx_pointsman_complete(ngx_pointsman_peer_t *peer, ngx_peer_connection_t *pc, ngx_uint_t state)
{
    ngx_http_upstream_t *u = peer->request->upstream;
    pointsman_router *router = peer->upstream->router;
    pointsman_completion completion = POINTSMAN_COMPLETION_INIT;
    judge(peer, pc, state, &completion);
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

static void judge(ngx_pointsman_peer_t *peer, ngx_peer_connection_t *pc, ngx_uint_t state,
                  pointsman_completion *completion)
{
    ngx_http_upstream_t *u = peer->request->upstream;
    ngx_connection_t *client = peer->request->connection;
    ngx_connection_t *c = pc->connection;
    ngx_uint_t status = u->state != NULL ? u->state->status : 0;

    if (c != NULL && (c->read->timedout || c->write->timedout)) {
        completion->outcome = POINTSMAN_OUTCOME_TIMEOUT;
    } else if (status >= NGX_HTTP_BAD_REQUEST) {
        (void) pointsman_outcome_of_http_status((uint32_t) ngx_min(status, 599), retry_after(u),
                                                completion);
    } else if (state & NGX_PEER_FAILED) {
        completion->outcome = POINTSMAN_OUTCOME_WORKER_ERROR;
    } else if (client->error || client->timedout) {
        completion->outcome = POINTSMAN_OUTCOME_CLIENT_CANCELLED;
    } else if (status == 0 || broke_off(u, c)) {
        completion->outcome = POINTSMAN_OUTCOME_WORKER_ERROR;
    }
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

/* What the worker asks for, in nanoseconds; 0 if it does not. */
static uint64_t retry_after(ngx_http_upstream_t *u)
{
    static const u_char name[] = "Retry-After";
    ngx_int_t seconds = 0;
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
