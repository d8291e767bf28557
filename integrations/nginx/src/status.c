/*
 * The "pointsman_status" location: every process's metrics as one page in the OpenMetrics format.
 *
 * Each process publishes the text of each of its routers on a page of shared memory: once a second if
 * there was traffic, and when it is asked itself. The process that is asked joins the pages, see
 * merge.c. A page has one writer; a reader that meets it while it is written reads again.
 */

#include "pointsman_nginx.h"

/* Between two publications, in milliseconds. */
#define PERIOD 1000

/* Room for workers that are not there yet, in bytes: each takes about 3 KiB. */
#define RESOLVED (256 * 1024)

/* Attempts at a page that is being written. */
#define ATTEMPTS 1000

/* In shared memory. version is odd while the text is written. */
typedef struct {
    ngx_atomic_t  version;
    size_t        length;
    u_char        text[];
} page_t;

/* Of this cycle, inherited by its processes. */
static struct {
    ngx_pointsman_main_t  *main;
    ngx_shm_t              memory;
    size_t                 page_size;
    ngx_uint_t             processes;
    u_char                *scratch;  /* a text before it is published, of page_size */
} pages;

static ngx_event_t publisher;
static ngx_connection_t publisher_connection; /* the event's log wants one */

static ngx_int_t status_handler(ngx_http_request_t *r);
static size_t largest_page(ngx_pointsman_main_t *main);
static page_t *page_of(ngx_uint_t process, ngx_uint_t upstream);
static void publish_changed(ngx_event_t *event);
static void publish(ngx_uint_t upstream);
static ngx_int_t read_page(ngx_pool_t *pool, page_t *page, ngx_str_t *text);
static void free_memory(void *data);

char *ngx_pointsman_status_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_pointsman_main_t *main = ngx_http_conf_get_module_main_conf(cf, ngx_http_pointsman_module);
    ngx_http_core_loc_conf_t *location = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    main->has_status = 1;
    location->handler = status_handler;
    return NGX_CONF_OK;
}

/* In the master. Without memory the page tells of one process only, which is no reason not to start. */
void ngx_pointsman_init_status(ngx_cycle_t *cycle, ngx_pointsman_main_t *main)
{
    ngx_memzero(&pages, sizeof(pages));
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(cycle->pool, sizeof(ngx_shm_t));
    if (!main->has_status || main->upstreams.nelts == 0 || cleanup == NULL) {
        return;
    }
    pages.main = main;
    pages.processes = ngx_pointsman_processes(cycle);
    pages.page_size = ngx_align(largest_page(main), ngx_pagesize);
    pages.memory.size = pages.page_size * pages.processes * main->upstreams.nelts;
    pages.memory.log = cycle->log;
    ngx_str_set(&pages.memory.name, "pointsman_status");
    pages.scratch = ngx_palloc(cycle->pool, pages.page_size);
    if (pages.scratch == NULL || ngx_shm_alloc(&pages.memory) != NGX_OK) {
        pages.main = NULL;
        return;
    }
    *(ngx_shm_t *) cleanup->data = pages.memory;
    cleanup->handler = free_memory;
}

/* Room for the texts to grow: numbers get longer, and reasons appear that were not met before. */
static size_t largest_page(ngx_pointsman_main_t *main)
{
    ngx_pointsman_upstream_t **upstreams = main->upstreams.elts;
    size_t largest = 0;
    for (ngx_uint_t i = 0; i < main->upstreams.nelts; i++) {
        u_char nothing[1];
        size_t length = 0;
        (void) pointsman_router_prometheus(upstreams[i]->router, POINTSMAN_NOW, (char *) nothing, 1, &length);
        largest = ngx_max(largest, length + (upstreams[i]->resolves ? RESOLVED : 0));
    }
    return sizeof(page_t) + 2 * largest + 4096;
}

static void free_memory(void *data)
{
    ngx_shm_free(data);
}

