/* The rows of tables; format simple prints the same ones, separated by commas. */
#include "cmd/kedgectl/print.h"

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

static const char *number(struct printer *p, uint64_t value)
{
    return arena_printf(p->arena, "%llu", (unsigned long long)value);
}

static const char *joined(struct printer *p, char *const *texts, size_t count, const char *separator)
{
    const char *text = "";
    for (size_t i = 0; i < count; i++) {
        text = arena_printf(p->arena, "%s%s%s", text, i == 0 ? "" : separator, texts[i]);
    }
    return text;
}

struct table print_table_members(struct printer *p, const Etcdserverpb__MemberListResponse *r)
{
    static const char *const headings[] = {"ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"};
    struct table t = {.columns = 6, .headings = headings, .arena = p->arena};
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        const char **row = table_row(&t);
        row[0] = arena_printf(p->arena, "%llx", (unsigned long long)m->id);
        row[1] = *m->name == '\0' ? "unstarted" : "started";
        row[2] = m->name;
        row[3] = joined(p, m->peerurls, m->n_peerurls, ",");
        row[4] = joined(p, m->clienturls, m->n_clienturls, ",");
        row[5] = truth(m->islearner);
    }
    return t;
}

struct table print_table_health(struct printer *p, const struct endpoint_health *items, size_t count)
{
    static const char *const headings[] = {"endpoint", "health", "took", "error"};
    struct table t = {.columns = 4, .headings = headings, .arena = p->arena};
    for (size_t i = 0; i < count; i++) {
        const char **row = table_row(&t);
        row[0] = items[i].endpoint;
        row[1] = truth(items[i].healthy);
        row[2] = items[i].took;
        row[3] = items[i].error;
    }
    return t;
}

static void fill_status(struct printer *p, const char **row, const struct endpoint_status *item)
{
    const Etcdserverpb__StatusResponse *s = item->status;
    uint64_t member = s->header == NULL ? 0 : s->header->member_id;
    row[0] = item->endpoint;
    row[1] = arena_printf(p->arena, "%llx", (unsigned long long)member);
    row[2] = s->version;
    row[3] = s->storageversion;
    row[4] = printer_bytes(p->arena, (uint64_t)s->dbsize);
    row[5] = printer_bytes(p->arena, (uint64_t)s->dbsizeinuse);
    row[6] = arena_printf(p->arena, "%lld%%", (long long)(s->dbsize == 0 ? 0 : 100 - s->dbsizeinuse * 100 / s->dbsize));
    row[7] = printer_bytes(p->arena, (uint64_t)s->dbsizequota);
    row[8] = truth(s->leader == member);
    row[9] = truth(s->islearner);
    row[10] = number(p, s->raftterm);
    row[11] = number(p, s->raftindex);
    row[12] = number(p, s->raftappliedindex);
    row[13] = joined(p, s->errors, s->n_errors, ", ");
    row[14] = s->downgradeinfo == NULL ? "" : s->downgradeinfo->targetversion;
    row[15] = truth(s->downgradeinfo != NULL && s->downgradeinfo->enabled);
}

struct table print_table_status(struct printer *p, const struct endpoint_status *items, size_t count)
{
    static const char *const headings[] = {
        "endpoint",
        "ID",
        "version",
        "storage version",
        "db size",
        "in use",
        "percentage not in use",
        "quota",
        "is leader",
        "is learner",
        "raft term",
        "raft index",
        "raft applied index",
        "errors",
        "downgrade target version",
        "downgrade enabled",
    };
    struct table t = {.columns = 16, .headings = headings, .arena = p->arena};
    for (size_t i = 0; i < count; i++) {
        fill_status(p, table_row(&t), &items[i]);
    }
    return t;
}

struct table print_table_hashes(struct printer *p, const struct endpoint_hash *items, size_t count)
{
    static const char *const headings[] = {"endpoint", "hash", "hash_revision"};
    struct table t = {.columns = 3, .headings = headings, .arena = p->arena};
    for (size_t i = 0; i < count; i++) {
        const char **row = table_row(&t);
        row[0] = items[i].endpoint;
        row[1] = number(p, items[i].hash->hash);
        row[2] = number(p, (uint64_t)items[i].hash->hash_revision);
    }
    return t;
}
