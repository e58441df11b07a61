/* Lines of the form "Name" : value. Texts are quoted as Go quotes them. */
#include "base/gotext.h"
#include "cmd/kedgectl/print.h"

static void print_number(struct printer *p, const char *name, int64_t value)
{
    buffer_printf(&p->out, "\"%s\" : %lld\n", name, (long long)value);
}

/* An id: decimal, or with --hex in hexadecimal digits. */
static void print_id(struct printer *p, const char *name, uint64_t id)
{
    buffer_printf(&p->out, p->hex ? "\"%s\" : %llx\n" : "\"%s\" : %llu\n", name, (unsigned long long)id);
}

static void print_lease(struct printer *p, const char *prefix, const char *name, int64_t id)
{
    buffer_printf(&p->out, p->hex ? "\"%s%s\" : %016llx\n" : "\"%s%s\" : %lld\n", prefix, name, (long long)id);
}

static void print_flag(struct printer *p, const char *name, bool value)
{
    buffer_printf(&p->out, "\"%s\" : %s\n", name, value ? "true" : "false");
}

static void print_quoted(struct printer *p, const char *prefix, const char *name, struct bytes text)
{
    buffer_printf(&p->out, "\"%s%s\" : ", prefix, name);
    gotext_quote(&p->out, text);
    buffer_append(&p->out, "\n", 1);
}

static struct bytes view(ProtobufCBinaryData data)
{
    return bytes_of(data.data, data.len);
}

void print_fields_header(struct printer *p, const Etcdserverpb__ResponseHeader *h)
{
    static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    h = h == NULL ? &none : h;
    print_id(p, "ClusterID", h->cluster_id);
    print_id(p, "MemberID", h->member_id);
    if (h->revision > 0) {
        print_number(p, "Revision", h->revision);
    }
    buffer_printf(&p->out, "\"RaftTerm\" : %llu\n", (unsigned long long)h->raft_term);
}

static void print_kv(struct printer *p, const char *prefix, const Mvccpb__KeyValue *kv)
{
    static const Mvccpb__KeyValue none = MVCCPB__KEY_VALUE__INIT;
    kv = kv == NULL ? &none : kv;
    print_quoted(p, prefix, "Key", view(kv->key));
    buffer_printf(&p->out, "\"%sCreateRevision\" : %lld\n", prefix, (long long)kv->create_revision);
    buffer_printf(&p->out, "\"%sModRevision\" : %lld\n", prefix, (long long)kv->mod_revision);
    buffer_printf(&p->out, "\"%sVersion\" : %lld\n", prefix, (long long)kv->version);
    print_quoted(p, prefix, "Value", view(kv->value));
    print_lease(p, prefix, "Lease", kv->lease);
}

void print_fields_get(struct printer *p, const Etcdserverpb__RangeResponse *r)
{
    print_fields_header(p, r->header);
    for (size_t i = 0; i < r->n_kvs; i++) {
        print_kv(p, "", r->kvs[i]);
    }
    print_flag(p, "More", r->more);
    print_number(p, "Count", r->count);
}

void print_fields_put(struct printer *p, const Etcdserverpb__PutResponse *r)
{
    print_fields_header(p, r->header);
    if (r->prev_kv != NULL) {
        print_kv(p, "Prev", r->prev_kv);
    }
}

void print_fields_delete(struct printer *p, const Etcdserverpb__DeleteRangeResponse *r)
{
    print_fields_header(p, r->header);
    print_number(p, "Deleted", r->deleted);
    for (size_t i = 0; i < r->n_prev_kvs; i++) {
        print_kv(p, "Prev", r->prev_kvs[i]);
    }
}

void print_fields_txn(struct printer *p, const Etcdserverpb__TxnResponse *r)
{
    print_fields_header(p, r->header);
    print_flag(p, "Succeeded", r->succeeded);
    for (size_t i = 0; i < r->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = r->responses[i];
        switch (op->response_case) {
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
            print_fields_get(p, op->response_range);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
            print_fields_put(p, op->response_put);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
            print_fields_delete(p, op->response_delete_range);
            break;
        default:
            buffer_printf(&p->out, "\"Unknown\" : \"\"\n");
            break;
        }
    }
}

void print_fields_watch(struct printer *p, const Etcdserverpb__WatchResponse *r)
{
    print_fields_header(p, r->header);
    for (size_t i = 0; i < r->n_events; i++) {
        const Mvccpb__Event *event = r->events[i];
        buffer_printf(&p->out, "\"Type\" : %s\n", printer_event_name((int)event->type));
        if (event->prev_kv != NULL) {
            print_kv(p, "Prev", event->prev_kv);
        }
        print_kv(p, "", event->kv);
    }
}