/* In each process that serves requests. */
void ngx_pointsman_start_publishing(ngx_cycle_t *cycle, ngx_pointsman_main_t *main)
{
    if (pages.main != main || (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)) {
        return;
    }
    for (ngx_uint_t i = 0; i < main->upstreams.nelts; i++) {
        publish(i);
    }
    publisher_connection.fd = (ngx_socket_t) -1;
    publisher.handler = publish_changed;
    publisher.data = &publisher_connection;
    publisher.log = cycle->log;
    publisher.cancelable = 1;
    ngx_add_timer(&publisher, PERIOD);
}

static page_t *page_of(ngx_uint_t process, ngx_uint_t upstream)
{
    size_t index = process * pages.main->upstreams.nelts + upstream;
    return (page_t *) (pages.memory.addr + index * pages.page_size);
}

static void publish_changed(ngx_event_t *event)
{
    ngx_pointsman_upstream_t **upstreams = pages.main->upstreams.elts;
    for (ngx_uint_t i = 0; i < pages.main->upstreams.nelts; i++) {
        if (upstreams[i]->changed) {
            publish(i);
        }
    }
    if (!ngx_exiting) {
        ngx_add_timer(event, PERIOD);
    }
}

static void publish(ngx_uint_t index)
{
    ngx_pointsman_upstream_t *upstream = ((ngx_pointsman_upstream_t **) pages.main->upstreams.elts)[index];
    ngx_uint_t process = ngx_process == NGX_PROCESS_WORKER ? ngx_worker : 0;
    size_t length;
    if (process >= pages.processes
        || pointsman_router_prometheus(upstream->router, POINTSMAN_NOW, (char *) pages.scratch,
                                       pages.page_size - sizeof(page_t), &length)
               != POINTSMAN_OK) {
        return;
    }
    page_t *page = page_of(process, index);
    page->version |= 1; /* also where a process died while it wrote */
    ngx_memory_barrier();
    ngx_memcpy(page->text, pages.scratch, length);
    page->length = length;
    ngx_memory_barrier();
    page->version++;
    upstream->changed = 0;
}

/* Copies what a process published; an empty text if it died while it did. */
static ngx_int_t read_page(ngx_pool_t *pool, page_t *page, ngx_str_t *text)
{
    text->len = 0;
    text->data = ngx_palloc(pool, pages.page_size);
    if (text->data == NULL) {
        return NGX_ERROR;
    }
    for (ngx_uint_t i = 0; i < ATTEMPTS; i++) {
        ngx_atomic_uint_t before = page->version;
        ngx_memory_barrier();
        size_t length = page->length;
        if ((before & 1) == 0 && length <= pages.page_size - sizeof(page_t)) {
            ngx_memcpy(text->data, page->text, length);
            ngx_memory_barrier();
            if (page->version == before) {
                text->len = length;
                return NGX_OK;
            }
        }
        ngx_cpu_pause();
    }
    return NGX_OK;
}

static ngx_int_t status_handler(ngx_http_request_t *r)
{
    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }
    ngx_int_t rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }
    if (pages.main == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }
    ngx_uint_t upstreams = pages.main->upstreams.nelts;
    ngx_uint_t count = pages.processes * upstreams;
    ngx_pointsman_page_t *read = ngx_palloc(r->pool, count * sizeof(ngx_pointsman_page_t));
    if (read == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    for (ngx_uint_t i = 0; i < upstreams; i++) {
        publish(i);
    }
    for (ngx_uint_t i = 0; i < count; i++) {
        read[i].process = i / upstreams;
        read[i].upstream = ((ngx_pointsman_upstream_t **) pages.main->upstreams.elts)[i % upstreams]->name;
        if (read_page(r->pool, page_of(read[i].process, i % upstreams), &read[i].text) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    ngx_buf_t *body = ngx_pointsman_merge(r->pool, read, count);
    if (body == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ngx_chain_t out = {body, NULL};
    body->last_buf = r == r->main;
    body->last_in_chain = 1;
    ngx_str_set(&r->headers_out.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = body->last - body->pos;
    rc = ngx_http_send_header(r);
    return rc == NGX_ERROR || rc > NGX_OK || r->header_only ? rc : ngx_http_output_filter(r, &out);
}
