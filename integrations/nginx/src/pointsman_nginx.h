/*
 * What the module's files share. Each of nginx's worker processes is one thread, so nothing here locks.
 *
 *   module.c     the module: its directives and hooks
 *   settings.c   the "pointsman" directive: from words to settings, or a refusal
 *   router.c     one router for each upstream, from the configuration's reading to a process's end
 *   members.c    an upstream's servers, as the router's workers
 *   peer.c       one request: choose a worker, take its answer's end as the ticket's
 *   loads.c      what the processes tell each other
 *   body.c       the request's body, wherever nginx has put it, as a fingerprint
 *   response.c   the answer's first byte and the usage in it
 *   outcome.c    how a request ended
 *   status.c     the "pointsman_status" location
 *   merge.c      its text, from those of every process
 *   variables.c  the variables for the access log
 */
#ifndef POINTSMAN_NGINX_H
#define POINTSMAN_NGINX_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <pointsman.h>

#include "../../usage.h"

/* Since 1.27.3 the addresses of servers with "resolve" change at run time. */
#if (NGX_HTTP_UPSTREAM_ZONE && nginx_version >= 1027003)
#define NGX_POINTSMAN_RESOLVES 1
#else
#define NGX_POINTSMAN_RESOLVES 0
#endif

/* A router's workers at most, and as bits. */
#define NGX_POINTSMAN_MEMBERS 1024
#define NGX_POINTSMAN_WORDS (NGX_POINTSMAN_MEMBERS / 64)

/* One address of the upstream's servers: the router's worker for it. */
typedef struct {
    uint64_t    worker;
    uint32_t    slot;
    uint32_t    seat;       /* its worker's user_data: the same for as long as it is a member */
    unsigned    healthy:1;  /* as the router was told last */
} ngx_pointsman_member_t;

/* An upstream with a "pointsman" directive. */
typedef struct {
    ngx_str_t                      name;
    ngx_str_t                      policy;        /* a name or JSON; empty: as config says */
    ngx_str_t                      config;        /* JSON; empty: every default */
    off_t                          budget;        /* bytes; 0: the library's default */
    ngx_uint_t                     replicas;      /* 0: as many as there are worker processes */
    uint64_t                       kv_capacity;   /* tokens of each worker; 0: unknown */
    uint32_t                       prompt_kind;   /* of the POINTSMAN_PROMPT_ constants */
    ngx_http_complex_value_t      *cache_namespace;
    ngx_http_complex_value_t      *routing_key;
    u_char                         hash_key[32];
    unsigned                       hash_key_set:1;
    unsigned                       counts_replicas:1; /* the policy is least work, as the module sets it */

    pointsman_router              *router;
    pointsman_fingerprinter       *fingerprinter; /* of this process */

    ngx_pointsman_member_t        *members;       /* as nginx lists them, backups last */
    ngx_http_upstream_rr_peer_t  **peers;         /* scratch of one selection, as members */
    ngx_uint_t                     primaries;
    ngx_uint_t                     backups;
    uint32_t                      *at_seat;       /* by seat: the member's place among the members */
    ngx_uint_t                     list_config;   /* of nginx's list that the members were read from */
    uint64_t                       allowed[NGX_POINTSMAN_WORDS];  /* scratch of one selection: bits of slots */
    unsigned                       resolves:1;    /* the servers' addresses may change */

    ngx_uint_t                     processes;     /* that share counters; 0: none do */
    u_char                        *counters;      /* requests that wait, by process and member */
    size_t                         row;           /* bytes of one process */
    ngx_uint_t                    *told;          /* by member: what the router was told last */
    uint64_t                       told_at;

    unsigned                       changed:1;     /* since its metrics were published last */
} ngx_pointsman_upstream_t;

typedef struct {
    ngx_array_t                    upstreams;     /* of ngx_pointsman_upstream_t * */
    unsigned                       has_status:1;
} ngx_pointsman_main_t;

/* One request at such an upstream. */
typedef struct {
    ngx_http_upstream_rr_peer_data_t  round_robin;  /* first: nginx's own functions take it for theirs */
    ngx_http_request_t               *request;
    ngx_pointsman_upstream_t         *upstream;

    pointsman_fingerprint             prompt;       /* no hashes: none that could be read */
    uint32_t                          expected_output_tokens;
    ngx_str_t                         routing_key;

    pointsman_selection               chosen;       /* of the last attempt */
    ngx_str_t                         worker;
    uint64_t                          dispatched;   /* by the router's clock */
    unsigned                          selected:1;   /* chosen is the router's */
    unsigned                          open:1;       /* its ticket is to be completed */
    unsigned                          waiting:1;    /* for the answer's first byte */
    unsigned                          on_backups:1;

    usage_reader                      usage;
} ngx_pointsman_peer_t;

/* What a process published about an upstream. */
typedef struct {
    ngx_uint_t  process;
    ngx_str_t   upstream;
    ngx_str_t   text;
} ngx_pointsman_page_t;

extern ngx_module_t  ngx_http_pointsman_module;

/* settings.c */
char *ngx_pointsman_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* router.c */
ngx_int_t ngx_pointsman_build_router(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream);
ngx_int_t ngx_pointsman_init_upstream(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us);
ngx_int_t ngx_pointsman_check_routers(ngx_conf_t *cf);
void ngx_pointsman_init_routers(ngx_cycle_t *cycle, ngx_pointsman_main_t *main);
ngx_int_t ngx_pointsman_start_routers(ngx_cycle_t *cycle, ngx_pointsman_main_t *main);
ngx_uint_t ngx_pointsman_processes(ngx_cycle_t *cycle);

/* members.c */
ngx_int_t ngx_pointsman_add_members(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream,
                                    ngx_http_upstream_srv_conf_t *us);
void ngx_pointsman_follow(ngx_pointsman_upstream_t *upstream, ngx_http_upstream_rr_peers_t *list);

/* peer.c */
ngx_int_t ngx_pointsman_init_peer(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us);

/* loads.c */
void ngx_pointsman_init_loads(ngx_cycle_t *cycle, ngx_pointsman_main_t *main);
void ngx_pointsman_start_loads(ngx_pointsman_upstream_t *upstream);
void ngx_pointsman_count_waiting(ngx_pointsman_upstream_t *upstream, ngx_uint_t member, ngx_int_t change);
void ngx_pointsman_report_loads(ngx_pointsman_upstream_t *upstream, uint64_t now);

/* body.c */
ngx_int_t ngx_pointsman_read_prompt(ngx_pointsman_peer_t *peer);

/* outcome.c */
void ngx_pointsman_complete(ngx_pointsman_peer_t *peer, ngx_peer_connection_t *pc, ngx_uint_t state);

/* response.c */
void ngx_pointsman_init_filter(void);
void ngx_pointsman_stop_waiting(ngx_pointsman_peer_t *peer);
void ngx_pointsman_find_usage(ngx_pointsman_peer_t *peer, pointsman_completion *completion);

/* status.c */
char *ngx_pointsman_status_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
void ngx_pointsman_init_status(ngx_cycle_t *cycle, ngx_pointsman_main_t *main);
void ngx_pointsman_start_publishing(ngx_cycle_t *cycle, ngx_pointsman_main_t *main);

/* merge.c */
ngx_buf_t *ngx_pointsman_merge(ngx_pool_t *pool, const ngx_pointsman_page_t *pages, ngx_uint_t count);

/* variables.c */
ngx_int_t ngx_pointsman_add_variables(ngx_conf_t *cf);
ngx_int_t ngx_pointsman_remember(ngx_pointsman_peer_t *peer);

#endif
