/* Building a generation from what the store has (backend.md "Opening rules worth copying"), and taking it down. */
#include "base/canary.h"
#include "base/check.h"
#include "kv/lease_query.h"
#include "kv/op.h"
#include "kv/store.h"

#include <stdlib.h>

#define DEFAULT_QUOTA_BYTES (2ULL << 30)
/* So many rows are on their way between being read and being added to the index (kv/index.h, index_load_hash). */
#define QUEUED_ROWS 16
#define QUEUED_KEY_BYTES 128 /* a longer key goes in at once */

/* A live key that names a lease, found while the keys are read; the leases are loaded by then. */
struct attachment {
    const struct index_key *key;
    int64_t main;
    int64_t lease;
};

/* A row that was read and is not in the index yet. */
struct queued {
    struct index_change change;
    int64_t lease;
    uint32_t hash, key_len;
    uint8_t key[QUEUED_KEY_BYTES];
};

struct opening {
    struct kv *kv;
    struct index_loader *loader;
    struct attachment *attachments;
    size_t attachment_count, attachment_capacity;
    struct queued queue[QUEUED_ROWS];
    unsigned queue_first, queue_count;
    int64_t last_main;
    uint64_t rows;
    int error;
    const char *what; /* the row that is wrong */
    enum backend_table table;
};

static bool opening_failed(struct opening *o, const char *what)
{
    o->error = ERR_CORRUPT_DATA;
    o->what = what;
    return false;
}

static void attachment_add(struct opening *o, const struct index_key *key, int64_t main, int64_t lease)
{
    if (o->attachment_count == o->attachment_capacity) {
        o->attachment_capacity = o->attachment_capacity == 0 ? 64 : o->attachment_capacity * 2;
        o->attachments = mem_realloc(o->attachments, o->attachment_capacity * sizeof o->attachments[0]);
    }
    o->attachments[o->attachment_count++] = (struct attachment){key, main, lease};
}

static void add_key(struct opening *o, struct bytes key_bytes, uint32_t hash, const struct index_change *change,
                    int64_t lease)
{
    const struct index_key *key = index_load_add(o->loader, key_bytes, hash, change);
    if (lease != 0 && change->created != 0) {
        attachment_add(o, key, change->main, lease);
    }
}

static void add_queued(struct opening *o, unsigned left)
{
    while (o->queue_count > left) {
        const struct queued *q = &o->queue[o->queue_first];
        add_key(o, bytes_of(q->key, q->key_len), q->hash, &q->change, q->lease);
        o->queue_first = (o->queue_first + 1) % QUEUED_ROWS;
        o->queue_count--;
    }
}

static void queue_key(struct opening *o, struct bytes key, const struct index_change *change, int64_t lease)
{
    uint32_t hash = index_load_hash(o->loader, key);
    if (key.len > QUEUED_KEY_BYTES) {
        add_queued(o, 0);
        add_key(o, key, hash, change, lease);
        return;
    }
    add_queued(o, QUEUED_ROWS - 1);
    struct queued *q = &o->queue[(o->queue_first + o->queue_count++) % QUEUED_ROWS];
    q->change = *change;
    q->lease = lease;
    q->hash = hash;
    q->key_len = (uint32_t)key.len;
    memcpy(q->key, key.data, key.len);
}

/* etcdutl's bump of revisions leaves a put without a value: a key of no name, that no request can name either. It is a
 * row like others for compaction and hashes. */
static void name_bump(struct row_fields *fields, int64_t main)
{
    fields->key = bytes_str("");
    fields->create_revision = fields->mod_revision = main;
    fields->version = 1;
}

