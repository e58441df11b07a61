#include "cmd/kedge/bootstrap.h"

#include "kv/kv.h"
#include "raft/ids.h"
#include <stdlib.h>

const char **bootstrap_url_texts(struct arena *arena, const struct url_list *urls)
{
    const char **texts = arena_alloc(arena, (urls->count + 1) * sizeof *texts);
    for (size_t i = 0; i < urls->count; i++) {
        texts[i] = urls->items[i].text;
    }
    texts[urls->count] = NULL;
    return texts;
}

struct founder {
    uint64_t id;
    const struct config_member *member;
};

static int by_id(const void *a, const void *b)
{
    const struct founder *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static struct founder *founders(struct config *c, struct bootstrap *out)
{
    size_t count = c->initial_member_count;
    struct founder *list = arena_alloc(&c->arena, (count + 1) * sizeof *list);
    uint64_t *ids = arena_alloc(&c->arena, (count + 1) * sizeof *ids);
    for (size_t i = 0; i < count; i++) {
        const struct config_member *member = &c->initial_members[i];
        ids[i] = ids_member(bootstrap_url_texts(&c->arena, &member->peer_urls), member->peer_urls.count,
                            c->initial_cluster_token);
        list[i] = (struct founder){ids[i], member};
        if (strcmp(member->name, c->name) == 0) {
            out->member_id = ids[i];
        }
    }
    out->cluster_id = ids_cluster(ids, count);
    qsort(list, count, sizeof *list, by_id);
    return list;
}

/* One entry a member, by ascending id, term 1, all committed: every member writes the same ones. */
static const char *begin_new(struct config *c, struct bootstrap *out)
{
    const struct founder *list = founders(c, out);
    const char *error = join_check_new(c, out->member_id);
    if (error != NULL) {
        return error;
    }
    out->entry_count = c->initial_member_count;
    out->entries = arena_zalloc(&c->arena, out->entry_count * sizeof *out->entries);
    for (size_t i = 0; i < out->entry_count; i++) {
        const struct config_member *member = list[i].member;
        struct bytes change =
            kv_bootstrap_conf_change(list[i].id, member->name, bootstrap_url_texts(&c->arena, &member->peer_urls),
                                     member->peer_urls.count, &c->arena);
        out->entries[i] =
            (struct raft_entry){.index = i + 1, .term = 1, .type = RAFT_ENTRY_CONF_CHANGE, .data = shared_copy(change)};
    }
    out->state = (struct raft_hard_state){.term = 1, .commit = out->entry_count};
    return NULL;
}

static const char *begin_existing(struct config *c, struct bootstrap *out)
{
    struct join_cluster cluster;
    const char *error = join_existing(c, &cluster);
    out->member_id = cluster.member_id;
    out->cluster_id = cluster.cluster_id;
    out->remotes = cluster.members;
    out->remote_count = cluster.count;
    return error;
}

const char *bootstrap_begin(struct config *c, struct bootstrap *out)
{
    *out = (struct bootstrap){0};
    const char *error = config_check_bootstrap(c);
    if (error != NULL) {
        return error;
    }
    return strcmp(c->initial_cluster_state, "new") == 0 ? begin_new(c, out) : begin_existing(c, out);
}

void bootstrap_free(struct bootstrap *b)
{
    for (size_t i = 0; i < b->entry_count; i++) {
        shared_unref(b->entries[i].data);
    }
    b->entry_count = 0;
}
