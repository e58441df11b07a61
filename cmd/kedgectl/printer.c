/* Chooses the format. Whatever has no function of its own is printed as its message: JSON and protobuf. */
#include "cmd/kedgectl/printer.h"
#include "base/pb.h"
#include "cmd/cli.h"
#include "cmd/kedgectl/json.h"
#include "cmd/kedgectl/print.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>

static const char *const formats[] = {
    [PRINT_SIMPLE] = "simple", [PRINT_FIELDS] = "fields",     [PRINT_JSON] = "json",
    [PRINT_TABLE] = "table",   [PRINT_PROTOBUF] = "protobuf",
};

bool printer_find_format(const char *name, enum print_format *out)
{
    for (int i = PRINT_SIMPLE; i <= PRINT_PROTOBUF; i++) {
        if (strcmp(formats[i], name) == 0) {
            *out = (enum print_format)i;
            return true;
        }
    }
    return false;
}

void printer_flush(struct printer *p)
{
    bool written = p->out.len == 0 || fwrite(p->out.data, 1, p->out.len, stdout) == p->out.len;
    if ((fflush(stdout) != 0 || !written) && errno == EPIPE) {
        /* Nobody reads any more: a watch would go on for ever. The signal is ignored for the sake of sockets. */
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    p->out.len = 0;
}

void printer_free(struct printer *p)
{
    buffer_free(&p->out);
}

const char *printer_bytes(struct arena *arena, uint64_t size)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)size;
    int unit = 0;
    if (size < 10) {
        return arena_printf(arena, "%llu B", (unsigned long long)size);
    }
    while (value >= 1000 && unit < 6) {
        value /= 1000;
        unit++;
    }
    double rounded = (double)(uint64_t)(value * 10 + 0.5) / 10;
    return arena_printf(arena, rounded < 10 ? "%.1f %s" : "%.0f %s", rounded, units[unit]);
}

const char *printer_alarm_name(int alarm)
{
    return alarm == 0 ? "NONE" : alarm == 1 ? "NOSPACE" : alarm == 2 ? "CORRUPT" : "UNKNOWN";
}

const char *printer_event_name(int type)
{
    return type == 0 ? "PUT" : "DELETE";
}

static int unsupported(const struct printer *p)
{
    return cli_fail(CLI_BAD_FEATURE, "%s not supported as output format", formats[p->format]);
}

static int print_message(struct printer *p, const ProtobufCMessage *message)
{
    switch (p->format) {
    case PRINT_JSON:
        json_message(&p->out, message);
        buffer_append(&p->out, "\n", 1);
        return 0;
    case PRINT_PROTOBUF:
        pb_append(&p->out, message);
        return 0;
    default:
        return unsupported(p);
    }
}

/* Lease answers in protobuf are only their header: so does etcdctl, whose structs embed it. */
static int print_header(struct printer *p, const Etcdserverpb__ResponseHeader *header)
{
    static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    return print_message(p, header == NULL ? &none.base : &header->base);
}

/* print_simple_x(p, r), print_fields_x(p, r), or the message. */
#define BY_FORMAT(p, what, r)                                                                                          \
    switch ((p)->format) {                                                                                             \
    case PRINT_SIMPLE:                                                                                                 \
        print_simple_##what(p, r);                                                                                     \
        return 0;                                                                                                      \
    case PRINT_FIELDS:                                                                                                 \
        print_fields_##what(p, r);                                                                                     \
        return 0;                                                                                                      \
    default:                                                                                                           \
        return print_message(p, &(r)->base);                                                                           \
    }

int printer_get(struct printer *p, const Etcdserverpb__RangeResponse *r)
{
    BY_FORMAT(p, get, r)
}

int printer_put(struct printer *p, const Etcdserverpb__PutResponse *r)
{
    BY_FORMAT(p, put, r)
}

int printer_delete(struct printer *p, const Etcdserverpb__DeleteRangeResponse *r)
{
    BY_FORMAT(p, delete, r)
}