static bool load_key(void *arg, struct bytes row_key, struct bytes value)
{
    struct opening *o = arg;
    struct revision revision;
    struct row_fields fields;
    bool tombstone;
    o->rows++;
    if (row_revision_get(row_key, &revision, &tombstone) != 0 || revision.sub > UINT32_MAX) {
        return opening_failed(o, "a key of table key is no revision");
    }
    int error = row_decode(value, &fields);
    bool bump = error == 0 && value.len == 0 && !tombstone;
    if (bump) {
        name_bump(&fields, revision.main);
    }
    if (error != 0 || (fields.key.len == 0 && !bump) ||
        (!tombstone && (fields.mod_revision != revision.main || fields.create_revision <= 0 || fields.version <= 0))) {
        return opening_failed(o, "a row of table key does not fit its revision");
    }
    struct index_change change = {
        .main = revision.main,
        .sub = (uint32_t)revision.sub,
        .created = tombstone ? 0 : fields.create_revision,
        .version = tombstone ? 0 : fields.version,
        .len = (uint32_t)value.len,
    };
    queue_key(o, fields.key, &change, fields.lease);
    o->last_main = revision.main;
    return true;
}

static bool load_lease(void *arg, struct bytes key, struct bytes value)
{
    struct opening *o = arg;
    return lease_load(o->kv->leases, key, value) == 0 || opening_failed(o, "a row is no lease");
}

static bool load_alarm(void *arg, struct bytes key, struct bytes value)
{
    struct opening *o = arg;
    (void)value;
    return alarm_load(&o->kv->alarms, key) == 0 || opening_failed(o, "a row is no alarm");
}

static bool load_member(void *arg, struct bytes key, struct bytes value)
{
    struct opening *o = arg;
    return members_load(&o->kv->members, key, value) == 0 || opening_failed(o, "a row is no member");
}

static bool load_removed(void *arg, struct bytes key, struct bytes value)
{
    struct opening *o = arg;
    (void)value;
    return members_load_removed(&o->kv->members, key) == 0 || opening_failed(o, "a row is no member id");
}

static bool load_cluster(void *arg, struct bytes key, struct bytes value)
{
    struct opening *o = arg;
    return version_load_cluster(&o->kv->versions, key, value) == 0 || opening_failed(o, "a row is no cluster fact");
}

static bool load_auth(void *arg, struct bytes key, struct bytes value)
{
    struct opening *o = arg;
    return auth_load(&o->kv->auth, o->table, key, value) == 0 || opening_failed(o, "a row is no setting, user or role");
}

static int load_table(struct opening *o, struct backend_read *read, enum backend_table table,
                      bool (*visit)(void *arg, struct bytes key, struct bytes value))
{
    o->table = table;
    int error = backend_scan(read, table, (struct bytes){0}, visit, o);
    return error != 0 ? error : o->error;
}

/* --- meta --- */

static int meta_get(struct opening *o, struct backend_read *read, const char *name, struct bytes *value)
{
    o->table = BACKEND_META;
    int error = backend_get(read, BACKEND_META, bytes_str(name), value);
    if (error == ERR_ABSENT) {
        *value = (struct bytes){0};
        return 0;
    }
    return error;
}

static int load_position(struct opening *o, struct backend_read *read)
{
    struct kv *kv = o->kv;
    struct bytes index, term;
    int error = meta_get(o, read, "consistent_index", &index);
    error = error != 0 ? error : meta_get(o, read, "term", &term);
    if (error != 0) {
        return error;
    }
    if ((index.len != 0 && index.len != 8) || (term.len != 0 && term.len != 8)) {
        opening_failed(o, "consistent_index or term is no number");
        return o->error;
    }
    kv->applied_index = kv->stored_index = index.len == 0 ? 0 : get_be64(index.data);
    kv->applied_term = kv->stored_term = term.len == 0 ? 0 : get_be64(term.data);
    if (CANARY(APPLIED_TWICE) && kv->applied_index > 20) {
        kv->applied_index = --kv->stored_index;
    }
    return 0;
}

/* *revision INT64_MIN = there is none. */
static int load_compact(struct opening *o, struct backend_read *read, const char *name, int64_t *revision)
{
    struct bytes value;
    struct revision at;
    bool tombstone;
    int error = meta_get(o, read, name, &value);
    *revision = INT64_MIN;
    if (error != 0 || value.len == 0) {
        return error;
    }
    if (row_revision_get(value, &at, &tombstone) != 0) {
        opening_failed(o, "a compact revision is no revision");
        return o->error;
    }
    *revision = at.main;
    return 0;
}

