#include "grpc/clean_path.h"

/* The path without parts that mean nothing, into `out` (as large as the path and one byte); ".." takes the part before
 * it away. A '/' at the end stays. */
static size_t clean(struct bytes path, char *out)
{
    size_t n = 0, at = 0;
    bool folder = true;
    while (at < path.len) {
        const uint8_t *part = path.data + at + 1; /* behind the '/' */
        const uint8_t *slash = memchr(part, '/', path.len - at - 1);
        size_t len = slash != NULL ? (size_t)(slash - part) : path.len - at - 1;
        folder = len == 0; /* Go keeps a '/' at the end, but not one that "." or ".." would leave */
        at += len + 1;
        if (len == 2 && part[0] == '.' && part[1] == '.') {
            while (n > 0 && out[--n] != '/') {
            }
        } else if (len > 0 && !(len == 1 && part[0] == '.')) {
            out[n++] = '/';
            memcpy(out + n, part, len);
            n += len;
        }
    }
    if (n == 0 || folder) {
        out[n++] = '/';
    }
    return n;
}

/* May it stand in a header as it is? Other paths name no page in any case. */
static bool plain(const char *path, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (path[i] <= ' ' || path[i] > '~' || strchr("\"<>%?#\\^`{|}", path[i]) != NULL) {
            return false;
        }
    }
    return true;
}

static const char *html(const char *text, struct arena *arena)
{
    struct buffer out = {0};
    for (const char *p = text; *p != '\0'; p++) {
        if (strchr("&<>\"'", *p) != NULL) {
            buffer_printf(&out, *p == '&' ? "&amp;" : *p == '<' ? "&lt;" : *p == '>' ? "&gt;" : "&#%d;", *p);
        } else {
            buffer_append(&out, p, 1);
        }
    }
    const char *escaped = arena_printf(arena, "%.*s", (int)out.len, (const char *)out.data);
    buffer_free(&out);
    return escaped;
}

void clean_path_send(struct http1_request *request, const char *path)
{
    struct arena *arena = &request->arena;
    const char *type = NULL, *page = "", *target = path;
    if (request->query.len > 0) {
        target = arena_printf(arena, "%s?%.*s", path, (int)request->query.len, (const char *)request->query.data);
    }
    if (http1_method_is(request, "GET") || http1_method_is(request, "HEAD")) {
        type = "text/html; charset=utf-8";
        page = arena_printf(arena, "<a href=\"%s\">Temporary Redirect</a>.\n\n", html(target, arena));
    }
    http1_set(request, "Location", target);
    http1_respond_text(request, 307, type, page);
}

bool clean_path_redirect(struct http1_request *request)
{
    struct bytes path = request->path;
    bool escaped =
        memchr(request->target.data, '%', request->target.len) != NULL; /* Go looks at the path as it was sent */
    if (path.len == 0 || path.data[0] != '/' || escaped) {
        return false;
    }
    char *cleaned = arena_alloc(&request->arena, path.len + 2);
    size_t len = clean(path, cleaned);
    if (bytes_equal(bytes_of(cleaned, len), path) || !plain(cleaned, len)) {
        return false;
    }
    cleaned[len] = '\0';
    clean_path_send(request, cleaned);
    return true;
}
