/* The "pointsman" directive: from words to settings, or a refusal that says which and why. */

#include "pointsman_nginx.h"

#define DIRECTIVE "\"pointsman\" directive: "

typedef ngx_int_t (*setter_t)(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value);

typedef struct {
    ngx_str_t    name;
    setter_t     set;
    const char  *expected;
} parameter_t;

static ngx_int_t set_policy(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value);
static ngx_int_t set_config(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value);
static ngx_int_t set_budget(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value);
static ngx_int_t set_replicas(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value);
static ngx_int_t set_kv_capacity(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value);
static ngx_int_t set_prompt(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value);
static ngx_int_t set_namespace(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value);
static ngx_int_t set_routing_key(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value);
static ngx_int_t set_hash_key(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value);

static const parameter_t parameters[] = {
    {ngx_string("policy"), set_policy, "a policy's name or its JSON"},
    {ngx_string("config"), set_config, "a router's configuration as JSON"},
    {ngx_string("budget"), set_budget, "a size such as 64m"},
    {ngx_string("replicas"), set_replicas, "a number from 1 to 65536, or auto"},
    {ngx_string("kv_capacity"), set_kv_capacity, "a number of tokens"},
    {ngx_string("prompt"), set_prompt, "json, text or none"},
    {ngx_string("namespace"), set_namespace, "text with variables"},
    {ngx_string("routing_key"), set_routing_key, "text with variables"},
    {ngx_string("hash_key"), set_hash_key, "64 hexadecimal digits"},
};

#define PARAMETERS (sizeof(parameters) / sizeof(parameters[0]))

static const parameter_t *find_parameter(ngx_str_t *word, ngx_str_t *value);
static char *check_together(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream);
static ngx_uint_t is_one_of(const ngx_str_t *word, const char *const *names);

/* Policies that do not look at prompts. */
static const char *const promptless[] = {"random", "round_robin", "power_of_two", NULL};

/* The names of the least-work rule with its defaults, to which the module can add the replicas. */
static const char *const least_work[] = {"cache_aware", "least_work", NULL};

char *ngx_pointsman_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_pointsman_upstream_t *upstream = conf;
    ngx_http_upstream_srv_conf_t *us = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);
    ngx_pointsman_main_t *main = ngx_http_conf_get_module_main_conf(cf, ngx_http_pointsman_module);
    ngx_str_t *words = cf->args->elts;
    uint32_t seen = 0;

    if (upstream->router != NULL) {
        return "is duplicate";
    }
    if (us->peer.init_upstream != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           DIRECTIVE "must come before \"keepalive\", and instead of another "
                                     "balancing method");
        return NGX_CONF_ERROR;
    }
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        ngx_str_t value;
        const parameter_t *parameter = find_parameter(&words[i], &value);
        if (parameter == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               DIRECTIVE "unknown parameter \"%V\"; known are policy, config, budget, "
                                         "replicas, kv_capacity, prompt, namespace, routing_key and "
                                         "hash_key, each with =value",
                               &words[i]);
            return NGX_CONF_ERROR;
        }
        uint32_t bit = 1u << (parameter - parameters);
        if (seen & bit) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, DIRECTIVE "\"%V\" is given twice", &parameter->name);
            return NGX_CONF_ERROR;
        }
        seen |= bit;
        if (value.len == 0 || parameter->set(cf, upstream, &value) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, DIRECTIVE "\"%V\" wants %s", &parameter->name,
                               parameter->expected);
            return NGX_CONF_ERROR;
        }
    }
    upstream->name = us->host;
    char *refusal = check_together(cf, upstream);
    if (refusal != NGX_CONF_OK) {
        return refusal;
    }
    if (ngx_pointsman_build_router(cf, upstream) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, DIRECTIVE "%s", pointsman_last_error());
        return NGX_CONF_ERROR;
    }
    ngx_pointsman_upstream_t **entry = ngx_array_push(&main->upstreams);
    if (entry == NULL) {
        return NGX_CONF_ERROR;
    }
    *entry = upstream;
    us->peer.init_upstream = ngx_pointsman_init_upstream;
    us->flags = NGX_HTTP_UPSTREAM_CREATE | NGX_HTTP_UPSTREAM_WEIGHT | NGX_HTTP_UPSTREAM_MAX_CONNS
                | NGX_HTTP_UPSTREAM_MAX_FAILS | NGX_HTTP_UPSTREAM_FAIL_TIMEOUT | NGX_HTTP_UPSTREAM_DOWN
                | NGX_HTTP_UPSTREAM_BACKUP;
#if (NGX_POINTSMAN_RESOLVES)
    us->flags |= NGX_HTTP_UPSTREAM_MODIFY;