static int load_versions(struct opening *o, struct backend_read *read)
{
    struct bytes value;
    int error = meta_get(o, read, "storageVersion", &value);
    if (error == 0 && value.len != 0 && version_load_storage(&o->kv->versions, value) != 0) {
        opening_failed(o, "the storage version is no version");
        return o->error;
    }
    return error;
}

static int load_meta(struct opening *o, struct backend_read *read, int64_t *scheduled, int64_t *finished)
{
    int error = load_position(o, read);
    error = error != 0 ? error : load_compact(o, read, "scheduledCompactRev", scheduled);
    error = error != 0 ? error : load_compact(o, read, "finishedCompactRev", finished);
    return error != 0 ? error : load_versions(o, read);
}

static int load_small_tables(struct opening *o, struct backend_read *read)
{
    int error = load_table(o, read, BACKEND_LEASE, load_lease);
    error = error != 0 ? error : load_table(o, read, BACKEND_ALARM, load_alarm);
    error = error != 0 ? error : load_table(o, read, BACKEND_MEMBERS, load_member);
    error = error != 0 ? error : load_table(o, read, BACKEND_MEMBERS_REMOVED, load_removed);
    error = error != 0 ? error : load_table(o, read, BACKEND_AUTH, load_auth);
    error = error != 0 ? error : load_table(o, read, BACKEND_AUTH_USERS, load_auth);
    error = error != 0 ? error : load_table(o, read, BACKEND_AUTH_ROLES, load_auth);
    return error != 0 ? error : load_table(o, read, BACKEND_CLUSTER, load_cluster);
}

/* --- assembly --- */

/* etcd writes the revision of an empty auth store at its first start (backend.md "auth"). */
static int first_start(struct opening *o, struct backend_read *read)
{
    struct bytes value;
    int error = backend_get(read, BACKEND_AUTH, bytes_str("authRevision"), &value);
    o->table = BACKEND_AUTH;
    if (error == ERR_ABSENT) {
        uint8_t one[8];
        put_be64(one, 1);
        batch_put(o->kv, BACKEND_AUTH, bytes_str("authRevision"), bytes_of(one, sizeof one));
        o->kv->auth.revision = 1;
        return 0;
    }
    return error;
}

/* A key that names a lease which is not there keeps its value; etcd only logs it. */
static void attach_leases(struct opening *o)
{
    for (size_t i = 0; i < o->attachment_count; i++) {
        const struct attachment *a = &o->attachments[i];
        if (a->key->newest.main == a->main && index_change_live(&a->key->newest)) {
            lease_attach(o->kv->leases, a->lease, index_key_bytes(a->key));
        }
    }
    free(o->attachments);
}

static void set_revisions(struct opening *o, int64_t scheduled, int64_t finished)
{
    struct kv *kv = o->kv;
    kv->revision = o->rows == 0 ? 1 : o->last_main;
    kv->revision = finished > kv->revision ? finished : kv->revision;
    kv->revision = scheduled > kv->revision ? scheduled : kv->revision;
    kv->compact_revision = scheduled > finished ? scheduled : finished;
    kv->compact_revision = kv->compact_revision < -1 ? -1 : kv->compact_revision;
    compact_init(kv);
    kv->compactions.finished = kv->compactions.finished_stored = finished;
    if (scheduled > finished) {
        compact_resume(kv, scheduled, finished);
    }
}

static int load(struct opening *o, struct backend_read *read)
{
    int64_t scheduled, finished;
    int error = load_meta(o, read, &scheduled, &finished);
    error = error != 0 ? error : load_small_tables(o, read);
    error = error != 0 ? error : load_table(o, read, BACKEND_KEY, load_key);
    add_queued(o, 0);
    if (error != 0) {
        return error;
    }
    set_revisions(o, scheduled, finished);
    batch_init(o->kv);
    return first_start(o, read);
}