int printer_txn(struct printer *p, const Etcdserverpb__TxnResponse *r)
{
    BY_FORMAT(p, txn, r)
}

int printer_alarms(struct printer *p, const Etcdserverpb__AlarmResponse *r)
{
    BY_FORMAT(p, alarms, r)
}

int printer_watch(struct printer *p, const Etcdserverpb__WatchResponse *r)
{
    Etcdserverpb__WatchResponse plain = *r;
    switch (p->format) {
    case PRINT_SIMPLE:
        print_simple_watch(p, r);
        return 0;
    case PRINT_FIELDS:
        print_fields_watch(p, r);
        return 0;
    case PRINT_JSON:
        print_json_watch(p, r);
        return 0;
    default: /* without what etcd's client does not pass on */
        plain.watch_id = 0;
        plain.fragment = false;
        plain.cancel_reason = (char *)protobuf_c_empty_string;
        return print_message(p, &plain.base);
    }
}

int printer_grant(struct printer *p, const Etcdserverpb__LeaseGrantResponse *r)
{
    switch (p->format) {
    case PRINT_SIMPLE:
        buffer_printf(&p->out, "lease %016llx granted with TTL(%llds)\n", (unsigned long long)r->id, (long long)r->ttl);
        return 0;
    case PRINT_FIELDS:
        print_fields_lease(p, r->header, r->id, r->ttl);
        return 0;
    case PRINT_JSON:
        print_json_grant(p, r);
        return 0;
    default:
        return print_header(p, r->header);
    }
}

static int refuse_revoke(const struct printer *p, const Etcdserverpb__ResponseHeader *h)
{
    const char *header = h == NULL
                             ? "<nil>"
                             : arena_printf(p->arena, "cluster_id:%llu member_id:%llu revision:%lld raft_term:%llu",
                                            (unsigned long long)h->cluster_id, (unsigned long long)h->member_id,
                                            (long long)h->revision, (unsigned long long)h->raft_term);
    /* etcdctl prints Go's view of the struct, an address included: programs may look for the text before it */
    return cli_fail(CLI_BAD_FEATURE,
                    "marshal unsupported for type *clientv3.LeaseRevokeResponse (&{{{} [] [] 0xc000000000} %s [] 0})",
                    header);
}

int printer_revoke(struct printer *p, int64_t id, const Etcdserverpb__LeaseRevokeResponse *r)
{
    switch (p->format) {
    case PRINT_SIMPLE:
        buffer_printf(&p->out, "lease %016llx revoked\n", (unsigned long long)id);
        return 0;
    case PRINT_FIELDS:
        print_fields_header(p, r->header);
        return 0;
    case PRINT_PROTOBUF:
        return refuse_revoke(p, r->header);
    default:
        return print_message(p, &r->base);
    }
}

int printer_keep_alive(struct printer *p, const Etcdserverpb__LeaseKeepAliveResponse *r)
{
    switch (p->format) {
    case PRINT_SIMPLE:
        buffer_printf(&p->out, "lease %016llx keepalived with TTL(%lld)\n", (unsigned long long)r->id,
                      (long long)r->ttl);
        return 0;
    case PRINT_FIELDS:
        print_fields_lease(p, r->header, r->id, r->ttl);
        return 0;
    case PRINT_JSON:
        print_json_keep_alive(p, r);
        return 0;
    default:
        return print_header(p, r->header);
    }
}

int printer_time_to_live(struct printer *p, const Etcdserverpb__LeaseTimeToLiveResponse *r, bool keys)
{
    switch (p->format) {
    case PRINT_SIMPLE:
        print_simple_time_to_live(p, r, keys);
        return 0;
    case PRINT_FIELDS:
        print_fields_time_to_live(p, r);
        return 0;
    case PRINT_JSON:
        print_json_time_to_live(p, r);
        return 0;
    default:
        return print_header(p, r->header);
    }
}

