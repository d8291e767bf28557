/* The variables for the access log: what was decided about the request's last attempt. */

#include "pointsman_nginx.h"

enum { MATCHED, TOTAL };

static ngx_int_t worker_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t reason_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t tokens_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_pointsman_peer_t *recall(ngx_http_request_t *r);
static void forget(void *data);

static const ngx_http_variable_t variables[] = {
    {ngx_string("pointsman_worker"), NULL, worker_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0},
    {ngx_string("pointsman_reason"), NULL, reason_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0},
    {ngx_string("pointsman_matched"), NULL, tokens_variable, MATCHED, NGX_HTTP_VAR_NOCACHEABLE, 0},
    {ngx_string("pointsman_total"), NULL, tokens_variable, TOTAL, NGX_HTTP_VAR_NOCACHEABLE, 0},
};

ngx_int_t ngx_pointsman_add_variables(ngx_conf_t *cf)
{
    for (ngx_uint_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        ngx_str_t name = variables[i].name;
        ngx_http_variable_t *variable = ngx_http_add_variable(cf, &name, variables[i].flags);
        if (variable == NULL) {
            return NGX_ERROR;
        }
        variable->get_handler = variables[i].get_handler;
        variable->data = variables[i].data;
    }
    return NGX_OK;
}

/*
 * Ties the peer to its request. A redirect inside nginx, for example to an error page, clears the
 * context; the cleanup list keeps the peer for the log.
 */
ngx_int_t ngx_pointsman_remember(ngx_pointsman_peer_t *peer)
{
    ngx_http_request_t *r = peer->request;
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(r->pool, 0);
    if (cleanup == NULL) {
        return NGX_ERROR;
    }
    cleanup->handler = forget;
    cleanup->data = peer;
    ngx_http_set_ctx(r, peer, ngx_http_pointsman_module);
    return NGX_OK;
}

/* Nothing to do: the peer's memory goes with the request's. */
static void forget(void *data)
{
    (void) data;
}

static ngx_pointsman_peer_t *recall(ngx_http_request_t *r)
{
    ngx_pointsman_peer_t *peer = ngx_http_get_module_ctx(r, ngx_http_pointsman_module);
    for (ngx_pool_cleanup_t *each = r->pool->cleanup; peer == NULL && each != NULL; each = each->next) {
        if (each->handler == forget && ((ngx_pointsman_peer_t *) each->data)->request == r) {
            peer = each->data;
        }
    }
    return peer;
}

static ngx_int_t set_text(ngx_http_variable_value_t *v, const u_char *text, size_t length)
{
    v->valid = length != 0;
    v->not_found = length == 0;
    v->no_cacheable = 0;
    v->len = (unsigned) length & 0xfffffff;
    v->data = (u_char *) text;
    return NGX_OK;
}

static ngx_int_t worker_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_pointsman_peer_t *peer = recall(r);
    return peer == NULL ? set_text(v, NULL, 0) : set_text(v, peer->worker.data, peer->worker.len);
}

static ngx_int_t reason_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_pointsman_peer_t *peer = recall(r);
    if (peer == NULL || !peer->selected) {
        return set_text(v, NULL, 0);
    }
    const char *reason = pointsman_reason_string(peer->chosen.reason);
    return set_text(v, (const u_char *) reason, ngx_strlen(reason));
}

static ngx_int_t tokens_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_pointsman_peer_t *peer = recall(r);
    if (peer == NULL || !peer->selected) {
        return set_text(v, NULL, 0);
    }
    u_char *text = ngx_pnalloc(r->pool, NGX_INT32_LEN);
    if (text == NULL) {
        return NGX_ERROR;
    }
    uint32_t tokens = data == MATCHED ? peer->chosen.matched_tokens : peer->chosen.total_tokens;
    u_char *end = ngx_sprintf(text, "%uD", tokens);
    return set_text(v, text, (size_t) (end - text));
}
