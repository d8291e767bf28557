/* The request's body, wherever nginx has put it, as a fingerprint. */

#include "pointsman_nginx.h"

/* What is read of a temporary file at a time. */
#define PIECE 65536

static pointsman_status push_buffer(ngx_pointsman_peer_t *peer, ngx_buf_t *buffer);
static pointsman_status push_file(ngx_pointsman_peer_t *peer, ngx_buf_t *buffer);
static ngx_int_t keep(ngx_pointsman_peer_t *peer, pointsman_fingerprint *fingerprint);

/*
 * Fingerprints the body's prompt and keeps the hashes for as long as the request lives, as a retry
 * needs them when the body's buffers are spent. Without a whole body that can be read, the request
 * is routed without a prompt, which is not an error.
 */
ngx_int_t ngx_pointsman_read_prompt(ngx_pointsman_peer_t *peer)
{
    ngx_http_request_t *r = peer->request;
    ngx_pointsman_upstream_t *upstream = peer->upstream;
    pointsman_fingerprinter *fingerprinter = upstream->fingerprinter;
    pointsman_fingerprint fingerprint = POINTSMAN_FINGERPRINT_INIT;
    ngx_str_t name = ngx_null_string;

    if (upstream->prompt_kind == POINTSMAN_PROMPT_NONE || r->request_body == NULL
        || r->request_body->bufs == NULL || r->reading_body) {
        return NGX_OK;
    }
    if (upstream->cache_namespace != NULL
        && ngx_http_complex_value(r, upstream->cache_namespace, &name) != NGX_OK) {
        return NGX_ERROR;
    }
    pointsman_status status = pointsman_fingerprinter_begin(
        fingerprinter, upstream->prompt_kind, name.len != 0 ? (char *) name.data : NULL, name.len);
    for (ngx_chain_t *link = r->request_body->bufs; link != NULL && status == POINTSMAN_OK;
         link = link->next) {
        status = push_buffer(peer, link->buf);
    }
    if (status == POINTSMAN_OK) {
        status = pointsman_fingerprinter_finish(fingerprinter, &fingerprint);
    }
    if (status != POINTSMAN_OK) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "pointsman: routed without a prompt: %s",
                      pointsman_last_error());
        return NGX_OK;
    }
    pointsman_body body = POINTSMAN_BODY_INIT;
    if (upstream->prompt_kind == POINTSMAN_PROMPT_JSON
        && pointsman_fingerprinter_body(fingerprinter, &body) == POINTSMAN_OK) {
        peer->expected_output_tokens = body.max_tokens;
    }
    return keep(peer, &fingerprint);
}

static pointsman_status push_buffer(ngx_pointsman_peer_t *peer, ngx_buf_t *buffer)
{
    if (ngx_buf_in_memory(buffer)) {
        return pointsman_fingerprinter_push(peer->upstream->fingerprinter, buffer->pos,
                                            (size_t) (buffer->last - buffer->pos));
    }
    return buffer->in_file ? push_file(peer, buffer) : POINTSMAN_OK;
}

static pointsman_status push_file(ngx_pointsman_peer_t *peer, ngx_buf_t *buffer)
{
    static u_char piece[PIECE];
    off_t offset = buffer->file_pos;
    while (offset < buffer->file_last) {
        size_t wanted = (size_t) ngx_min((off_t) sizeof(piece), buffer->file_last - offset);
        ssize_t got = ngx_read_file(buffer->file, piece, wanted, offset);
        if (got <= 0) {
            return POINTSMAN_OK; /* nginx logged it; the JSON that breaks off here is refused */
        }
        pointsman_status status =
            pointsman_fingerprinter_push(peer->upstream->fingerprinter, piece, (size_t) got);
        if (status != POINTSMAN_OK) {
            return status;
        }
        offset += got;
    }
    return POINTSMAN_OK;
}

static ngx_int_t keep(ngx_pointsman_peer_t *peer, pointsman_fingerprint *fingerprint)
{
    size_t bytes = fingerprint->hash_count * sizeof(uint64_t);
    if (bytes == 0) {
        return NGX_OK;
    }
    uint64_t *hashes = ngx_palloc(peer->request->pool, bytes);
    if (hashes == NULL) {
        return NGX_ERROR;
    }
    ngx_memcpy(hashes, fingerprint->hashes, bytes);
    peer->prompt = *fingerprint;
    peer->prompt.hashes = hashes;
    return NGX_OK;
}
