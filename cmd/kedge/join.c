/* As etcd 3.7.1 does it (etcdserver/bootstrap.go, cluster_util.go; membership: ValidateClusterAndAssignIDs), but for
 * one thing more: a member whose id has published itself before and whose data is gone is told so. In etcd it would
 * begin with an empty log under its old id, having forgotten its votes and what it had acknowledged. */
#include "cmd/kedge/join.h"

#include "base/check.h"
#include "base/net/http1_client.h"
#include "kv/members_json.h"
#include <inttypes.h>
#include <stdlib.h>

#define NEW_TIMEOUT_MS 1000
#define MEMBERS_TIMEOUT_MS 10000
#define RESOLVE_TIMEOUT_S 30
#define MAX_BODY_BYTES ((size_t)4 << 20)
/* Cluster versions 3.0 to this one may be joined (peer.md "Existing"). */
#define MAX_MINOR 7

#define refuse(c, ...) arena_printf(&(c)->arena, __VA_ARGS__)

/* --- one question --- */

struct question {
    struct http1_client client;
    bool over;
    int status;
    struct buffer body;
    const char *failure; /* NULL: status 200 and a body */
    uint64_t cluster_id; /* X-Etcd-Cluster-Id; 0 = none */
    struct arena *arena;
};

static void more(struct http1_client *client, struct bytes data)
{
    struct question *question = client->owner;
    if (question->body.len + data.len <= MAX_BODY_BYTES) {
        buffer_append(&question->body, data.data, data.len);
    }
}

static uint64_t hex_header(const struct http1_client *client, const char *name)
{
    struct bytes text = http1_client_header(client, name);
    char copy[17] = {0}, *end;
    if (text.len == 0 || text.len > 16) {
        return 0;
    }
    memcpy(copy, text.data, text.len);
    uint64_t id = strtoull(copy, &end, 16);
    return *end == '\0' ? id : 0;
}

static void answered(struct http1_client *client, const char *failure)
{
    struct question *question = client->owner;
    question->over = true;
    if (failure != NULL) {
        question->failure = arena_printf(question->arena, "%s", failure);
    } else if (client->status != 200) {
        question->failure = arena_printf(question->arena, "status %d", client->status);
    }
    question->cluster_id = hex_header(client, "x-etcd-cluster-id");
}

