#include "kv/members.h"
#include "base/check.h"
#include "kv/members_json.h"
#include "kv/store.h"

#include <stdio.h>
#include <stdlib.h>

/* --- the set itself --- */

static void strings_free(char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(texts[i]);
    }
    free((void *)texts);
}

static char *const *strings_copy(char *const *texts, size_t count)
{
    char **copy = count == 0 ? NULL : mem_alloc(count * sizeof copy[0]);
    for (size_t i = 0; i < count; i++) {
        copy[i] = mem_strdup(texts[i]);
    }
    return copy;
}

static void set_peer_urls(struct kv_member *member, char *const *urls, size_t count)
{
    strings_free(member->peer_urls, member->peer_url_count);
    member->peer_urls = strings_copy(urls, count);
    member->peer_url_count = count;
}

static void set_client_urls(struct kv_member *member, char *const *urls, size_t count)
{
    strings_free(member->client_urls, member->client_url_count);
    member->client_urls = strings_copy(urls, count);
    member->client_url_count = count;
}

static void set_name(struct kv_member *member, const char *name)
{
    free((char *)member->name);
    member->name = mem_strdup(name);
}

static void member_clear(struct kv_member *member)
{
    set_peer_urls(member, NULL, 0);
    set_client_urls(member, NULL, 0);
    free((char *)member->name);
}

static size_t member_place(const struct members *members, uint64_t id)
{
    size_t at = 0;
    while (at < members->count && members->items[at].id < id) {
        at++;
    }
    return at;
}

static struct kv_member *member_find(const struct members *members, uint64_t id)
{
    size_t at = member_place(members, id);
    return at < members->count && members->items[at].id == id ? &members->items[at] : NULL;
}

/* Copies everything. */
static struct kv_member *member_add(struct members *members, const struct kv_member *from)
{
    size_t at = member_place(members, from->id);
    if (members->count == members->capacity) {
        members->capacity = members->capacity == 0 ? 8 : members->capacity * 2;
        members->items = mem_realloc(members->items, members->capacity * sizeof members->items[0]);
    }
    memmove(&members->items[at + 1], &members->items[at], (members->count - at) * sizeof members->items[0]);
    members->count++;
    struct kv_member *member = &members->items[at];
    *member = (struct kv_member){.id = from->id, .learner = from->learner};
    set_name(member, from->name);
    set_peer_urls(member, from->peer_urls, from->peer_url_count);
    set_client_urls(member, from->client_urls, from->client_url_count);
    return member;
}

static void member_remove(struct members *members, struct kv_member *member)
{
    size_t at = (size_t)(member - members->items);
    member_clear(member);
    members->count--;
    memmove(member, member + 1, (members->count - at) * sizeof *member);
}

static void removed_add(struct members *members, uint64_t id)
{
    if (members->removed_count == members->removed_capacity) {
        members->removed_capacity = members->removed_capacity == 0 ? 8 : members->removed_capacity * 2;
        members->removed = mem_realloc(members->removed, members->removed_capacity * sizeof members->removed[0]);
    }
    size_t at = members->removed_count++;
    while (at > 0 && members->removed[at - 1] > id) {
        members->removed[at] = members->removed[at - 1];
        at--;
    }
    members->removed[at] = id;
}

void members_free(struct members *members)
{
    for (size_t i = 0; i < members->count; i++) {
        member_clear(&members->items[i]);
    }
    free(members->items);
    free(members->removed);
    *members = (struct members){0};
}

const struct kv_member *kv_members(const struct kv *kv, size_t *count)
{
    *count = kv->members.count;
    return kv->members.items;
}

const struct kv_member *kv_member(const struct kv *kv, uint64_t id)
{
    return member_find(&kv->members, id);
}

bool kv_member_removed(const struct kv *kv, uint64_t id)
{
    for (size_t i = 0; i < kv->members.removed_count; i++) {
        if (kv->members.removed[i] == id) {
            return true;
        }
    }
    return false;
}

const uint64_t *kv_members_removed(const struct kv *kv, size_t *count)
{
    *count = kv->members.removed_count;
    return kv->members.removed;
}

/* --- rows --- */

static struct bytes row_id(uint64_t id, char out[17])
{
    int n = snprintf(out, 17, "%llx", (unsigned long long)id);
    return bytes_of(out, (size_t)n);
}

static int parse_row_id(struct bytes key, uint64_t *id)
{
    uint64_t v = 0;
    for (size_t i = 0; i < key.len; i++) {
        uint8_t c = key.data[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            return ERR_CORRUPT_DATA;
        }
        v = v << 4 | (uint64_t)digit;
    }
    *id = v;
    return key.len == 0 || key.len > 16 ? ERR_CORRUPT_DATA : 0;
}

