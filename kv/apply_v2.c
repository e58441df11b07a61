#include "kv/apply_v2.h"

#include "base/pb.h"
#include "kv/members_json.h"
#include "kv/v2_request.pb-c.h"

#define MEMBERS "/0/members/"
#define ATTRIBUTES "/attributes"
#define VERSION "/0/version"

static bool is_method(const char *text)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "POST", "DELETE", "QGET", "SYNC"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(text, methods[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* "/0/members/8e9e05c52164694d/attributes" -> the id. Up to 16 digits. */
static bool member_of(const char *path, uint64_t *id)
{
    size_t digits = 0;
    if (strncmp(path, MEMBERS, sizeof MEMBERS - 1) != 0) {
        return false;
    }
    path += sizeof MEMBERS - 1;
    for (*id = 0; digits < 16; digits++, path++) {
        unsigned c = (unsigned char)*path;
        if (c >= '0' && c <= '9') {
            *id = *id << 4 | (c - '0');
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            *id = *id << 4 | ((c | 0x20) - 'a' + 10);
        } else {
            break;
        }
    }
    return digits > 0 && strcmp(path, ATTRIBUTES) == 0;
}

static Etcdserverpb__InternalRaftRequest *request_new(struct arena *arena)
{
    Etcdserverpb__InternalRaftRequest *request = arena_alloc(arena, sizeof *request);
    etcdserverpb__internal_raft_request__init(request);
    return request;
}

static const Etcdserverpb__InternalRaftRequest *set_version(const char *version, struct arena *arena)
{
    Etcdserverpb__InternalRaftRequest *request = request_new(arena);
    Membershippb__ClusterVersionSetRequest *set = arena_alloc(arena, sizeof *set);
    membershippb__cluster_version_set_request__init(set);
    set->ver = (char *)(uintptr_t)version;
    request->cluster_version_set = set;
    return request;
}

static const Etcdserverpb__InternalRaftRequest *set_attributes(uint64_t id, const char *text, struct arena *arena)
{
    struct members_json json;
    if (members_json_read(bytes_str(text), arena, &json) != 0) {
        return NULL;
    }
    Etcdserverpb__InternalRaftRequest *request = request_new(arena);
    Membershippb__ClusterMemberAttrSetRequest *set = arena_alloc(arena, sizeof *set);
    Membershippb__Attributes *attributes = arena_alloc(arena, sizeof *attributes);
    membershippb__cluster_member_attr_set_request__init(set);
    membershippb__attributes__init(attributes);
    attributes->name = (char *)(uintptr_t)json.member.name;
    attributes->client_urls = (char **)(uintptr_t)json.member.client_urls;
    attributes->n_client_urls = json.member.client_url_count;
    set->member_id = id;
    set->member_attributes = attributes;
    request->cluster_member_attr_set = set;
    return request;
}

bool apply_v2_read(struct bytes entry, struct arena *arena, const Etcdserverpb__InternalRaftRequest **out)
{
    uint64_t id;
    const V2pb__Request *v2 = (const V2pb__Request *)pb_unpack(&v2pb__request__descriptor, entry, arena, NULL);
    *out = NULL;
    if (v2 == NULL || v2->method == NULL || !is_method(v2->method) || v2->path == NULL || v2->val == NULL) {
        return false;
    }
    if (strcmp(v2->method, "PUT") == 0 && strcmp(v2->path, VERSION) == 0) {
        *out = set_version(v2->val, arena);
    } else if (strcmp(v2->method, "PUT") == 0 && member_of(v2->path, &id)) {
        *out = set_attributes(id, v2->val, arena);
    }
    return true;
}