void print_fields_lease(struct printer *p, const Etcdserverpb__ResponseHeader *h, int64_t id, int64_t ttl)
{
    print_fields_header(p, h);
    print_lease(p, "", "ID", id);
    print_number(p, "TTL", ttl);
}

void print_fields_time_to_live(struct printer *p, const Etcdserverpb__LeaseTimeToLiveResponse *r)
{
    print_fields_lease(p, r->header, r->id, r->ttl);
    print_number(p, "GrantedTTL", r->grantedttl);
    for (size_t i = 0; i < r->n_keys; i++) {
        print_quoted(p, "", "Key", view(r->keys[i]));
    }
}

void print_fields_leases(struct printer *p, const Etcdserverpb__LeaseLeasesResponse *r)
{
    print_fields_header(p, r->header);
    for (size_t i = 0; i < r->n_leases; i++) {
        print_lease(p, "", "ID", r->leases[i]->id);
    }
}

void print_fields_members(struct printer *p, const Etcdserverpb__MemberListResponse *r)
{
    print_fields_header(p, r->header);
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        print_id(p, "ID", m->id);
        print_quoted(p, "", "Name", bytes_str(m->name));
        for (size_t j = 0; j < m->n_peerurls; j++) {
            print_quoted(p, "", "PeerURL", bytes_str(m->peerurls[j]));
        }
        for (size_t j = 0; j < m->n_clienturls; j++) {
            print_quoted(p, "", "ClientURL", bytes_str(m->clienturls[j]));
        }
        print_flag(p, "IsLearner", m->islearner);
        buffer_printf(&p->out, "\n");
    }
}

void print_fields_alarms(struct printer *p, const Etcdserverpb__AlarmResponse *r)
{
    print_fields_header(p, r->header);
    for (size_t i = 0; i < r->n_alarms; i++) {
        print_id(p, "MemberID", r->alarms[i]->memberid);
        buffer_printf(&p->out, "\"AlarmType\" : %s\n\n", printer_alarm_name((int)r->alarms[i]->alarm));
    }
}

void print_fields_health(struct printer *p, const struct endpoint_health *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        print_quoted(p, "", "Endpoint", bytes_str(items[i].endpoint));
        print_flag(p, "Health", items[i].healthy);
        buffer_printf(&p->out, "\"Took\" : %s\n\"Error\" : %s\n\n", items[i].took, items[i].error);
    }
}

static void print_one_status(struct printer *p, const struct endpoint_status *item)
{
    const Etcdserverpb__StatusResponse *s = item->status;
    print_fields_header(p, s->header);
    print_quoted(p, "", "Version", bytes_str(s->version));
    print_quoted(p, "", "StorageVersion", bytes_str(s->storageversion));
    print_number(p, "DBSize", s->dbsize);
    print_number(p, "DBSizeInUse", s->dbsizeinuse);
    print_number(p, "DBSizeQuota", s->dbsizequota);
    buffer_printf(&p->out, "\"Leader\" : %llu\n", (unsigned long long)s->leader);
    print_flag(p, "IsLearner", s->islearner);
    buffer_printf(&p->out, "\"RaftIndex\" : %llu\n", (unsigned long long)s->raftindex);
    buffer_printf(&p->out, "\"RaftTerm\" : %llu\n", (unsigned long long)s->raftterm);
    buffer_printf(&p->out, "\"RaftAppliedIndex\" : %llu\n\"Errors\" : [", (unsigned long long)s->raftappliedindex);
    for (size_t i = 0; i < s->n_errors; i++) {
        buffer_printf(&p->out, "%s%s", i == 0 ? "" : " ", s->errors[i]);
    }
    buffer_printf(&p->out, "]\n");
    print_quoted(p, "", "Endpoint", bytes_str(item->endpoint));
    print_quoted(p, "", "DowngradeTargetVersion",
                 bytes_str(s->downgradeinfo == NULL ? "" : s->downgradeinfo->targetversion));
    print_flag(p, "DowngradeEnabled", s->downgradeinfo != NULL && s->downgradeinfo->enabled);
    buffer_printf(&p->out, "\n");
}

void print_fields_status(struct printer *p, const struct endpoint_status *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        print_one_status(p, &items[i]);
    }
}

void print_fields_hashes(struct printer *p, const struct endpoint_hash *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        print_fields_header(p, items[i].hash->header);
        print_quoted(p, "", "Endpoint", bytes_str(items[i].endpoint));
        buffer_printf(&p->out, "\"Hash\" : %u\n", items[i].hash->hash);
        print_number(p, "HashRevision", items[i].hash->hash_revision);
        buffer_printf(&p->out, "\n");
    }
}