static void member_store(struct kv *kv, const struct kv_member *member)
{
    char id[17];
    struct buffer json = {0};
    members_json_write(&json, member);
    batch_put(kv, BACKEND_MEMBERS, row_id(member->id, id), buffer_bytes(&json));
    buffer_free(&json);
}

int members_load(struct members *members, struct bytes key, struct bytes value)
{
    uint64_t id;
    struct arena arena = {0};
    struct members_json json;
    int error = parse_row_id(key, &id);
    if (error == 0 && (members_json_read(value, &arena, &json) != 0 || json.member.id != id)) {
        error = ERR_CORRUPT_DATA;
    }
    if (error == 0) {
        member_add(members, &json.member);
    }
    arena_free(&arena);
    return error;
}

int members_load_removed(struct members *members, struct bytes key)
{
    uint64_t id;
    int error = parse_row_id(key, &id);
    if (error == 0) {
        removed_add(members, id);
    }
    return error;
}

/* --- conf changes --- */

/* raft.proto, ConfChangeType */
enum { ADD_NODE, REMOVE_NODE, UPDATE_NODE, ADD_LEARNER };

static bool url_used(const struct members *members, const struct kv_member *by, uint64_t except)
{
    for (size_t i = 0; i < members->count; i++) {
        const struct kv_member *other = &members->items[i];
        for (size_t j = 0; j < other->peer_url_count && other->id != except; j++) {
            for (size_t k = 0; k < by->peer_url_count; k++) {
                if (strcmp(other->peer_urls[j], by->peer_urls[k]) == 0) {
                    return true;
                }
            }
        }
    }
    return false;
}

static size_t learner_count(const struct members *members)
{
    size_t n = 0;
    for (size_t i = 0; i < members->count; i++) {
        n += members->items[i].learner;
    }
    return n;
}

static int check_add(const struct kv *kv, const struct kv_member *there, const struct members_json *json)
{
    if (json->is_promote) {
        return there == NULL ? ERR_MEMBER_NOT_FOUND : there->learner ? 0 : ERR_MEMBER_NOT_LEARNER;
    }
    if (there != NULL) {
        return ERR_MEMBER_EXIST;
    }
    if (url_used(&kv->members, &json->member, 0)) {
        return ERR_PEER_URL_EXIST;
    }
    uint32_t given = kv->config.max_learners;
    size_t limit = given == 0 ? 1 : given == KV_NO_LEARNERS ? 0 : given;
    return json->member.learner && learner_count(&kv->members) + 1 > limit ? ERR_TOO_MANY_LEARNERS : 0;
}

static int check_change(const struct kv *kv, int type, const struct kv_member *there, uint64_t id,
                        const struct members_json *json)
{
    if (kv_member_removed(kv, id)) {
        return ERR_MEMBER_NOT_FOUND;
    }
    switch (type) {
    case ADD_NODE:
    case ADD_LEARNER:
        return check_add(kv, there, json);
    case UPDATE_NODE:
        if (there == NULL) {
            return ERR_MEMBER_NOT_FOUND;
        }
        return url_used(&kv->members, &json->member, id) ? ERR_PEER_URL_EXIST : 0;
    default:
        return there == NULL ? ERR_MEMBER_NOT_FOUND : 0;
    }
}

static void change_add(struct kv *kv, struct kv_member *there, const struct members_json *json)
{
    if (json->is_promote) {
        there->learner = false;
    } else {
        there = member_add(&kv->members, &json->member);
    }
    member_store(kv, there);
}

static void change_remove(struct kv *kv, struct kv_member *there)
{
    char id[17];
    struct bytes key = row_id(there->id, id);
    removed_add(&kv->members, there->id);
    batch_delete(kv, BACKEND_MEMBERS, key);
    batch_put(kv, BACKEND_MEMBERS_REMOVED, key, bytes_str("removed"));
    member_remove(&kv->members, there);
}

/* A learner stays one, though the context of an update never says so (seen with etcd 3.7.1). */
static void change_update(struct kv *kv, struct kv_member *there, const struct members_json *json)
{
    set_peer_urls(there, json->member.peer_urls, json->member.peer_url_count);
    member_store(kv, there);
}

static void ids_json(struct buffer *out, const char *name, const struct members *members, bool learners)
{
    const char *before = out->len == 1 ? "" : ",";
    bool first = true;
    for (size_t i = 0; i < members->count; i++) {
        if (members->items[i].learner != learners) {
            continue;
        }
        if (first) {
            buffer_printf(out, "%s\"%s\":[", before, name);
        }
        buffer_printf(out, "%s%llu", first ? "" : ",", (unsigned long long)members->items[i].id);
        first = false;
    }
    if (!first) {
        buffer_append(out, "]", 1);
    }
}

/* meta/confState, as JSON of raftpb.ConfState. etcd proposes simple changes only, so that voters and learners are all
 * that there is. */
