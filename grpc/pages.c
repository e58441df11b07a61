#include "grpc/pages.h"

#include "grpc/clean_path.h"
#include "grpc/health_page.h"
#include "grpc/metrics_page.h"
#include "grpc/peer_pages.h"
#include "grpc/services.h"

static bool path_is(const struct http1_request *request, const char *path)
{
    return bytes_equal(request->path, bytes_str(path));
}

bool pages_get_only(struct http1_request *request)
{
    if (http1_method_is(request, "GET")) {
        return true;
    }
    http1_set(request, "Allow", "GET");
    http1_error(request, 405, "Method Not Allowed");
    return false;
}

/* --- /version --- */

static void version(struct pages *pages, struct http1_request *request)
{
    if (!pages_get_only(request)) {
        return;
    }
    const char *cluster = kv_cluster_version(core_kv(pages->core));
    const char *storage = kv_storage_version(core_kv(pages->core));
    http1_respond_text(request, 200, "application/json",
                       arena_printf(&request->arena,
                                    "{\"etcdserver\":\"" SERVER_VERSION "\",\"etcdcluster\":\"%s\",\"storage\":\"%s\"}",
                                    cluster != NULL ? cluster : "not_decided",
                                    storage != NULL && storage[0] != '\0' ? storage : "unknown"));
}

/* --- what holds for every path of the client port --- */

static bool listed(const char *const *list, size_t count, struct bytes text)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], "*") == 0 || bytes_equal(bytes_str(list[i]), text)) {
            return true;
        }
    }
    return false;
}

/* True: the request was a preflight and is answered. */
static bool cors(struct pages *pages, struct http1_request *request)
{
    struct bytes origin = http1_header(request, "origin");
    bool all = listed(pages->cors, pages->cors_count, bytes_str("*"));
    if (all || (origin.data != NULL && listed(pages->cors, pages->cors_count, origin))) {
        http1_set(request, "Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE");
        http1_set(request, "Access-Control-Allow-Origin",
                  all ? "*" : arena_printf(&request->arena, "%.*s", (int)origin.len, (const char *)origin.data));
        http1_set(request, "Access-Control-Allow-Headers", "accept, content-type, authorization");
    }
    if (http1_method_is(request, "OPTIONS")) {
        http1_respond_text(request, 200, NULL, "");
        return true;
    }
    return false;
}

static bool host_allowed(struct pages *pages, struct http1_request *request)
{
    if (pages->host_count == 0) {
        return true;
    }
    struct bytes host = request->host;
    const uint8_t *bracket = host.len > 0 && host.data[0] == '[' ? memchr(host.data, ']', host.len) : NULL;
    if (bracket != NULL) {
        host = bytes_of(host.data + 1, (size_t)(bracket - host.data) - 1);
    } else if (host.len > 0) {
        const uint8_t *colon = memchr(host.data, ':', host.len);
        host.len = colon != NULL ? (size_t)(colon - host.data) : host.len;
    }
    if (listed(pages->hosts, pages->host_count, host)) {
        return true;
    }
    http1_error(
        request, 421,
        arena_printf(&request->arena,
                     "This request names the host \"%.*s\", which is not one that this server answers to.\n"
                     "A web page that a browser was lured to can reach local servers in this way (DNS Rebinding).\n"
                     "If the name is right, add it to --host-whitelist, or use TLS.",
                     (int)host.len, (const char *)host.data));
    return false;
}

void pages_handle(void *owner, struct http1_request *request)
{
    struct pages *pages = owner;
    if (pages->port == PAGES_CLIENT && (cors(pages, request) || !host_allowed(pages, request))) {
        return;
    }
    if (clean_path_redirect(request)) {
        return;
    }
    if (pages->port == PAGES_PEER ? peer_pages_handle(pages->core, request) : health_page(pages->core, request)) {
        return;
    }
    if (pages->port != PAGES_PEER && pages->metrics != NULL && metrics_page(pages->metrics, request)) {
        return;
    }
    if (pages->port != PAGES_METRICS && path_is(request, "/version")) {
        version(pages, request);
    } else if (pages->more == NULL || !pages->more(pages->more_owner, request)) {
        http1_not_found(request);
    }
}
