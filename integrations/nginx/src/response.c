/*
 * The answer: its first byte, which stands for the first token, and the usage at its end.
 *
 * The first byte of the body and not of the header counts, because engines send the header of a
 * stream before they have computed anything.
 */

#include "pointsman_nginx.h"

static ngx_http_output_body_filter_pt next_body_filter;

static ngx_int_t body_filter(ngx_http_request_t *r, ngx_chain_t *in);
static void keep_tail(ngx_pointsman_peer_t *peer, const u_char *bytes, size_t length);
static uint32_t find_number(ngx_pointsman_peer_t *peer, const char *key);

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
            keep_tail(peer, link->buf->pos, (size_t) (link->buf->last - link->buf->pos));
        } else {
            peer->tail_length = 0;
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

static void keep_tail(ngx_pointsman_peer_t *peer, const u_char *bytes, size_t length)
{
    if (length >= sizeof(peer->tail)) {
        ngx_memcpy(peer->tail, bytes + length - sizeof(peer->tail), sizeof(peer->tail));
        peer->tail_length = sizeof(peer->tail);
        return;
    }
    size_t kept = ngx_min(peer->tail_length, sizeof(peer->tail) - length);
    ngx_memmove(peer->tail, peer->tail + peer->tail_length - kept, kept);
    ngx_memcpy(peer->tail + kept, bytes, length);
    peer->tail_length = kept + length;
}

/*
 * What the engine says it computed: OpenAI's chat, completions and responses, SGLang's generate. The
 * names cannot be part of the generated text, whose quotes are escaped.
 */
void ngx_pointsman_find_usage(ngx_pointsman_peer_t *peer, pointsman_completion *completion)
{
    completion->cached_tokens = find_number(peer, "\"cached_tokens\"");
    completion->prompt_tokens = find_number(peer, "\"prompt_tokens\"");
    if (completion->prompt_tokens == POINTSMAN_UNKNOWN) {
        completion->prompt_tokens = find_number(peer, "\"input_tokens\"");
    }
    completion->completion_tokens = find_number(peer, "\"completion_tokens\"");
    if (completion->completion_tokens == POINTSMAN_UNKNOWN) {
        completion->completion_tokens = find_number(peer, "\"output_tokens\"");
    }
}

/* The number after the last such key in the tail, or POINTSMAN_UNKNOWN. */
static uint32_t find_number(ngx_pointsman_peer_t *peer, const char *key)
{
    size_t length = ngx_strlen(key);
    u_char *end = peer->tail + peer->tail_length;
    u_char *at = end;
    do {
        if ((size_t) (at - peer->tail) < 1 || peer->tail_length < length) {
            return POINTSMAN_UNKNOWN;
        }
        at--;
    } while ((size_t) (end - at) < length || ngx_memcmp(at, key, length) != 0);

    at += length;
    while (at < end && (*at == ' ' || *at == ':')) {
        at++;
    }
    u_char *digits = at;
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    ngx_int_t number = at == end ? NGX_ERROR : ngx_atoi(digits, (size_t) (at - digits));
    return number >= 0 && number < POINTSMAN_UNKNOWN ? (uint32_t) number : POINTSMAN_UNKNOWN;
}
