/*
 * An upstream's servers, each address a worker of the router.
 *
 * The servers of most upstreams are those of the configuration. With "resolve" nginx changes its list, in shared
 * memory, when a name has got other addresses, and counts that; each process then brings its own members up to date,
 * before it chooses: a server that is still there keeps its worker, and so what the router knows of it.
 */

#include "pointsman_nginx.h"

static pointsman_status add_member(ngx_pointsman_upstream_t *upstream, ngx_http_upstream_rr_peer_t *peer,
                                   ngx_pointsman_member_t *member, uint32_t seat);
#if (NGX_POINTSMAN_RESOLVES)
static ngx_uint_t member_of(ngx_pointsman_upstream_t *upstream, ngx_http_upstream_rr_peer_t *peer);
static void add_missing(ngx_pointsman_upstream_t *upstream, ngx_http_upstream_rr_peers_t *list);
#endif

/* While the configuration is read. */
ngx_int_t ngx_pointsman_add_members(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream,
                                    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_rr_peers_t *peers = us->peer.data;
    upstream->primaries = peers->number;
    upstream->backups = peers->next != NULL ? peers->next->number : 0;
#if (NGX_POINTSMAN_RESOLVES)
    upstream->resolves = peers->resolve != NULL || (peers->next != NULL && peers->next->resolve != NULL);
#endif
    ngx_uint_t room = upstream->resolves ? NGX_POINTSMAN_MEMBERS : upstream->primaries + upstream->backups;
    upstream->members = ngx_pcalloc(cf->pool, room * sizeof(ngx_pointsman_member_t));
    upstream->peers = ngx_pcalloc(cf->pool, room * sizeof(ngx_http_upstream_rr_peer_t *));
    upstream->at_seat = ngx_pcalloc(cf->pool, room * sizeof(uint32_t));
    if (upstream->members == NULL || upstream->peers == NULL || upstream->at_seat == NULL) {
        return NGX_ERROR;
    }
    uint32_t seat = 0;
    for (; peers != NULL; peers = peers->next) {
        for (ngx_http_upstream_rr_peer_t *peer = peers->peer; peer != NULL; peer = peer->next, seat++) {
            pointsman_status status = add_member(upstream, peer, &upstream->members[seat], seat);
            if (status != POINTSMAN_OK) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "\"pointsman\" directive: server %V of upstream \"%V\" in %s:%ui: %s", &peer->name,
                              &us->host, us->file_name, us->line,
                              status == POINTSMAN_ALREADY_EXISTS ? "listed twice" : pointsman_last_error());
                return NGX_ERROR;
            }
            upstream->at_seat[seat] = seat;
        }
    }
    return NGX_OK;
}

/* nginx judges the servers' health by max_fails and down; the router is told, and judges nothing. */
static pointsman_status add_member(ngx_pointsman_upstream_t *upstream, ngx_http_upstream_rr_peer_t *peer,
                                   ngx_pointsman_member_t *member, uint32_t seat)
{
    pointsman_worker_spec spec = POINTSMAN_WORKER_SPEC_INIT;
    spec.url = (char *) peer->name.data;
    spec.url_length = peer->name.len;
    spec.weight = (double) peer->weight;
    if (upstream->kv_capacity != 0) {
        spec.kv_capacity_tokens = upstream->kv_capacity;
    }
    spec.user_data = seat;
    member->seat = seat;
    member->healthy = !peer->down;

    pointsman_status status =
        pointsman_worker_add(upstream->router, &spec, POINTSMAN_NOW, &member->worker);
    if (status == POINTSMAN_OK) {
        status = pointsman_worker_set_health(upstream->router, member->worker,
                                             peer->down ? POINTSMAN_HEALTH_UNHEALTHY
                                                        : POINTSMAN_HEALTH_HEALTHY);
    }
    if (status == POINTSMAN_OK) {
        status = pointsman_worker_slot(upstream->router, member->worker, &member->slot);
    }
    return status;
}

