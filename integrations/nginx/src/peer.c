/*
 * One request: nginx's round robin says which servers may be chosen, the router chooses, and round
 * robin keeps its books (fails, connections, tries) as if it had chosen itself.
 */

#include "pointsman_nginx.h"

static ngx_int_t get_peer(ngx_peer_connection_t *pc, void *data);
static void free_peer(ngx_peer_connection_t *pc, void *data, ngx_uint_t state);
static ngx_int_t choose(ngx_pointsman_peer_t *peer);
static ngx_uint_t list_allowed(ngx_pointsman_peer_t *peer, ngx_uint_t *narrowed);
static ngx_uint_t is_available(ngx_http_upstream_rr_peers_t *list, ngx_http_upstream_rr_peer_t *server);
static ngx_uint_t was_tried(const ngx_pointsman_peer_t *peer, ngx_uint_t index);
static ngx_uint_t has_room(const ngx_http_upstream_rr_peer_t *server);
static void tell_health(ngx_pointsman_upstream_t *upstream, ngx_pointsman_member_t *member,
                        ngx_uint_t healthy);
static pointsman_status ask_router(ngx_pointsman_peer_t *peer, ngx_uint_t narrowed);
static void take(ngx_pointsman_peer_t *peer, ngx_peer_connection_t *pc, ngx_uint_t index);

#define TRIED_BITS (8 * sizeof(uintptr_t))

/* Where the list in use, servers or backups, begins among the members; and how long it is. */
static ngx_uint_t first_of(const ngx_pointsman_peer_t *peer)
{
    return peer->on_backups ? peer->upstream->primaries : 0;
}

static ngx_uint_t count_of(const ngx_pointsman_peer_t *peer)
{
    return peer->on_backups ? peer->upstream->backups : peer->upstream->primaries;
}

ngx_int_t ngx_pointsman_init_peer(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    ngx_pointsman_upstream_t *upstream = ngx_http_conf_upstream_srv_conf(us, ngx_http_pointsman_module);
    ngx_pointsman_peer_t *peer = ngx_pcalloc(r->pool, sizeof(ngx_pointsman_peer_t));
    if (peer == NULL) {
        return NGX_ERROR;
    }
    peer->request = r;
    peer->upstream = upstream;
    peer->expected_output_tokens = POINTSMAN_UNKNOWN;

    r->upstream->peer.data = &peer->round_robin;
    if (ngx_http_upstream_init_round_robin_peer(r, us) != NGX_OK) {
        return NGX_ERROR;
    }
#if (NGX_POINTSMAN_RESOLVES)
    ngx_pointsman_follow(upstream, peer->round_robin.peers);
#endif
    r->upstream->peer.get = get_peer;
    r->upstream->peer.free = free_peer;

    if (upstream->routing_key != NULL
        && ngx_http_complex_value(r, upstream->routing_key, &peer->routing_key) != NGX_OK) {
        return NGX_ERROR;
    }
    if (ngx_pointsman_read_prompt(peer) != NGX_OK) {
        return NGX_ERROR;
    }
    return ngx_pointsman_remember(peer);
}

/* Backups are asked when no other server is left; a request that came to them stays there. */
static ngx_int_t get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_pointsman_peer_t *peer = data;
    ngx_http_upstream_rr_peers_t *list = peer->round_robin.peers;

    pc->cached = 0;
    pc->connection = NULL;
    peer->selected = 0;
    peer->worker.len = 0;

    ngx_http_upstream_rr_peers_wlock(list);
#if (NGX_POINTSMAN_RESOLVES)
    /* The list has changed since: as in nginx's own balancing, the request's tries are over. */
    ngx_uint_t changed = peer->upstream->resolves && list->config != NULL
                         && (peer->round_robin.config != *list->config || peer->upstream->list_config != *list->config);
    if (changed) {
        ngx_http_upstream_rr_peers_unlock(list);
        pc->name = list->name;
        return NGX_BUSY;
    }
#endif
    ngx_int_t index = choose(peer);
    if (index >= 0) {
        take(peer, pc, (ngx_uint_t) index);
    }
    ngx_http_upstream_rr_peers_unlock(list);
    if (index >= 0) {
        return NGX_OK;
    }
    if (list->next == NULL) {
        pc->name = list->name;
        return NGX_BUSY;
    }
    size_t words = (list->next->number + TRIED_BITS - 1) / TRIED_BITS;
    ngx_memzero(peer->round_robin.tried, words * sizeof(uintptr_t));
    peer->round_robin.peers = list->next;
    peer->on_backups = 1;
    return get_peer(pc, data);
}

/* The place in its list of the router's choice, or of any server that may be chosen; -1: none may. */
static ngx_int_t choose(ngx_pointsman_peer_t *peer)
{
    ngx_pointsman_upstream_t *upstream = peer->upstream;
    ngx_uint_t narrowed;
    if (list_allowed(peer, &narrowed) == 0) {
        return -1;
    }
    if (ask_router(peer, narrowed) == POINTSMAN_OK) {
        return (ngx_int_t) (upstream->at_seat[peer->chosen.user_data] - first_of(peer));
    }
    ngx_log_error(NGX_LOG_WARN, peer->request->connection->log, 0,
                  "pointsman: upstream \"%V\": no choice, any server is taken: %s", &upstream->name,
                  pointsman_last_error());
    ngx_uint_t count = count_of(peer);
    ngx_uint_t index = (ngx_uint_t) ngx_random() % count;
    while (upstream->peers[first_of(peer) + index] == NULL) {
        index = (index + 1) % count;
    }
    return (ngx_int_t) index;
}

/*
 * Collects the servers that may be chosen, and returns how many: as pointers, as bits of their
 * workers' slots, and as narrowed = 0 if they are all that the router holds for healthy.
 */
