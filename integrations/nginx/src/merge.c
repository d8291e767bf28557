/*
 * Joins the Prometheus texts of several processes and upstreams into one: each family of metrics once,
 * with the samples of every page that has it, labelled with their process and upstream.
 */

#include "pointsman_nginx.h"

#define HELP "# HELP "
#define HELP_LENGTH (sizeof(HELP) - 1)

/* The last line of the format. */
#define END "# EOF\n"

/* A family: its two comment lines and its samples. */
typedef struct {
    ngx_str_t  name;
    ngx_str_t  comments;
    ngx_str_t  samples;
} family_t;

static ngx_int_t next_family(ngx_str_t *rest, family_t *family);
static ngx_int_t find_family(const ngx_str_t *text, const ngx_str_t *name, family_t *family);
static ngx_str_t cut_line(ngx_str_t *rest);
static u_char *put_samples(u_char *at, const ngx_pointsman_page_t *page, ngx_str_t samples);
static size_t room_for(const ngx_pointsman_page_t *pages, ngx_uint_t count);

ngx_buf_t *ngx_pointsman_merge(ngx_pool_t *pool, const ngx_pointsman_page_t *pages, ngx_uint_t count)
{
    ngx_buf_t *buffer = ngx_create_temp_buf(pool, room_for(pages, count));
    if (buffer == NULL) {
        return NULL;
    }
    for (ngx_uint_t i = 0; i < count; i++) {
        ngx_str_t rest = pages[i].text;
        family_t family, same;
        while (next_family(&rest, &family) == NGX_OK) {
            ngx_uint_t earlier = 0;
            while (earlier < i && find_family(&pages[earlier].text, &family.name, &same) != NGX_OK) {
                earlier++;
            }
            if (earlier < i) {
                continue; /* written with that page's */
            }
            buffer->last = ngx_cpymem(buffer->last, family.comments.data, family.comments.len);
            for (ngx_uint_t j = i; j < count; j++) {
                if (find_family(&pages[j].text, &family.name, &same) == NGX_OK) {
                    buffer->last = put_samples(buffer->last, &pages[j], same.samples);
                }
            }
        }
    }
    buffer->last = ngx_cpymem(buffer->last, END, sizeof(END) - 1);
    return buffer;
}

/* Every line may get the labels. */
static size_t room_for(const ngx_pointsman_page_t *pages, ngx_uint_t count)
{
    size_t room = sizeof(END);
    for (ngx_uint_t i = 0; i < count; i++) {
        size_t lines = 1;
        for (size_t at = 0; at < pages[i].text.len; at++) {
            lines += pages[i].text.data[at] == '\n';
        }
        room += pages[i].text.len
                + lines * (sizeof("{process=\"\",upstream=\"\"}") + NGX_INT_T_LEN + pages[i].upstream.len);
    }
    return room;
}

/* Cuts the next family off; NGX_DONE if there is none. */
static ngx_int_t next_family(ngx_str_t *rest, family_t *family)
{
    do {
        if (rest->len == 0) {
            return NGX_DONE;
        }
        family->comments = cut_line(rest);
    } while (family->comments.len <= HELP_LENGTH
             || ngx_strncmp(family->comments.data, HELP, HELP_LENGTH) != 0);

    family->name.data = family->comments.data + HELP_LENGTH;
    family->name.len = 0;
    while (family->name.len < family->comments.len - HELP_LENGTH && family->name.data[family->name.len] != ' ') {
        family->name.len++;
    }
    family->comments.len += cut_line(rest).len;
    family->samples.data = rest->data;
    while (rest->len != 0 && *rest->data != '#') {
        (void) cut_line(rest);
    }
    family->samples.len = (size_t) (rest->data - family->samples.data);
    return NGX_OK;
}

static ngx_int_t find_family(const ngx_str_t *text, const ngx_str_t *name, family_t *family)
{
    ngx_str_t rest = *text;
    while (next_family(&rest, family) == NGX_OK) {
        if (family->name.len == name->len && ngx_memcmp(family->name.data, name->data, name->len) == 0) {
            return NGX_OK;
        }
    }
    return NGX_DONE;
}

/* With its line end, if it has one. */
static ngx_str_t cut_line(ngx_str_t *rest)
{
    ngx_str_t line = *rest;
    u_char *end = ngx_strlchr(rest->data, rest->data + rest->len, '\n');
    if (end != NULL) {
        line.len = (size_t) (end + 1 - line.data);
    }
    rest->data += line.len;
    rest->len -= line.len;
    return line;
}

/* name{labels} value, or name value. */
static u_char *put_samples(u_char *at, const ngx_pointsman_page_t *page, ngx_str_t samples)
{
    while (samples.len != 0) {
        ngx_str_t line = cut_line(&samples);
        size_t name = 0;
        while (name < line.len && line.data[name] != '{' && line.data[name] != ' ') {
            name++;
        }
        ngx_uint_t labelled = name < line.len && line.data[name] == '{';
        at = ngx_cpymem(at, line.data, name);
        at = ngx_sprintf(at, "{process=\"%ui\",upstream=\"%V\"%s", page->process, &page->upstream,
                         labelled ? "," : "}");
        at = ngx_cpymem(at, line.data + name + labelled, line.len - name - labelled);
    }
    return at;
}
