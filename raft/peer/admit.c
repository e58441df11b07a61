/* Who may talk to whom: the headers of requests between members, versions, clusters. */
#include "base/error.h"
#include "raft/peer/peer_impl.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define REFUSAL_EACH_MS 10000

/* --- versions: only major and minor count --- */

struct version {
    unsigned major, minor;
};

/* "3.7.1" as far as it counts; what can't be read is 0.0, and too old. */
static struct version read_version(struct bytes text)
{
    static const struct version absent = {2, 0};
    if (text.len == 0) {
        return absent;
    }
    char copy[32];
    struct version version = {0};
    snprintf(copy, sizeof copy, "%.*s", (int)text.len, (const char *)text.data);
    return sscanf(copy, "%5u.%5u.", &version.major, &version.minor) == 2 ? version : (struct version){0};
}

static bool older(struct version a, struct version b)
{
    return a.major != b.major ? a.major < b.major : a.minor < b.minor;
}

/* Remote too old for us, or we too old for it? */
static bool compatible(const struct peer_transport *t, const struct http1_request *request)
{
    struct version own = read_version(bytes_str(t->config.version));
    struct version minimum = read_version(bytes_str(t->config.min_version));
    struct version server = read_version(http1_header(request, "x-server-version"));
    struct version wants = read_version(http1_header(request, "x-min-cluster-version"));
    return !older(server, minimum) && !older(own, wants);
}

bool peer_has_streams(struct bytes server_version)
{
    static const struct version first = {2, 1};
    return !older(read_version(server_version), first);
}

/* --- refusing --- */

static void log_refusal(const struct peer_transport *t, const struct http1_request *request, const char *what)
{
    log_warn(what, log_hex("local-member-id", t->config.member_id), log_str("local-member-cluster-id", t->cluster_hex),
             log_str("local-member-server-version", t->config.version),
             log_str("local-member-server-minimum-cluster-version", t->config.min_version),
             log_bytes("remote-peer-server-name", http1_header(request, "x-server-from")),
             log_bytes("remote-peer-server-version", http1_header(request, "x-server-version")),
             log_bytes("remote-peer-server-minimum-cluster-version", http1_header(request, "x-min-cluster-version")),
             log_bytes("remote-peer-cluster-id", http1_header(request, "x-etcd-cluster-id")));
}

/* A stranger may ask as often as it likes, but not fill the log. */
static bool may_log(struct peer_transport *t)
{
    uint64_t now = loop_now_ms(t->config.loop);
    if (t->refused_ms != 0 && now < t->refused_ms + REFUSAL_EACH_MS) {
        return false;
    }
    t->refused_ms = now;
    return true;
}

bool peer_admit(struct peer_transport *t, struct http1_request *request)
{
    http1_set(request, "X-Etcd-Cluster-Id", t->cluster_hex);
    if (!compatible(t, request)) {
        if (may_log(t)) {
            log_refusal(t, request, "failed version compatibility check");
        }
        http1_error(request, 412, "incompatible version");
        return false;
    }
    if (!bytes_equal(http1_header(request, "x-etcd-cluster-id"), bytes_str(t->cluster_hex))) {
        if (may_log(t)) {
            log_refusal(t, request, "request cluster ID mismatch");
        }
        http1_error(request, 412, "cluster ID mismatch");
        return false;
    }
    return true;
}

void peer_refusal(struct peer *peer, int status, const char *text)
{
    uint64_t now = loop_now_ms(peer->transport->config.loop);
    if (status != 412 || (peer->refused_ms != 0 && now < peer->refused_ms + REFUSAL_EACH_MS)) {
        return;
    }
    peer->refused_ms = now;
    log_warn("request sent was ignored by remote peer", log_hex("local-member-id", peer->transport->config.member_id),
             log_str("local-member-cluster-id", peer->transport->cluster_hex), log_hex("remote-peer-id", peer->id),
             log_str("error", text));
}

void peer_not_processed(struct http1_request *request)
{
    http1_set(request, "X-Content-Type-Options", "nosniff");
    http1_stream_begin(request, 500, "text/plain; charset=utf-8");
    http1_stream_write(request, bytes_str("error processing raft message\n"));
    http1_stream_abort(request);
}

/* --- headers --- */

void peer_make_headers(struct peer_transport *t)
{
    t->headers.len = 0;
    buffer_printf(&t->headers, "User-Agent: kedge\r\nX-Etcd-Cluster-Id: %s\r\nX-Min-Cluster-Version: %s\r\n",
                  t->cluster_hex, t->config.min_version);
    buffer_printf(&t->headers, "X-Peerurls: %s\r\nX-Server-From: %" PRIx64 "\r\nX-Server-Version: %s\r\n", t->urls,
                  t->config.member_id, t->config.version);
}

bool peer_hexadecimal(struct bytes text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i] | 0x20;
        unsigned digit = c >= '0' && c <= '9' ? c - (unsigned)'0' : c >= 'a' && c <= 'f' ? c - (unsigned)'a' + 10 : 16;
        if (digit > 15 || *out >> 60 != 0) {
            return false;
        }
        *out = *out << 4 | digit;
    }
    return text.len > 0;
}

void peer_meet(struct peer_transport *t, const struct http1_request *request)
{
    struct bytes from = http1_header(request, "x-server-from"), urls = http1_header(request, "x-peerurls");
    uint64_t id;
    if (urls.len == 0 || !peer_hexadecimal(from, &id) || id == RAFT_NONE || peer_find(t, id) != NULL) {
        return;
    }
    char *text = mem_printf("%.*s", (int)urls.len, (const char *)urls.data);
    peer_add_remote(t, id, text);
    free(text);
}
