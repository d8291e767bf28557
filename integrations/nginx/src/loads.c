/*
 * What the processes tell each other: how many requests wait for their first byte at each worker.
 *
 * A router knows of the requests that it sent itself. The others' are in counters in shared memory,
 * one row for each process, written by that process only; a router is told the sum as if the worker
 * had reported it. The least-work rule takes it from there.
 */

#include "pointsman_nginx.h"

/* A report is repeated after this time, in nanoseconds: the rule believes it for 2 s. */
#define REPEAT 1000000000ull

#define CACHE_LINE 64

static ngx_int_t share_counters(ngx_cycle_t *cycle, ngx_pointsman_upstream_t *upstream);
static void free_memory(void *data);
static ngx_atomic_t *counters_of(ngx_pointsman_upstream_t *upstream, ngx_uint_t process);
static ngx_uint_t member_count(ngx_pointsman_upstream_t *upstream);

/* In the master. Without memory the processes know less of each other, which is no reason not to start. */
void ngx_pointsman_init_loads(ngx_cycle_t *cycle, ngx_pointsman_main_t *main)
{
    ngx_pointsman_upstream_t **upstreams = main->upstreams.elts;
    ngx_uint_t processes = ngx_pointsman_processes(cycle);
    for (ngx_uint_t i = 0; i < main->upstreams.nelts; i++) {
        upstreams[i]->processes = 0;
        /* Where servers change, a seat is not the same server in every process. */
        if (processes > 1 && upstreams[i]->counts_replicas && !upstreams[i]->resolves
            && share_counters(cycle, upstreams[i]) == NGX_OK) {
            upstreams[i]->processes = processes;
        }
    }
}

static ngx_int_t share_counters(ngx_cycle_t *cycle, ngx_pointsman_upstream_t *upstream)
{
    ngx_shm_t memory;
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(cycle->pool, sizeof(ngx_shm_t));
    upstream->told = ngx_pcalloc(cycle->pool, member_count(upstream) * sizeof(ngx_uint_t));
    if (cleanup == NULL || upstream->told == NULL) {
        return NGX_ERROR;
    }
    ngx_memzero(&memory, sizeof(memory));
    upstream->row = ngx_align(member_count(upstream) * sizeof(ngx_atomic_t), CACHE_LINE);
    memory.size = upstream->row * ngx_pointsman_processes(cycle);
    memory.log = cycle->log;
    ngx_str_set(&memory.name, "pointsman");
    if (ngx_shm_alloc(&memory) != NGX_OK) {
        return NGX_ERROR;
    }
    upstream->counters = memory.addr;
    *(ngx_shm_t *) cleanup->data = memory;
    cleanup->handler = free_memory;
    return NGX_OK;
}

static void free_memory(void *data)
{
    ngx_shm_free(data);
}

/* In each process: the one that had its place before may have died with requests under way. */
void ngx_pointsman_start_loads(ngx_pointsman_upstream_t *upstream)
{
    if (ngx_process != NGX_PROCESS_WORKER || ngx_worker >= upstream->processes) {
        upstream->processes = 0;
        return;
    }
    for (ngx_uint_t i = 0; i < member_count(upstream); i++) {
        counters_of(upstream, ngx_worker)[i] = 0;
    }
}

/* One request more or less, change being 1 or -1, that waits at this member. */
void ngx_pointsman_count_waiting(ngx_pointsman_upstream_t *upstream, ngx_uint_t member, ngx_int_t change)
{
    if (upstream->processes != 0) {
        counters_of(upstream, ngx_worker)[member] += (ngx_atomic_uint_t) change;
    }
}

/* Tells the router what is new, before it chooses. O(processes * members). */
void ngx_pointsman_report_loads(ngx_pointsman_upstream_t *upstream, uint64_t now)
{
    if (upstream->processes == 0) {
        return;
    }
    ngx_uint_t repeat = now - upstream->told_at > REPEAT;
    if (repeat) {
        upstream->told_at = now;
    }
    for (ngx_uint_t i = 0; i < member_count(upstream); i++) {
        ngx_uint_t waiting = 0;
        for (ngx_uint_t process = 0; process < upstream->processes; process++) {
            waiting += counters_of(upstream, process)[i];
        }
        if (waiting == upstream->told[i] && !repeat) {
            continue;
        }
        pointsman_load load = POINTSMAN_LOAD_INIT;
        load.running = waiting != 0;
        load.waiting = (uint32_t) (waiting - load.running);
        load.at = now;
        upstream->told[i] = waiting;
        (void) pointsman_worker_report_load(upstream->router, upstream->members[i].worker, &load);
    }
}

static ngx_atomic_t *counters_of(ngx_pointsman_upstream_t *upstream, ngx_uint_t process)
{
    return (ngx_atomic_t *) (upstream->counters + process * upstream->row);
}

static ngx_uint_t member_count(ngx_pointsman_upstream_t *upstream)
{
    return upstream->primaries + upstream->backups;
}
