/* The module: its directives and hooks. */

#include "pointsman_nginx.h"

static ngx_int_t postconfiguration(ngx_conf_t *cf);
static void *create_main(ngx_conf_t *cf);
static void *create_upstream(ngx_conf_t *cf);
static ngx_int_t init_module(ngx_cycle_t *cycle);
static ngx_int_t init_process(ngx_cycle_t *cycle);

static ngx_command_t commands[] = {
    {ngx_string("pointsman"), NGX_HTTP_UPS_CONF | NGX_CONF_ANY, ngx_pointsman_directive,
     NGX_HTTP_SRV_CONF_OFFSET, 0, NULL},
    {ngx_string("pointsman_status"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS,
     ngx_pointsman_status_directive, 0, 0, NULL},
    ngx_null_command,
};

static ngx_http_module_t context = {
    ngx_pointsman_add_variables,
    postconfiguration,
    create_main,
    NULL,
    create_upstream,
    NULL,
    NULL,
    NULL,
};

ngx_module_t ngx_http_pointsman_module = {
    NGX_MODULE_V1,
    &context,
    commands,
    NGX_HTTP_MODULE,
    NULL,
    init_module,
    init_process,
    NULL,
    NULL,
    NULL,
    NULL,
    NGX_MODULE_V1_PADDING,
};

static ngx_int_t postconfiguration(ngx_conf_t *cf)
{
    ngx_pointsman_init_filter();
    return ngx_pointsman_check_routers(cf);
}

static void *create_main(ngx_conf_t *cf)
{
    ngx_pointsman_main_t *main = ngx_pcalloc(cf->pool, sizeof(ngx_pointsman_main_t));
    if (main == NULL
        || ngx_array_init(&main->upstreams, cf->pool, 2, sizeof(ngx_pointsman_upstream_t *)) != NGX_OK) {
        return NULL;
    }
    return main;
}

static void *create_upstream(ngx_conf_t *cf)
{
    ngx_pointsman_upstream_t *upstream = ngx_pcalloc(cf->pool, sizeof(ngx_pointsman_upstream_t));
    if (upstream != NULL) {
        upstream->prompt_kind = POINTSMAN_PROMPT_JSON;
    }
    return upstream;
}

/* In the master, once the configuration is complete: an error here would end it. */
static ngx_int_t init_module(ngx_cycle_t *cycle)
{
    ngx_pointsman_main_t *main = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_pointsman_module);
    if (main == NULL) {
        return NGX_OK;
    }
    ngx_pointsman_init_routers(cycle, main);
    ngx_pointsman_init_loads(cycle, main);
    ngx_pointsman_init_status(cycle, main);
    return NGX_OK;
}

/* In each process, after it was forked. */
static ngx_int_t init_process(ngx_cycle_t *cycle)
{
    ngx_pointsman_main_t *main = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_pointsman_module);
    if (main == NULL) {
        return NGX_OK;
    }
    if (ngx_pointsman_start_routers(cycle, main) != NGX_OK) {
        return NGX_ERROR;
    }
    ngx_pointsman_start_publishing(cycle, main);
    return NGX_OK;
}
