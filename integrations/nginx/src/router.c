/*
 * One router for each upstream, from the configuration's reading to a process's end.
 *
 * It is built while the configuration is read, so that a mistake in it is refused at once, and again
 * for every reload. The worker processes inherit it by fork: with its workers and its hash key, and
 * from then on as their own. The common key makes the processes agree on a worker for a new prompt
 * without talking; see "replicas".
 */

#include "pointsman_nginx.h"

#include <errno.h>
#include <sys/random.h>

/* Block hashes of a prompt, in a process's scratch memory: 2 MiB of text with the default blocks. */
#define PROMPT_BLOCKS 16384

static ngx_int_t common_hash_key(ngx_conf_t *cf, u_char **key);
static pointsman_status set_policy(pointsman_builder *builder, ngx_pointsman_upstream_t *upstream);
static pointsman_status configure(pointsman_builder *builder, ngx_pointsman_upstream_t *upstream,
                                  u_char *hash_key);
static void free_router(void *data);
static size_t policy_with_replicas(u_char *buffer, size_t capacity, ngx_uint_t replicas);

/* Reads the settings into a router; pointsman_last_error tells why it is none. */
ngx_int_t ngx_pointsman_build_router(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream)
{
    pointsman_builder *builder;
    u_char *hash_key = upstream->hash_key;
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    if (cleanup == NULL || (!upstream->hash_key_set && common_hash_key(cf, &hash_key) != NGX_OK)
        || pointsman_builder_new(&builder) != POINTSMAN_OK) {
        return NGX_ERROR;
    }
    pointsman_status status = configure(builder, upstream, hash_key);
    if (status == POINTSMAN_OK) {
        status = pointsman_builder_build(builder, &upstream->router);
    }
    pointsman_builder_free(builder);
    if (status != POINTSMAN_OK) {
        return NGX_ERROR;
    }
    cleanup->handler = free_router;
    cleanup->data = upstream;
    return NGX_OK;
}

/* Drawn once for the master, so that a reload leaves prompts with the workers agreed on. */
static ngx_int_t common_hash_key(ngx_conf_t *cf, u_char **key)
{
    static u_char common[32];
    static ngx_uint_t drawn;
    if (!drawn && getrandom(common, sizeof(common), 0) != (ssize_t) sizeof(common)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, errno, "\"pointsman\" directive: getrandom() failed");
        return NGX_ERROR;
    }
    drawn = 1;
    *key = common;
    return NGX_OK;
}

static pointsman_status configure(pointsman_builder *builder, ngx_pointsman_upstream_t *upstream,
                                  u_char *hash_key)
{
    pointsman_status status = POINTSMAN_OK;
    if (upstream->config.len != 0) {
        status = pointsman_builder_set_config(builder, (char *) upstream->config.data, upstream->config.len);
    }
    if (status == POINTSMAN_OK) {
        status = set_policy(builder, upstream);
    }
    if (status == POINTSMAN_OK && upstream->budget != 0) {
        status = pointsman_builder_set_tree_budget(builder, (uint64_t) upstream->budget);
    }
    if (status == POINTSMAN_OK) {
        status = pointsman_builder_set_hash_key(builder, hash_key, sizeof(upstream->hash_key));
    }
    return status;
}

static pointsman_status set_policy(pointsman_builder *builder, ngx_pointsman_upstream_t *upstream)
{
    if (upstream->policy.len == 0) {
        return POINTSMAN_OK;
    }
    return pointsman_builder_set_policy(builder, (char *) upstream->policy.data, upstream->policy.len);
}

/* The end of the configuration's memory: in the master, and in each process. */
static void free_router(void *data)
{
    ngx_pointsman_upstream_t *upstream = data;
    pointsman_fingerprinter_free(upstream->fingerprinter);
    pointsman_router_free(upstream->router);
    upstream->fingerprinter = NULL;
    upstream->router = NULL;
}

/* The upstream's servers are known: every address becomes a worker. */
ngx_int_t ngx_pointsman_init_upstream(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    ngx_pointsman_upstream_t *upstream = ngx_http_conf_upstream_srv_conf(us, ngx_http_pointsman_module);
    if (ngx_http_upstream_init_round_robin(cf, us) != NGX_OK) {
        return NGX_ERROR;
    }
    us->peer.init = ngx_pointsman_init_peer;
    return ngx_pointsman_add_members(cf, upstream, us);
}

/* Refuses upstreams whose balancing method was redefined after the directive. */
ngx_int_t ngx_pointsman_check_routers(ngx_conf_t *cf)
{
    ngx_pointsman_main_t *main = ngx_http_conf_get_module_main_conf(cf, ngx_http_pointsman_module);
    ngx_pointsman_upstream_t **upstreams = main->upstreams.elts;
    for (ngx_uint_t i = 0; i < main->upstreams.nelts; i++) {
        if (upstreams[i]->members == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"pointsman\" directive: upstream \"%V\" has another balancing method, too",
                          &upstreams[i]->name);
            return NGX_ERROR;
        }
    }
    return NGX_OK;
}

/*
 * In the master, before it forks: only now is it sure how many processes there will be, as
 * "worker_processes" may stand after the http block.
 */
void ngx_pointsman_init_routers(ngx_cycle_t *cycle, ngx_pointsman_main_t *main)
{
    ngx_pointsman_upstream_t **upstreams = main->upstreams.elts;
    for (ngx_uint_t i = 0; i < main->upstreams.nelts; i++) {
        ngx_pointsman_upstream_t *upstream = upstreams[i];
        ngx_uint_t replicas =
            upstream->replicas != 0 ? upstream->replicas : ngx_pointsman_processes(cycle);
        if (replicas < 2 || !upstream->counts_replicas) {
            continue;
        }
        u_char policy[128];
        size_t length = policy_with_replicas(policy, sizeof(policy), replicas);
        if (pointsman_router_set_policy(upstream->router, (char *) policy, length) != POINTSMAN_OK) {
            ngx_log_error(NGX_LOG_ALERT, cycle->log, 0, "pointsman: upstream \"%V\" without replicas: %s",
                          &upstream->name, pointsman_last_error());
        }
    }
}

ngx_uint_t ngx_pointsman_processes(ngx_cycle_t *cycle)
{
    ngx_core_conf_t *core = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);
    return core->master && core->worker_processes > 0 ? (ngx_uint_t) core->worker_processes : 1;
}

static size_t policy_with_replicas(u_char *buffer, size_t capacity, ngx_uint_t replicas)
{
    u_char *end = ngx_snprintf(buffer, capacity,
                               "{\"cache_aware\": {\"rule\": {\"least_work\": {\"replicas\": %ui}}}}", replicas);
    return (size_t) (end - buffer);
}

/* In a process that was just forked. */
ngx_int_t ngx_pointsman_start_routers(ngx_cycle_t *cycle, ngx_pointsman_main_t *main)
{
    ngx_pointsman_upstream_t **upstreams = main->upstreams.elts;
    for (ngx_uint_t i = 0; i < main->upstreams.nelts; i++) {
        ngx_pointsman_upstream_t *upstream = upstreams[i];
        if (pointsman_router_after_fork(upstream->router) != POINTSMAN_OK
            || pointsman_fingerprinter_new(upstream->router, PROMPT_BLOCKS, &upstream->fingerprinter)
                   != POINTSMAN_OK) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "pointsman: upstream \"%V\": %s", &upstream->name,
                          pointsman_last_error());
            return NGX_ERROR;
        }
        ngx_pointsman_start_loads(upstream);
    }
    return NGX_OK;
}