/* GET. The answer's body goes into the arena. */
static bool ask(struct config *c, const char *text, const char *path, uint64_t timeout_ms, struct question *question,
                struct bytes *body)
{
    struct loop loop;
    struct url_list url;
    *question = (struct question){.arena = &c->arena};
    question->failure = url_list_of(&c->arena, (char *const *)&text, 1, &url);
    if (question->failure != NULL) {
        return false;
    }
    CHECK(loop_init(&loop) == 0);
    question->client = (struct http1_client){.loop = &loop, .owner = question, .on_data = more, .on_done = answered};
    const struct url *to = &url.items[0];
    bool local = to->scheme == URL_UNIX || to->scheme == URL_UNIXS;
    http1_client_start(&question->client, &(struct http1_ask){.host = to->host,
                                                              .port = local ? -1 : to->port,
                                                              .method = "GET",
                                                              .target = path,
                                                              .dial_ms = timeout_ms,
                                                              .total_ms = timeout_ms});
    while (!question->over) {
        loop_step(&loop, -1);
    }
    http1_client_close(&question->client);
    loop_step(&loop, 0); /* what the connection leaves behind goes with a turn */
    loop_close(&loop);
    *body = arena_copy(&c->arena, buffer_bytes(&question->body));
    buffer_free(&question->body);
    return question->failure == NULL;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The other members' URLs, sorted. */
static const char **other_urls(struct config *c, size_t *count)
{
    size_t room = 1;
    for (size_t i = 0; i < c->initial_member_count; i++) {
        room += c->initial_members[i].peer_urls.count;
    }
    const char **urls = arena_alloc(&c->arena, room * sizeof *urls);
    *count = 0;
    for (size_t i = 0; i < c->initial_member_count; i++) {
        const struct config_member *member = &c->initial_members[i];
        for (size_t j = 0; j < member->peer_urls.count && strcmp(member->name, c->name) != 0; j++) {
            urls[(*count)++] = member->peer_urls.items[j].text;
        }
    }
    qsort(urls, *count, sizeof *urls, compare_texts);
    return urls;
}

/* The first answer that is a list of members with the cluster's id. */
static bool find_cluster(struct config *c, uint64_t timeout_ms, bool loud, struct join_cluster *out)
{
    size_t count;
    const char **urls = other_urls(c, &count);
    for (size_t i = 0; i < count; i++) {
        struct question question;
        struct bytes body;
        struct kv_member *members = NULL;
        const char *failure = NULL;
        if (!ask(c, urls[i], "/members", timeout_ms, &question, &body)) {
            failure = question.failure;
        } else if (members_json_read_list(body, &c->arena, &members, &out->count) != 0) {
            failure = "the answer is no list of members";
        } else if (question.cluster_id == 0) {
            failure = "the answer does not name its cluster";
        } else {
            out->cluster_id = question.cluster_id;
            out->members = members;
            return true;
        }
        if (loud) {
            log_warn("failed to get cluster response",
                     log_str("address", arena_printf(&c->arena, "%s/members", urls[i])), log_str("error", failure));
        }
    }
    return false;
}

/* --- what was found --- */

/* By its id; or, since an id says only which URLs a member began with, by the URLs that it is to have. */
static const struct kv_member *find_self(const struct config *c, const struct join_cluster *cluster, uint64_t id)
{
    for (size_t i = 0; i < cluster->count; i++) {
        const struct kv_member *member = &cluster->members[i];
        bool same = member->id == id;
        for (size_t j = 0; j < member->peer_url_count; j++) {
            same |= url_list_has(&c->initial_advertise_peer_urls, member->peer_urls[j]);
        }
        if (same) {
            return member;
        }
    }
    return NULL;
}

/* The member has served before: what it promised then is not here any more. */
static const char *check_wiped(struct config *c, const struct join_cluster *cluster, uint64_t own_id)
{
    const struct kv_member *self = find_self(c, cluster, own_id);
    if (self == NULL || self->client_url_count == 0) {
        return NULL;
    }
    uint64_t id = self->id;
    return refuse(
        c,
        "member %" PRIx64 " has already been bootstrapped: it was part of cluster %" PRIx64
        " before, and its data directory %s is empty now. If that is the wrong directory, name the right one. "
        "If the data is lost, let the cluster forget the member and join as a new one: `etcdctl member remove "
        "%" PRIx64 "`, `etcdctl member add %s --peer-urls=%s` through another member, then start this one "
        "with --initial-cluster-state=existing",
        id, cluster->cluster_id, c->data_dir, id, c->name, url_list_text(&c->arena, &c->initial_advertise_peer_urls));
}

const char *join_check_new(struct config *c, uint64_t member_id)
{
    struct join_cluster found = {0};
    return find_cluster(c, NEW_TIMEOUT_MS, false, &found) ? check_wiped(c, &found, member_id) : NULL;
}

/* Go's %v of the cluster, which is part of etcd's message. */
static const char *cluster_text(struct config *c, const struct join_cluster *cluster)
{
    struct buffer out = {0};
    buffer_printf(&out, "{ClusterID:%" PRIx64 " Members:[", cluster->cluster_id);
    for (size_t i = 0; i < cluster->count; i++) {
        const struct kv_member *m = &cluster->members[i];
        buffer_printf(&out, "%s&{ID:%" PRIx64 " RaftAttributes:{PeerURLs:[", i == 0 ? "" : " ", m->id);
        for (size_t j = 0; j < m->peer_url_count; j++) {
            buffer_printf(&out, "%s%s", j == 0 ? "" : " ", m->peer_urls[j]);
        }
        buffer_printf(&out, "] IsLearner:%s} Attributes:{Name:%s ClientURLs:[", m->learner ? "true" : "false", m->name);
        for (size_t j = 0; j < m->client_url_count; j++) {
            buffer_printf(&out, "%s%s", j == 0 ? "" : " ", m->client_urls[j]);
        }
        buffer_printf(&out, "]}}");
    }
    buffer_printf(&out, "] RemovedMemberIDs:[]}");
    const char *text = arena_printf(&c->arena, "%.*s", (int)out.len, (const char *)out.data);
    buffer_free(&out);
    return text;
}

/* Which of the configured members has the URLs of the cluster's member? NULL: none, *why = the last comparison. */
static const struct config_member *match(struct config *c, const struct kv_member *member, const char **why)
{
    struct url_list urls;
    *why = url_list_of(&c->arena, member->peer_urls, member->peer_url_count, &urls);
    for (size_t i = 0; *why == NULL && i < c->initial_member_count; i++) {
        *why = config_same_urls(&c->arena, &urls, &c->initial_members[i].peer_urls, RESOLVE_TIMEOUT_S);
        if (*why == NULL) {
            return &c->initial_members[i];
        }
        *why = i + 1 < c->initial_member_count ? NULL : *why;
    }
    return NULL;
}

static const char *assign_id(struct config *c, struct join_cluster *cluster)
{
    if (cluster->count != c->initial_member_count) {
        return "member count is unequal";
    }
    for (size_t i = 0; i < cluster->count; i++) {
        const struct kv_member *member = &cluster->members[i];
        const char *why, *urls = "";
        const struct config_member *configured = match(c, member, &why);
        if (configured == NULL) {
            for (size_t j = 0; j < member->peer_url_count; j++) {
                urls = arena_printf(&c->arena, "%s%s%s", urls, j == 0 ? "" : " ", member->peer_urls[j]);
            }
            return refuse(c,
                          "PeerURLs: no match found for existing member (%" PRIx64 ", [%s]), last resolver error (%s)",
                          member->id, urls, why);
        }
        if (strcmp(configured->name, c->name) == 0) {
            cluster->member_id = member->id;
        }
    }
    return cluster->member_id == 0 ? "no member of the cluster has this member's peer URLs" : NULL;
}

/* One above this version may be joined while the cluster is on its way down. */
static bool downgrading(struct config *c, const char *url)
{
    struct question question;
    struct bytes body;
    return ask(c, url, "/downgrade/enabled", MEMBERS_TIMEOUT_MS, &question, &body) &&
           bytes_equal(body, bytes_str("true"));
}

/* At least one member must be of a version that this one can speak with, and none of another. */
static bool compatible(struct config *c, const struct join_cluster *cluster)
{
    uint64_t timeout_ms = 5000 + 2 * c->election_timeout_ms;
    bool one = false;
    for (size_t i = 0; i < cluster->count; i++) {
        const struct kv_member *member = &cluster->members[i];
        unsigned major, minor;
        struct question question;
        struct bytes body;
        for (size_t j = 0; j < member->peer_url_count && member->id != cluster->member_id; j++) {
            if (!ask(c, member->peer_urls[j], "/version", timeout_ms, &question, &body)) {
                log_warn("failed to reach the peer URL", log_str("address", member->peer_urls[j]),
                         log_hex("remote-member-id", member->id), log_str("error", question.failure));
                continue;
            }
            if (!kv_version_of_page(body, "etcdcluster", &major, &minor)) {
                break;
            }
            if (major != 3 ||
                (minor > MAX_MINOR && !(minor == MAX_MINOR + 1 && downgrading(c, member->peer_urls[j])))) {
                log_warn("cluster version of remote member is not compatible", log_hex("remote-member-id", member->id));
                return false;
            }
            one = true;
            break;
        }
    }
    return one;
}

static bool too_many_learners(const struct config *c, const struct join_cluster *cluster)
{
    uint64_t learners = 0;
    for (size_t i = 0; i < cluster->count; i++) {
        learners += cluster->members[i].learner;
    }
    return learners > (c->max_learners < 0 ? 0 : (uint64_t)c->max_learners);
}

const char *join_existing(struct config *c, struct join_cluster *out)
{
    *out = (struct join_cluster){0};
    if (!find_cluster(c, MEMBERS_TIMEOUT_MS, true, out) || out->count == 0) {
        return "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs";
    }
    const char *error = assign_id(c, out);
    if (error != NULL) {
        return refuse(c, "error validating peerURLs %s: %s", cluster_text(c, out), error);
    }
    if (!compatible(c, out)) {
        return "incompatible with current running cluster";
    }
    if (too_many_learners(c, out)) {
        return "membership: too many learner members in cluster";
    }
    return check_wiped(c, out, out->member_id);
}