static struct kv *kv_new(const struct kv_config *config, struct backend *backend)
{
    struct kv *kv = mem_zalloc(sizeof *kv);
    kv->config = *config;
    kv->backend = backend;
    kv->leases = lease_table_new(&config->lease);
    list_init(&kv->pins);
    list_init(&kv->batches.queue);
    list_init(&kv->batches.stored);
    return kv;
}

static char *reason_text(const struct opening *o, int error)
{
    const char *what = o->what == NULL ? error_text(error) : o->what;
    return mem_printf("store, table %s: %s", backend_table_name(o->table), what);
}

int kv_open(const struct kv_config *config, struct backend *backend, struct kv **out, char **reason)
{
    struct opening o = {.kv = kv_new(config, backend), .loader = index_load_begin()};
    struct backend_read *read = NULL;
    int error = backend_read_begin(backend, &read);
    if (error == 0) {
        error = load(&o, read);
        backend_read_end(read);
    }
    o.kv->index = index_load_end(o.loader);
    attach_leases(&o);
    if (error != 0) {
        if (reason != NULL) {
            *reason = reason_text(&o, error);
        }
        kv_close(o.kv);
        return error;
    }
    *out = o.kv;
    return 0;
}

void kv_close(struct kv *kv)
{
    CHECK(kv->batches.out == NULL, "a batch is out");
    batch_free(kv);
    pending_free(&kv->pending);
    index_free(kv->index);
    lease_table_free(kv->leases);
    members_free(&kv->members);
    auth_free(&kv->auth);
    alarm_free(&kv->alarms);
    compact_free(kv);
    free(kv);
}

/* --- facts --- */

static uint64_t quota_bytes(const struct kv *kv)
{
    if (kv->config.quota_bytes < 0) {
        return 0;
    }
    return kv->config.quota_bytes == 0 ? DEFAULT_QUOTA_BYTES : (uint64_t)kv->config.quota_bytes;
}

struct kv_stats kv_stats(const struct kv *kv)
{
    struct backend_stats backend = backend_stats(kv->backend);
    return (struct kv_stats){
        .applied_index = kv->applied_index,
        .applied_term = kv->applied_term,
        .stored_index = kv->stored_index,
        .stored_term = kv->stored_term,
        .revision = kv->revision,
        .compact_revision = kv->compact_revision,
        .size_bytes = backend.size_bytes,
        .size_in_use_bytes = backend.size_in_use_bytes,
        .quota_bytes = quota_bytes(kv),
        .pending_bytes = kv_pending_bytes(kv),
        .keys = index_measure(kv->index, &(struct index_range){bytes_str(""), bytes_of("", 1)}).keys,
        .revisions = index_revisions(kv->index),
    };
}

int64_t kv_revision(const struct kv *kv)
{
    return kv->revision;
}

int64_t kv_compact_revision(const struct kv *kv)
{
    return kv->compact_revision;
}

uint64_t kv_applied_index(const struct kv *kv)
{
    return kv->applied_index;
}

struct lease_table *kv_leases(struct kv *kv)
{
    return kv->leases;
}

bool kv_unused(const struct kv *kv)
{
    return list_empty(&kv->pins) && kv->batches.out == NULL && !backend_is_read(kv->backend) &&
           !lease_table_asked(kv->leases);
}

struct backend *kv_backend(const struct kv *kv)
{
    return kv->backend;
}

struct backend *kv_replace_backend(struct kv *kv, struct backend *backend)
{
    struct backend *before = kv->backend;
    CHECK(kv->batches.out == NULL);
    kv->backend = backend;
    return before;
}

void kv_set_watch(struct kv *kv, struct watch_hub *hub)
{
    kv->config.watch = hub;
}

bool op_within_quota(const struct kv *kv, uint64_t cost)
{
    uint64_t quota = quota_bytes(kv);
    return cost == 0 || quota == 0 || backend_stats(kv->backend).size_bytes + cost < quota;
}