#endif
    return NGX_CONF_OK;
}

/* The parameter whose name and "=" the word begins with; value gets what follows. */
static const parameter_t *find_parameter(ngx_str_t *word, ngx_str_t *value)
{
    for (ngx_uint_t i = 0; i < PARAMETERS; i++) {
        const ngx_str_t *name = &parameters[i].name;
        if (word->len > name->len && word->data[name->len] == '='
            && ngx_strncmp(word->data, name->data, name->len) == 0) {
            value->data = word->data + name->len + 1;
            value->len = word->len - name->len - 1;
            return &parameters[i];
        }
    }
    return NULL;
}

/* Refuses what would be ignored in silence, and spares work that would be. */
static char *check_together(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream)
{
    ngx_str_t *policy = &upstream->policy;
    if (is_one_of(policy, promptless)) {
        upstream->prompt_kind = POINTSMAN_PROMPT_NONE;
    }
    upstream->counts_replicas =
        policy->len != 0 ? is_one_of(policy, least_work) & 1 : upstream->config.len == 0;
    if (upstream->replicas != 0 && !upstream->counts_replicas) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           DIRECTIVE "\"replicas\" goes with policy=cache_aware or policy=least_work; "
                                     "a policy in JSON has a field of that name");
        return NGX_CONF_ERROR;
    }
    return NGX_CONF_OK;
}

static ngx_uint_t is_one_of(const ngx_str_t *word, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (ngx_strlen(*names) == word->len && ngx_strncmp(word->data, *names, word->len) == 0) {
            return 1;
        }
    }
    return 0;
}

static ngx_int_t set_policy(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value)
{
    upstream->policy = *value;
    return NGX_OK;
}

static ngx_int_t set_config(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value)
{
    upstream->config = *value;
    return NGX_OK;
}

static ngx_int_t set_budget(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value)
{
    upstream->budget = ngx_parse_offset(value);
    return upstream->budget > 0 ? NGX_OK : NGX_ERROR;
}

static ngx_int_t set_replicas(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value)
{
    if (value->len == 4 && ngx_strncmp(value->data, "auto", 4) == 0) {
        return NGX_OK;
    }
    ngx_int_t number = ngx_atoi(value->data, value->len);
    if (number < 1 || number > 65536) {
        return NGX_ERROR;
    }
    upstream->replicas = (ngx_uint_t) number;
    return NGX_OK;
}

static ngx_int_t set_kv_capacity(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value)
{
    ngx_int_t number = ngx_atoi(value->data, value->len);
    if (number < 1) {
        return NGX_ERROR;
    }
    upstream->kv_capacity = (uint64_t) number;
    return NGX_OK;
}

static ngx_int_t set_prompt(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value)
{
    static const struct {
        ngx_str_t  name;
        uint32_t   kind;
    } kinds[] = {
        {ngx_string("json"), POINTSMAN_PROMPT_JSON},
        {ngx_string("text"), POINTSMAN_PROMPT_TEXT},
        {ngx_string("none"), POINTSMAN_PROMPT_NONE},
    };
    for (ngx_uint_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (value->len == kinds[i].name.len
            && ngx_strncmp(value->data, kinds[i].name.data, value->len) == 0) {
            upstream->prompt_kind = kinds[i].kind;
            return NGX_OK;
        }
    }
    return NGX_ERROR;
}

static ngx_int_t compile(ngx_conf_t *cf, ngx_str_t *value, ngx_http_complex_value_t **compiled)
{
    ngx_http_compile_complex_value_t compile;
    *compiled = ngx_pcalloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (*compiled == NULL) {
        return NGX_ERROR;
    }
    ngx_memzero(&compile, sizeof(compile));
    compile.cf = cf;
    compile.value = value;
    compile.complex_value = *compiled;
    return ngx_http_compile_complex_value(&compile);
}

static ngx_int_t set_namespace(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value)
{
    return compile(cf, value, &upstream->cache_namespace);
}

static ngx_int_t set_routing_key(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value)
{
    return compile(cf, value, &upstream->routing_key);
}

static ngx_int_t set_hash_key(ngx_conf_t *cf, ngx_pointsman_upstream_t *upstream, ngx_str_t *value)
{
    if (value->len != 2 * sizeof(upstream->hash_key)) {
        return NGX_ERROR;
    }
    for (size_t i = 0; i < sizeof(upstream->hash_key); i++) {
        ngx_int_t byte = ngx_hextoi(value->data + 2 * i, 2);
        if (byte == NGX_ERROR) {
            return NGX_ERROR;
        }
        upstream->hash_key[i] = (u_char) byte;
    }
    upstream->hash_key_set = 1;
    return NGX_OK;
}
