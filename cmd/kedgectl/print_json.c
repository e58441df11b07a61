/* The answers whose JSON isn't just the message: etcd's client gives them as structs of its own. */
#include "base/gojson.h"
#include "base/gotext.h"
#include "cmd/kedgectl/json.h"
#include "cmd/kedgectl/print.h"

/* Begins an object with the header's fields embedded, each followed by a comma. */
static void begin_embedded(struct printer *p, const Etcdserverpb__ResponseHeader *h)
{
    buffer_append(&p->out, "{", 1);
    if (h != NULL) {
        json_fields(&p->out, &h->base);
    }
}

void print_json_grant(struct printer *p, const Etcdserverpb__LeaseGrantResponse *r)
{
    begin_embedded(p, r->header);
    buffer_printf(&p->out, "\"ID\":%lld,\"TTL\":%lld,\"Error\":", (long long)r->id, (long long)r->ttl);
    gojson_string(&p->out, bytes_str(r->error));
    buffer_printf(&p->out, "}\n");
}

void print_json_keep_alive(struct printer *p, const Etcdserverpb__LeaseKeepAliveResponse *r)
{
    begin_embedded(p, r->header);
    buffer_printf(&p->out, "\"ID\":%lld,\"TTL\":%lld}\n", (long long)r->id, (long long)r->ttl);
}

void print_json_time_to_live(struct printer *p, const Etcdserverpb__LeaseTimeToLiveResponse *r)
{
    begin_embedded(p, r->header);
    buffer_printf(&p->out, "\"id\":%lld,\"ttl\":%lld,\"granted-ttl\":%lld,\"keys\":", (long long)r->id,
                  (long long)r->ttl, (long long)r->grantedttl);
    for (size_t i = 0; i < r->n_keys; i++) {
        buffer_append(&p->out, i == 0 ? "[" : ",", 1);
        gojson_bytes(&p->out, bytes_of(r->keys[i].data, r->keys[i].len));
    }
    buffer_printf(&p->out, r->n_keys == 0 ? "null}\n" : "]}\n");
}

void print_json_leases(struct printer *p, const Etcdserverpb__LeaseLeasesResponse *r)
{
    begin_embedded(p, r->header);
    buffer_printf(&p->out, "\"leases\":[");
    for (size_t i = 0; i < r->n_leases; i++) {
        buffer_printf(&p->out, "%s{\"id\":%lld}", i == 0 ? "" : ",", (long long)r->leases[i]->id);
    }
    buffer_printf(&p->out, "]}\n");
}

void print_json_watch(struct printer *p, const Etcdserverpb__WatchResponse *r)
{
    static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    buffer_printf(&p->out, "{\"Header\":");
    json_message(&p->out, r->header == NULL ? &none.base : &r->header->base);
    buffer_printf(&p->out, ",\"Events\":");
    for (size_t i = 0; i < r->n_events; i++) {
        buffer_append(&p->out, i == 0 ? "[" : ",", 1);
        json_message(&p->out, &r->events[i]->base);
    }
    buffer_printf(&p->out, "%s,\"CompactRevision\":%lld,\"Canceled\":%s,\"Created\":%s,\"CancelReason\":",
                  r->n_events == 0 ? "null" : "]", (long long)r->compact_revision, r->canceled ? "true" : "false",
                  r->created ? "true" : "false");
    gojson_string(&p->out, bytes_str(r->cancel_reason));
    buffer_printf(&p->out, "}\n");
}

static void print_texts(struct printer *p, const char *name, char *const *texts, size_t count)
{
    if (count == 0) {
        return;
    }
    buffer_printf(&p->out, ",\"%s\":", name);
    for (size_t i = 0; i < count; i++) {
        buffer_append(&p->out, i == 0 ? "[" : ",", 1);
        gojson_string(&p->out, bytes_str(texts[i]));
    }
    buffer_append(&p->out, "]", 1);
}

static void print_hex_member(struct printer *p, const Etcdserverpb__Member *m)
{
    buffer_printf(&p->out, "{\"ID\":\"%llx\"", (unsigned long long)m->id);
    if (*m->name != '\0') {
        buffer_printf(&p->out, ",\"name\":");
        gojson_string(&p->out, bytes_str(m->name));
    }
    print_texts(p, "peerURLs", m->peerurls, m->n_peerurls);
    print_texts(p, "clientURLs", m->clienturls, m->n_clienturls);
    buffer_printf(&p->out, "%s}", m->islearner ? ",\"isLearner\":true" : "");
}

/* With --hex: the only JSON in which ids become texts. */
void print_json_members(struct printer *p, const struct member_answer *answer)
{
    static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    const Etcdserverpb__ResponseHeader *h = answer->header == NULL ? &none : answer->header;
    buffer_printf(&p->out, "{\"header\":{\"cluster_id\":\"%llx\",\"member_id\":\"%llx\"",
                  (unsigned long long)h->cluster_id, (unsigned long long)h->member_id);
    if (h->revision != 0) {
        buffer_printf(&p->out, ",\"revision\":%lld", (long long)h->revision);
    }
    if (h->raft_term != 0) {
        buffer_printf(&p->out, ",\"raft_term\":%llu", (unsigned long long)h->raft_term);
    }
    buffer_printf(&p->out, "}");
    if (answer->added != NULL) {
        buffer_printf(&p->out, ",\"member\":");
        print_hex_member(p, answer->added);
    }
    buffer_printf(&p->out, ",\"members\":[");
    for (size_t i = 0; i < answer->count; i++) {
        buffer_append(&p->out, ",", i == 0 ? 0 : 1);
        print_hex_member(p, answer->members[i]);
    }
    buffer_printf(&p->out, "]}\n");
}

void print_json_health(struct printer *p, const struct endpoint_health *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buffer_printf(&p->out, "%s{\"endpoint\":", i == 0 ? "[" : ",");
        gojson_string(&p->out, bytes_str(items[i].endpoint));
        buffer_printf(&p->out, ",\"health\":%s,\"took\":", items[i].healthy ? "true" : "false");
        gojson_string(&p->out, bytes_str(items[i].took));
        if (*items[i].error != '\0') {
            buffer_printf(&p->out, ",\"error\":");
            gojson_string(&p->out, bytes_str(items[i].error));
        }
        buffer_append(&p->out, "}", 1);
    }
    buffer_printf(&p->out, count == 0 ? "null\n" : "]\n");
}

static void print_item(struct printer *p, size_t i, const char *endpoint, const char *name,
                       const ProtobufCMessage *message)
{
    buffer_printf(&p->out, "%s{\"Endpoint\":", i == 0 ? "[" : ",");
    gojson_string(&p->out, bytes_str(endpoint));
    buffer_printf(&p->out, ",\"%s\":", name);
    json_message(&p->out, message);
    buffer_append(&p->out, "}", 1);
}

void print_json_status(struct printer *p, const struct endpoint_status *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        print_item(p, i, items[i].endpoint, "Status", &items[i].status->base);
    }
    buffer_printf(&p->out, count == 0 ? "null\n" : "]\n");
}

void print_json_hashes(struct printer *p, const struct endpoint_hash *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        print_item(p, i, items[i].endpoint, "HashKV", &items[i].hash->base);
    }
    buffer_printf(&p->out, count == 0 ? "null\n" : "]\n");
}