int printer_leases(struct printer *p, const Etcdserverpb__LeaseLeasesResponse *r)
{
    switch (p->format) {
    case PRINT_SIMPLE:
        print_simple_leases(p, r);
        return 0;
    case PRINT_FIELDS:
        print_fields_leases(p, r);
        return 0;
    case PRINT_JSON:
        print_json_leases(p, r);
        return 0;
    default:
        return print_header(p, r->header);
    }
}

/* A table, or its rows in format simple. */
static int print_rows(struct printer *p, const struct table *t)
{
    if (p->format == PRINT_TABLE) {
        table_print(t, &p->out);
    } else {
        table_print_plain(t, &p->out);
    }
    return 0;
}

int printer_members(struct printer *p, const Etcdserverpb__MemberListResponse *r)
{
    struct table t;
    switch (p->format) {
    case PRINT_FIELDS:
        print_fields_members(p, r);
        return 0;
    case PRINT_JSON:
        if (p->hex) {
            const struct member_answer answer = {&r->base, r->header, NULL, r->members, r->n_members};
            print_json_members(p, &answer);
            return 0;
        }
        return print_message(p, &r->base);
    case PRINT_PROTOBUF:
        return print_message(p, &r->base);
    default:
        t = print_table_members(p, r);
        return print_rows(p, &t);
    }
}

int printer_member_change(struct printer *p, const char *done, uint64_t id, const struct member_answer *answer)
{
    if (p->format == PRINT_JSON && p->hex) {
        print_json_members(p, answer);
        return 0;
    }
    if (p->format != PRINT_SIMPLE) {
        return print_message(p, answer->message);
    }
    buffer_printf(&p->out, "Member %16llx %s cluster %16llx\n", (unsigned long long)id, done,
                  answer->header == NULL ? 0ULL : (unsigned long long)answer->header->cluster_id);
    return 0;
}

int printer_move_leader(struct printer *p, uint64_t from, uint64_t to, const Etcdserverpb__MoveLeaderResponse *r)
{
    if (p->format != PRINT_SIMPLE) {
        return print_message(p, &r->base);
    }
    buffer_printf(&p->out, "Leadership transferred from %llx to %llx\n", (unsigned long long)from,
                  (unsigned long long)to);
    return 0;
}

int printer_downgrade(struct printer *p, const char *action, const Etcdserverpb__DowngradeResponse *r)
{
    if (p->format != PRINT_SIMPLE) {
        return print_message(p, &r->base);
    }
    buffer_printf(&p->out, "Downgrade %s success, cluster version %s\n", action, r->version);
    return 0;
}

int printer_health(struct printer *p, const struct endpoint_health *items, size_t count)
{
    struct table t;
    switch (p->format) {
    case PRINT_SIMPLE:
        print_simple_health(p, items, count);
        return 0;
    case PRINT_FIELDS:
        print_fields_health(p, items, count);
        return 0;
    case PRINT_JSON:
        print_json_health(p, items, count);
        return 0;
    case PRINT_TABLE:
        t = print_table_health(p, items, count);
        return print_rows(p, &t);
    default:
        return unsupported(p);
    }
}

int printer_status(struct printer *p, const struct endpoint_status *items, size_t count)
{
    struct table t;
    switch (p->format) {
    case PRINT_FIELDS:
        print_fields_status(p, items, count);
        return 0;
    case PRINT_JSON:
        print_json_status(p, items, count);
        return 0;
    case PRINT_PROTOBUF:
        return unsupported(p);
    default:
        t = print_table_status(p, items, count);
        return print_rows(p, &t);
    }
}

int printer_hashes(struct printer *p, const struct endpoint_hash *items, size_t count)
{
    struct table t;
    switch (p->format) {
    case PRINT_FIELDS:
        print_fields_hashes(p, items, count);
        return 0;
    case PRINT_JSON:
        print_json_hashes(p, items, count);
        return 0;
    case PRINT_PROTOBUF:
        return unsupported(p);
    default:
        t = print_table_hashes(p, items, count);
        return print_rows(p, &t);
    }
}
