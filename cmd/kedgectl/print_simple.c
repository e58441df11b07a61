#include "cmd/kedgectl/print.h"
#include <stdio.h>

static void print_hex(struct buffer *out, ProtobufCBinaryData data)
{
    for (size_t i = 0; i < data.len; i++) {
        buffer_printf(out, "\\x%02x", data.data[i]);
    }
    buffer_append(out, "\n", 1);
}

static void print_bytes(struct printer *p, ProtobufCBinaryData data)
{
    if (p->hex) {
        print_hex(&p->out, data);
    } else {
        buffer_append(&p->out, data.data, data.len);
        buffer_append(&p->out, "\n", 1);
    }
}

static void print_kv(struct printer *p, const Mvccpb__KeyValue *kv)
{
    static const Mvccpb__KeyValue none = MVCCPB__KEY_VALUE__INIT;
    kv = kv == NULL ? &none : kv;
    if (!p->value_only) {
        print_bytes(p, kv->key);
    }
    print_bytes(p, kv->value);
}

void print_simple_get(struct printer *p, const Etcdserverpb__RangeResponse *r)
{
    for (size_t i = 0; i < r->n_kvs; i++) {
        print_kv(p, r->kvs[i]);
    }
}

void print_simple_put(struct printer *p, const Etcdserverpb__PutResponse *r)
{
    buffer_printf(&p->out, "OK\n");
    if (r->prev_kv != NULL) {
        print_kv(p, r->prev_kv);
    }
}

void print_simple_delete(struct printer *p, const Etcdserverpb__DeleteRangeResponse *r)
{
    buffer_printf(&p->out, "%lld\n", (long long)r->deleted);
    for (size_t i = 0; i < r->n_prev_kvs; i++) {
        print_kv(p, r->prev_kvs[i]);
    }
}

void print_simple_txn(struct printer *p, const Etcdserverpb__TxnResponse *r)
{
    buffer_printf(&p->out, r->succeeded ? "SUCCESS\n" : "FAILURE\n");
    for (size_t i = 0; i < r->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = r->responses[i];
        buffer_printf(&p->out, "\n");
        switch (op->response_case) {
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
            print_simple_get(p, op->response_range);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
            print_simple_put(p, op->response_put);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
            print_simple_delete(p, op->response_delete_range);
            break;
        default: /* no line of the tool's language asks for anything else */
            buffer_printf(&p->out, "unexpected response\n");
            break;
        }
    }
}

void print_simple_watch(struct printer *p, const Etcdserverpb__WatchResponse *r)
{
    for (size_t i = 0; i < r->n_events; i++) {
        const Mvccpb__Event *event = r->events[i];
        buffer_printf(&p->out, "%s\n", printer_event_name((int)event->type));
        if (event->prev_kv != NULL) {
            print_kv(p, event->prev_kv);
        }
        print_kv(p, event->kv);
    }
}

void print_simple_time_to_live(struct printer *p, const Etcdserverpb__LeaseTimeToLiveResponse *r, bool keys)
{
    unsigned long long id = (unsigned long long)r->id;
    if (r->grantedttl == 0 && r->ttl == -1) {
        buffer_printf(&p->out, "lease %016llx already expired\n", id);
        return;
    }
    buffer_printf(&p->out, "lease %016llx granted with TTL(%llds), remaining(%llds)", id, (long long)r->grantedttl,
                  (long long)r->ttl);
    if (keys) {
        buffer_printf(&p->out, ", attached keys([");
        for (size_t i = 0; i < r->n_keys; i++) {
            buffer_append(&p->out, " ", i == 0 ? 0 : 1);
            buffer_append(&p->out, r->keys[i].data, r->keys[i].len);
        }
        buffer_printf(&p->out, "])");
    }
    buffer_printf(&p->out, "\n");
}

void print_simple_leases(struct printer *p, const Etcdserverpb__LeaseLeasesResponse *r)
{
    buffer_printf(&p->out, "found %zu leases\n", r->n_leases);
    for (size_t i = 0; i < r->n_leases; i++) {
        buffer_printf(&p->out, "%016llx\n", (unsigned long long)r->leases[i]->id);
    }
}

void print_simple_alarms(struct printer *p, const Etcdserverpb__AlarmResponse *r)
{
    for (size_t i = 0; i < r->n_alarms; i++) {
        const Etcdserverpb__AlarmMember *a = r->alarms[i];
        const char *space = "";
        if (a->memberid != 0) {
            buffer_printf(&p->out, "memberID:%llu", (unsigned long long)a->memberid);
            space = " ";
        }
        if (a->alarm != ETCDSERVERPB__ALARM_TYPE__NONE) {
            buffer_printf(&p->out, "%salarm:%s", space, printer_alarm_name((int)a->alarm));
        }
        buffer_printf(&p->out, "\n");
    }
}

void print_simple_health(struct printer *p, const struct endpoint_health *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (*items[i].error == '\0') {
            buffer_printf(&p->out, "%s is healthy: successfully committed proposal: took = %s\n", items[i].endpoint,
                          items[i].took);
        } else {
            fprintf(stderr, "%s is unhealthy: failed to commit proposal: %s\n", items[i].endpoint, items[i].error);
        }
    }
}