static void conf_state_store(struct kv *kv)
{
    struct buffer json = {0};
    buffer_append(&json, "{", 1);
    ids_json(&json, "voters", &kv->members, false);
    ids_json(&json, "learners", &kv->members, true);
    buffer_printf(&json, "%s\"auto_leave\":false}", json.len == 1 ? "" : ",");
    batch_put(kv, BACKEND_META, bytes_str("confState"), buffer_bytes(&json));
    buffer_free(&json);
}

static int conf_change(struct kv *kv, int type, uint64_t id, struct bytes context, struct arena *arena)
{
    struct members_json json = {.member.name = ""};
    if (type != REMOVE_NODE && members_json_read(context, arena, &json) != 0) {
        CHECK(false, "conf change for member %llx has no readable context", (unsigned long long)id);
    }
    CHECK(type == REMOVE_NODE || json.member.id == id, "conf change for member %llx names another in its context",
          (unsigned long long)id);
    struct kv_member *there = member_find(&kv->members, id);
    int error = check_change(kv, type, there, id, &json);
    if (error != 0) {
        return error;
    }
    if (type == REMOVE_NODE) {
        change_remove(kv, there);
    } else if (type == UPDATE_NODE) {
        change_update(kv, there, &json);
    } else {
        change_add(kv, there, &json);
    }
    conf_state_store(kv);
    return 0;
}

int members_apply_conf_change(struct kv *kv, int type, uint64_t node_id, struct bytes context)
{
    struct arena arena = {0};
    CHECK(type >= ADD_NODE && type <= ADD_LEARNER, "conf change of type %d", type);
    int error = conf_change(kv, type, node_id, context, &arena);
    arena_free(&arena);
    return error;
}

void members_set_attributes(struct kv *kv, const Membershippb__ClusterMemberAttrSetRequest *request, bool store)
{
    struct kv_member *member = member_find(&kv->members, request->member_id);
    const Membershippb__Attributes *attributes = request->member_attributes;
    if (member == NULL) {
        return; /* it was removed meanwhile */
    }
    set_name(member, attributes == NULL ? "" : attributes->name);
    set_client_urls(member, attributes == NULL ? NULL : attributes->client_urls,
                    attributes == NULL ? 0 : attributes->n_client_urls);
    if (store) {
        member_store(kv, member);
    }
}

/* --- answers --- */

Etcdserverpb__Member **kv_member_list(const struct kv *kv, struct arena *arena, size_t *count)
{
    *count = kv->members.count;
    Etcdserverpb__Member **list = arena_alloc(arena, (*count + 1) * sizeof list[0]);
    for (size_t i = 0; i < *count; i++) {
        const struct kv_member *member = &kv->members.items[i];
        list[i] = arena_alloc(arena, sizeof *list[i]);
        etcdserverpb__member__init(list[i]);
        list[i]->id = member->id;
        list[i]->name = (char *)member->name;
        list[i]->n_peerurls = member->peer_url_count;
        list[i]->peerurls = (char **)member->peer_urls;
        list[i]->n_clienturls = member->client_url_count;
        list[i]->clienturls = (char **)member->client_urls;
        list[i]->islearner = member->learner;
    }
    return list;
}

void kv_conf_state(const struct kv *kv, struct arena *arena, uint64_t **voters, size_t *voter_count,
                   uint64_t **learners, size_t *learners_count)
{
    const struct members *members = &kv->members;
    *voters = arena_alloc(arena, (members->count + 1) * sizeof **voters);
    *learners = arena_alloc(arena, (members->count + 1) * sizeof **learners);
    *voter_count = *learners_count = 0;
    for (size_t i = 0; i < members->count; i++) {
        if (members->items[i].learner) {
            (*learners)[(*learners_count)++] = members->items[i].id;
        } else {
            (*voters)[(*voter_count)++] = members->items[i].id;
        }
    }
}

/* As etcd writes it at bootstrap: 10 00 18 id 22 len json (raft.md "Configuration changes"). */
struct bytes kv_bootstrap_conf_change(uint64_t id, const char *name, const char *const *peer_urls, size_t count,
                                      struct arena *arena)
{
    struct kv_member member = {.id = id, .name = name, .peer_urls = (char *const *)peer_urls, .peer_url_count = count};
    struct buffer json = {0}, out = {0};
    uint8_t head[32] = {0x10, 0x00, 0x18}, *p = head + 3;
    members_json_write(&json, &member);
    p += varint_put(p, id);
    *p++ = 0x22;
    p += varint_put(p, json.len);
    buffer_append(&out, head, (size_t)(p - head));
    buffer_append(&out, json.data, json.len);
    struct bytes copy = arena_copy(arena, buffer_bytes(&out));
    buffer_free(&json);
    buffer_free(&out);
    return copy;
}
