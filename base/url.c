#include "base/url.h"
#include "base/gotext.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>

static const char *const scheme_names[] = {"http", "https", "unix", "unixs"};

/* The length of the scheme before ":", or 0 when there is none (RFC 3986: a letter, then letters, digits, + - .). */
static size_t scheme_length(const char *text)
{
    size_t len = 0;
    if (!isalpha((unsigned char)text[0])) {
        return 0;
    }
    while (isalnum((unsigned char)text[len]) || (text[len] != '\0' && strchr("+-.", text[len]) != NULL)) {
        len++;
    }
    return text[len] == ':' ? len : 0;
}

static bool find_scheme(const char *text, size_t len, enum url_scheme *out)
{
    for (int i = 0; i < 4; i++) {
        if (strlen(scheme_names[i]) == len && strncasecmp(scheme_names[i], text, len) == 0) {
            *out = (enum url_scheme)i;
            return true;
        }
    }
    return false;
}

static const char *bad_port(struct arena *arena, const char *text, const char *port)
{
    return arena_printf(arena, "parse %s: invalid port %s after host", gotext_quoted(arena, text),
                        gotext_quoted(arena, port));
}

/* "host:port" or "[v6]:port" after the "//". */
static const char *parse_authority(struct arena *arena, const char *text, const char *authority, struct url *out)
{
    const char *host = authority, *colon = strchr(authority, ':');
    const char *end = colon;
    if (*host == '[') {
        end = strchr(host, ']');
        if (end == NULL) {
            return arena_printf(arena, "parse %s: missing ']' in host", gotext_quoted(arena, text));
        }
        colon = end[1] == ':' ? end + 1 : NULL;
        host++;
    }
    for (const char *p = colon == NULL ? "" : colon + 1; *p != '\0'; p++) {
        if (!isdigit((unsigned char)*p)) {
            return bad_port(arena, text, colon);
        }
    }
    if (colon == NULL) {
        return arena_printf(arena, "URL address does not have the form \"host:port\": %s", text);
    }
    unsigned long port = strtoul(colon + 1, NULL, 10);
    if (port > 65535) {
        return bad_port(arena, text, colon);
    }
    out->port = (uint16_t)port;
    out->host = arena_printf(arena, "%.*s", (int)(end - host), host);
    return NULL;
}

static const char *parse_url(struct arena *arena, const char *text, struct url *out)
{
    size_t len = scheme_length(text);
    if (len == 0 && strchr(text, ':') != NULL && text[strcspn(text, "/:")] == ':') {
        return arena_printf(arena, "parse %s: first path segment in URL cannot contain colon",
                            gotext_quoted(arena, text));
    }
    if (len == 0 || !find_scheme(text, len, &out->scheme)) {
        return arena_printf(arena, "URL scheme must be http, https, unix, or unixs: %s", text);
    }
    const char *rest = text + len + 1;
    bool has_authority = strncmp(rest, "//", 2) == 0;
    out->text = arena_printf(arena, "%s:%s", scheme_names[out->scheme], rest);
    if (out->scheme == URL_UNIX || out->scheme == URL_UNIXS) {
        out->host = arena_printf(arena, "%s", rest + (has_authority ? 2 : 0));
        out->port = 0;
        return NULL;
    }
    const char *authority = rest + (has_authority ? 2 : strlen(rest));
    const char *end = authority + strcspn(authority, "/?#");
    const char *error =
        parse_authority(arena, text, arena_printf(arena, "%.*s", (int)(end - authority), authority), out);
    if (error == NULL && *end != '\0') {
        error = arena_printf(arena, "URL must not contain a path: %s", text);
    }
    return error;
}

static int compare_urls(const void *a, const void *b)
{
    return strcmp(((const struct url *)a)->text, ((const struct url *)b)->text);
}

static const char *add_url(struct arena *arena, const char *text, size_t len, struct url_list *out)
{
    size_t start = 0;
    while (start < len && isspace((unsigned char)text[start])) {
        start++;
    }
    while (len > start && isspace((unsigned char)text[len - 1])) {
        len--;
    }
    return parse_url(arena, arena_printf(arena, "%.*s", (int)(len - start), text + start), &out->items[out->count++]);
}

const char *url_list_of(struct arena *arena, char *const *texts, size_t count, struct url_list *out)
{
    *out = (struct url_list){.items = arena_zalloc(arena, (count + 1) * sizeof *out->items)};
    for (size_t i = 0; i < count; i++) {
        const char *error = add_url(arena, texts[i], strlen(texts[i]), out);
        if (error != NULL) {
            return error;
        }
    }
    qsort(out->items, out->count, sizeof *out->items, compare_urls);
    return count == 0 ? "no valid URLs given" : NULL;
}

const char *url_list_parse(struct arena *arena, const char *text, struct url_list *out)
{
    size_t room = 1;
    for (const char *p = text; *p != '\0'; p++) {
        room += *p == ',';
    }
    *out = (struct url_list){.items = arena_zalloc(arena, room * sizeof *out->items)};
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, ",");
        const char *error = add_url(arena, p, len, out);
        if (error != NULL) {
            return error;
        }
        p += len;
        if (*p == '\0') {
            break;
        }
    }
    qsort(out->items, out->count, sizeof *out->items, compare_urls);
    size_t kept = 1;
    for (size_t i = 1; i < out->count; i++) {
        if (strcmp(out->items[i].text, out->items[kept - 1].text) != 0) {
            out->items[kept++] = out->items[i];
        }
    }
    out->count = kept;
    return NULL;
}

const char *url_list_text(struct arena *arena, const struct url_list *list)
{
    const char *text = "";
    for (size_t i = 0; i < list->count; i++) {
        text = arena_printf(arena, "%s%s%s", text, i == 0 ? "" : ",", list->items[i].text);
    }
    return text;
}

bool url_list_has(const struct url_list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].text, text) == 0) {
            return true;
        }
    }
    return false;
}

bool url_list_equal(const struct url_list *a, const struct url_list *b)
{
    for (size_t i = 0; i < a->count && a->count == b->count; i++) {
        if (strcmp(a->items[i].text, b->items[i].text) != 0) {
            return false;
        }
    }
    return a->count == b->count;
}

bool url_can_bind(const struct url *url)
{
    unsigned char address[sizeof(struct in6_addr)];
    return url->scheme == URL_UNIX || url->scheme == URL_UNIXS || strcmp(url->host, "localhost") == 0 ||
           inet_pton(AF_INET, url->host, address) == 1 || inet_pton(AF_INET6, url->host, address) == 1;
}
