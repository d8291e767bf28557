/*
 * The answer: its first byte, which stands for the first token, and the usage in it.
 *
 * The first byte of the body and not of the header counts, because engines send the header of a
 * stream before they have computed anything.
 */

#include "pointsman_nginx.h"

static ngx_http_output_body_filter_pt next_body_filter;

static ngx_int_t body_filter(ngx_http_request_t *r, ngx_chain_t *in);

void ngx_pointsman_init_filter(void)
{
    next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = body_filter;
}

static ngx_int_t body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_pointsman_peer_t *peer = ngx_http_get_module_ctx(r, ngx_http_pointsman_module);
    if (peer == NULL || !peer->open) {
        return next_body_filter(r, in);
    }
    for (ngx_chain_t *link = in; link != NULL; link = link->next) {
        if (ngx_buf_special(link->buf) || ngx_buf_size(link->buf) == 0) {
            continue;
        }
        if (peer->waiting) {
            ngx_pointsman_stop_waiting(peer);
            (void) pointsman_first_token(peer->upstream->router, peer->chosen.ticket, POINTSMAN_UNKNOWN,
                                         POINTSMAN_NOW);
        }
        if (ngx_buf_in_memory(link->buf)) {
            usage_push(&peer->usage, link->buf->pos, (size_t) (link->buf->last - link->buf->pos));
        }
    }
    return next_body_filter(r, in);
}

/* The first byte is there, or none will come. */
void ngx_pointsman_stop_waiting(ngx_pointsman_peer_t *peer)
{
    if (peer->waiting) {
        peer->waiting = 0;
        ngx_pointsman_count_waiting(peer->upstream, (ngx_uint_t) peer->chosen.user_data, -1);
    }
}

/* What the engine says it computed, prompt tokens with the cached ones. */
void ngx_pointsman_find_usage(ngx_pointsman_peer_t *peer, pointsman_completion *completion)
{
    usage_report(&peer->usage, completion);
}