static ngx_uint_t list_allowed(ngx_pointsman_peer_t *peer, ngx_uint_t *narrowed)
{
    ngx_pointsman_upstream_t *upstream = peer->upstream;
    ngx_http_upstream_rr_peers_t *list = peer->round_robin.peers;
    ngx_uint_t first = first_of(peer);
    ngx_uint_t allowed = 0;
    ngx_http_upstream_rr_peer_t *server = list->peer;

    *narrowed = upstream->backups != 0;
    ngx_memzero(upstream->allowed, sizeof(upstream->allowed));
    for (ngx_uint_t i = 0; i < count_of(peer); i++) {
        ngx_pointsman_member_t *member = &upstream->members[first + i];
        ngx_uint_t available = server != NULL && member->worker != 0 && is_available(list, server);
        tell_health(upstream, member, available);
        if (available && !was_tried(peer, i) && has_room(server)) {
            upstream->peers[first + i] = server;
            upstream->allowed[member->slot / 64] |= (uint64_t) 1 << (member->slot % 64);
            allowed++;
        } else {
            upstream->peers[first + i] = NULL;
            *narrowed |= available;
        }
        server = server != NULL ? server->next : NULL;
    }
    return allowed;
}

/* As round robin sees it: an only server is asked however often it failed. */
static ngx_uint_t is_available(ngx_http_upstream_rr_peers_t *list, ngx_http_upstream_rr_peer_t *server)
{
    if (server->down) {
        return 0;
    }
    return list->single || server->max_fails == 0 || server->fails < server->max_fails
           || ngx_time() - server->checked > server->fail_timeout;
}

static ngx_uint_t was_tried(const ngx_pointsman_peer_t *peer, ngx_uint_t index)
{
    return (peer->round_robin.tried[index / TRIED_BITS] >> (index % TRIED_BITS)) & 1;
}

static ngx_uint_t has_room(const ngx_http_upstream_rr_peer_t *server)
{
    return server->max_conns == 0 || server->conns < server->max_conns;
}

static void tell_health(ngx_pointsman_upstream_t *upstream, ngx_pointsman_member_t *member,
                        ngx_uint_t healthy)
{
    if (member->worker != 0 && member->healthy != healthy) {
        member->healthy = healthy & 1;
        (void) pointsman_worker_set_health(upstream->router, member->worker,
                                           healthy ? POINTSMAN_HEALTH_HEALTHY : POINTSMAN_HEALTH_UNHEALTHY);
    }
}

static pointsman_status ask_router(ngx_pointsman_peer_t *peer, ngx_uint_t narrowed)
{
    ngx_pointsman_upstream_t *upstream = peer->upstream;
    pointsman_request request = POINTSMAN_REQUEST_INIT;
    pointsman_selection chosen = POINTSMAN_SELECTION_INIT;
    if (peer->prompt.hash_count != 0) {
        request.prompt_kind = POINTSMAN_PROMPT_FINGERPRINT;
        request.prompt = &peer->prompt;
    }
    if (peer->routing_key.len != 0) {
        request.routing_key = peer->routing_key.data;
        request.routing_key_length = peer->routing_key.len;
    }
    if (narrowed) {
        request.allowed_words = upstream->allowed;
        request.allowed_words_count = NGX_POINTSMAN_WORDS;
    }
    request.expected_output_tokens = peer->expected_output_tokens;
    peer->dispatched = pointsman_router_now(upstream->router);
    request.now = peer->dispatched;
    ngx_pointsman_report_loads(upstream, peer->dispatched);
    pointsman_status status = pointsman_select(upstream->router, &request, &chosen);
    if (status == POINTSMAN_OK) {
        peer->chosen = chosen;
        peer->selected = 1;
        peer->open = 1;
        peer->waiting = 1;
        ngx_memzero(&peer->usage, sizeof(peer->usage));
        ngx_pointsman_count_waiting(upstream, (ngx_uint_t) chosen.user_data, 1);
        upstream->changed = 1;
    }
    return status;
}

/*
 * Updates round robin's state for a server that it did not choose. An only server may be tried again: nginx
 * does when a kept connection to it turns out to be closed.
 */
static void take(ngx_pointsman_peer_t *peer, ngx_peer_connection_t *pc, ngx_uint_t index)
{
    ngx_http_upstream_rr_peer_t *server = peer->upstream->peers[first_of(peer) + index];
    if (!peer->round_robin.peers->single) {
        peer->round_robin.tried[index / TRIED_BITS] |= (uintptr_t) 1 << (index % TRIED_BITS);
    }
    peer->round_robin.current = server;
#if (NGX_POINTSMAN_RESOLVES)
    /* It stays until it is given back; the access log, which is written later, needs a copy of its name. */
    ngx_http_upstream_rr_peer_ref(peer->round_robin.peers, server);
    peer->worker.data = ngx_pstrdup(peer->request->pool, &server->name);
    peer->worker.len = peer->worker.data != NULL ? server->name.len : 0;
#else
    peer->worker = server->name;
#endif
    server->conns++;
    if (ngx_time() - server->checked > server->fail_timeout) {
        server->checked = ngx_time();
    }
    pc->sockaddr = server->sockaddr;
    pc->socklen = server->socklen;
    pc->name = &server->name;
}

static void free_peer(ngx_peer_connection_t *pc, void *data, ngx_uint_t state)
{
    ngx_pointsman_peer_t *peer = data;
    if (peer->open) {
        ngx_pointsman_complete(peer, pc, state);
        peer->open = 0;
    }
    ngx_http_upstream_free_round_robin_peer(pc, &peer->round_robin, state);
}