#if (NGX_POINTSMAN_RESOLVES)

/* Brings the members up to date with nginx's list. */
void ngx_pointsman_follow(ngx_pointsman_upstream_t *upstream, ngx_http_upstream_rr_peers_t *list)
{
    static ngx_pointsman_member_t fresh[NGX_POINTSMAN_MEMBERS];
    ngx_uint_t place = 0, count = upstream->primaries + upstream->backups;
    if (!upstream->resolves || list->config == NULL || upstream->list_config == *list->config) {
        return;
    }
    for (ngx_http_upstream_rr_peers_t *each = list; each != NULL; each = each->next) {
        ngx_http_upstream_rr_peers_rlock(each);
    }
    upstream->list_config = *list->config;
    for (ngx_http_upstream_rr_peers_t *each = list; each != NULL; each = each->next) {
        ngx_http_upstream_rr_peer_t *peer = each->peer;
        for (; peer != NULL && place < NGX_POINTSMAN_MEMBERS; peer = peer->next, place++) {
            ngx_uint_t at = member_of(upstream, peer);
            ngx_memzero(&fresh[place], sizeof(fresh[place]));
            if (at < count) {
                fresh[place] = upstream->members[at];
                upstream->members[at].worker = 0;
            }
        }
        if (each == list) {
            upstream->primaries = place;
        }
    }
    upstream->backups = place - upstream->primaries;
    for (ngx_uint_t i = 0; i < count; i++) {
        if (upstream->members[i].worker != 0) {
            (void) pointsman_worker_remove(upstream->router, upstream->members[i].worker, POINTSMAN_NOW);
        }
    }
    ngx_memcpy(upstream->members, fresh, place * sizeof(ngx_pointsman_member_t));
    add_missing(upstream, list);
    for (ngx_http_upstream_rr_peers_t *each = list; each != NULL; each = each->next) {
        ngx_http_upstream_rr_peers_unlock(each);
    }
    upstream->changed = 1;
}

/* The place of the server's member; past the last if it has none. */
static ngx_uint_t member_of(ngx_pointsman_upstream_t *upstream, ngx_http_upstream_rr_peer_t *peer)
{
    ngx_uint_t count = upstream->primaries + upstream->backups, at = 0;
    uint64_t worker;
    if (pointsman_worker_find(upstream->router, (char *) peer->name.data, peer->name.len, &worker)
        != POINTSMAN_OK) {
        return count;
    }
    while (at < count && upstream->members[at].worker != worker) {
        at++;
    }
    return at;
}

/*
 * Workers for the members that have none yet, at seats that are free. A server that the router does not take, as it is
 * there twice, stays without one, and is never chosen.
 */
static void add_missing(ngx_pointsman_upstream_t *upstream, ngx_http_upstream_rr_peers_t *list)
{
    static u_char taken[NGX_POINTSMAN_MEMBERS];
    ngx_uint_t count = upstream->primaries + upstream->backups, place = 0;
    uint32_t seat = 0;
    ngx_memzero(taken, sizeof(taken));
    for (ngx_uint_t i = 0; i < count; i++) {
        if (upstream->members[i].worker != 0) {
            taken[upstream->members[i].seat] = 1;
        }
    }
    for (; list != NULL; list = list->next) {
        ngx_http_upstream_rr_peer_t *peer = list->peer;
        for (; peer != NULL && place < count; peer = peer->next, place++) {
            ngx_pointsman_member_t *member = &upstream->members[place];
            if (member->worker == 0) {
                while (taken[seat]) {
                    seat++;
                }
                taken[seat] = 1;
                if (add_member(upstream, peer, member, seat) != POINTSMAN_OK) {
                    member->worker = 0;
                    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0, "pointsman: server %V of upstream \"%V\": %s",
                                  &peer->name, &upstream->name, pointsman_last_error());
                    continue;
                }
            }
            upstream->at_seat[member->seat] = (uint32_t) place;
        }
    }
}

#endif
