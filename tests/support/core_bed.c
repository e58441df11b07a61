#include "tests/support/core_bed.h"

#include "base/check.h"
#include "kv/watch.h"
#include <stdlib.h>

#define MEMBER 0x1234
#define CLUSTER 0x5678
#define TURNS_MAX 20000

/* --- the environment --- */

static void start(struct core_env *env, struct core_job *job)
{
    struct core_bed *bed = container_of(env, struct core_bed, env);
    switch (job->kind) {
    case CORE_SAVE:
    case CORE_CHECKPOINT:
    case CORE_LOG_READ:
        list_push_back(&bed->log_jobs, &job->node);
        break;
    case CORE_COMMIT:
    case CORE_VIEW:
    case CORE_REPACK:
    case CORE_PLACE:
    case CORE_DEFRAGMENT:
        list_push_back(&bed->store_jobs, &job->node);
        break;
    case CORE_WORK:
    case CORE_INSTALL:
        list_push_back(&bed->work_jobs, &job->node);
        break;
    }
}

static struct core_space space(struct core_env *env)
{
    return container_of(env, struct core_bed, env)->space;
}

/* The log goes on behind an image. */
static void log_is_image(struct core_bed *bed, struct raft_position at)
{
    while (bed->entry_count > 0) {
        shared_unref(bed->entries[--bed->entry_count].data);
    }
    bed->log_base = at;
    bed->log_first = at.index + 1;
    bed->hard_state.commit = at.index;
}

static void keep_entry(struct core_bed *bed, const struct raft_entry *entry)
{
    while (bed->entry_count > 0 && bed->entries[bed->entry_count - 1].index >= entry->index) {
        shared_unref(bed->entries[--bed->entry_count].data);
    }
    CHECK(entry->index == bed->log_base.index + bed->entry_count + 1);
    if (bed->entry_count == bed->entry_capacity) {
        bed->entry_capacity = bed->entry_capacity * 2 + 16;
        bed->entries = mem_realloc(bed->entries, bed->entry_capacity * sizeof *bed->entries);
    }
    bed->entries[bed->entry_count] = *entry;
    if (entry->data != NULL) {
        shared_ref(entry->data);
    }
    bed->entry_count++;
}

static void save(struct core_bed *bed, const struct core_save *save)
{
    for (size_t i = 0; i < save->count; i++) {
        keep_entry(bed, &save->entries[i]);
    }
    if (save->hard_state.term != 0) {
        bed->hard_state = save->hard_state;
    }
}

static void log_read(struct core_bed *bed, struct core_log_read *read)
{
    size_t bytes = 0;
    read->entries = mem_alloc((read->to - read->from + 1) * sizeof *read->entries);
    read->count = 0;
    for (uint64_t i = read->from; i <= read->to; i++) {
        struct raft_entry *entry = &bed->entries[i - 1 - bed->log_base.index];
        bytes += raft_entry_bytes(entry);
        if (read->count > 0 && bytes > read->max_bytes) {
            break;
        }
        read->entries[read->count++] = *entry;
        if (entry->data != NULL) {
            shared_ref(entry->data);
        }
    }
    bed->log_reads++;
}

static int store_job(struct core_bed *bed, struct core_job *job)
{
    switch (job->kind) {
    case CORE_COMMIT:
        if (bed->commits_full) {
            bed->full_commits++;
            return ERR_DISK_FULL;
        }
        CHECK(job->commit.index <= bed->log_base.index + bed->entry_count, "the store is ahead of the log");
        bed->commits++;
        return backend_commit(bed->backend, &job->commit);
    case CORE_DEFRAGMENT: /* there is nothing to gain in memory */
        bed->defragments++;
        return 0;
    case CORE_VIEW:
        bed->views++;
        return backend_view_open(bed->backend, &job->view);
    default:
        bed->repacks++;
        return backend_repack(bed->backend, job->repack.budget_bytes, &job->repack.cursor);
    }
}

static bool waits(const struct core_bed *bed, const struct core_job *job)
{
    return (job->kind == CORE_SAVE && bed->log_full && !bed->giving_up) ||
           (job->kind == CORE_DEFRAGMENT && bed->defragment_held);
}

void core_bed_one(struct core_bed *bed, struct list *queue)
{
    CHECK(!list_empty(queue), "no job waits");
    struct core_job *job = list_first(queue, struct core_job, node);
    list_remove(&job->node);
    job->error = 0;
    switch (job->kind) {
    case CORE_SAVE:
        if (bed->log_full) {
            job->error = ERR_STOPPED;
        } else {
            save(bed, &job->save);
        }
        break;
    case CORE_CHECKPOINT:
        bed->checkpoints++;
        bed->checkpoint = job->checkpoint.at;
        job->checkpoint.first_index = bed->log_first = bed->forgets_log ? job->checkpoint.at.index : 1;
        if (job->checkpoint.kv != NULL) {
            log_is_image(bed, job->checkpoint.at);
        }
        break;
    case CORE_LOG_READ:
        if (job->log_read.from < bed->log_first) {
            job->error = ERR_ABSENT;
            break;
        }
        log_read(bed, &job->log_read);
        break;
    case CORE_INSTALL:
        job->error = core_bed_install(bed, &job->install);
        break;
    case CORE_PLACE:
        bed->backend = kv_backend(job->install.kv);
        bed->kv = job->install.kv;
        break;
    case CORE_WORK:
        job->error = job->work.run(job->work.arg);
        break;
    default:
        job->error = store_job(bed, job);
        break;
    }
    core_job_done(bed->core, job);
}

static bool carry_out(struct core_bed *bed, struct list *queue, bool held)
{
    bool any = false;
    while (!held && !list_empty(queue) && !waits(bed, list_first(queue, struct core_job, node))) {
        core_bed_one(bed, queue);
        any = true;
    }
    return any;
}

/* --- life --- */

static uint64_t own_id(const struct core_bed *bed)
{
    return bed->id == 0 ? MEMBER : bed->id;
}

/* Tests pull when they like. */
static void watch_ready(struct watch_stream *stream, void *arg)
{
    (void)stream;
    (void)arg;
}

static void assemble(struct core_bed *bed)
{
    const struct kv_config settings = {
        .member_id = own_id(bed),
        .quota_bytes = bed->quota_bytes,
        .lease = {.min_ttl_s = 2, .retry_ms = 7000, .checkpoint_interval_ms = bed->lease_checkpoint_ms}};
    CHECK(kv_open(&settings, bed->backend, &bed->kv, NULL) == 0);
    const struct watch_config watch = {
        .cluster_id = CLUSTER, .member_id = own_id(bed), .source = kv_watch_source(bed->kv), .ready = watch_ready};
    bed->hub = watch_hub_new(&watch, bed->now_ms);
    kv_set_watch(bed->kv, bed->hub);
    struct raft_config raft = {.id = own_id(bed),
                               .seed = own_id(bed),
                               .pre_vote = true,
                               .now_ms = bed->now_ms,
                               .log_bytes = bed->raft_log_bytes,
                               .hard_state = bed->hard_state,
                               .snapshot = bed->log_base,
                               .applied = kv_applied_index(bed->kv)};
    kv_conf_state(bed->kv, &bed->arena, &raft.conf.voters.ids, &raft.conf.voters.count, &raft.conf.learners.ids,
                  &raft.conf.learners.count);
    bed->raft = raft_new(&raft);
    for (size_t i = 0; i < bed->entry_count; i++) {
        raft_restore_entry(bed->raft, &bed->entries[i]);
    }
    raft_start(bed->raft);
    static const char *const urls[] = {"http://127.0.0.1:2379"};
    bed->config.member_id = own_id(bed);
    bed->config.cluster_id = CLUSTER;
    bed->config.name = "one";
    bed->config.client_urls = urls;
    bed->config.client_url_count = 1;
    bed->env = (struct core_env){.start = start, .space = space, .retire = core_bed_retire};
    if (bed->attach != NULL) {
        bed->attach(bed);
    }
    bed->core = core_new(&bed->config, bed->raft, bed->kv, bed->hub, &bed->env, bed->log_base.index, bed->now_ms,
                         1700000000000);
}

void core_bed_open(struct core_bed *bed)
{
    bed->now_ms = 1000000;
    bed->space = (struct core_space){UINT64_MAX, UINT64_MAX};
    list_init(&bed->log_jobs);
    list_init(&bed->store_jobs);
    list_init(&bed->work_jobs);
    bed->backend = backend_open_memory();
    size_t members = bed->members == 0 ? 1 : bed->members;
    for (size_t i = 0; i < members; i++) {
        uint64_t id = bed->members == 0 ? MEMBER : i + 1;
        const char *const peers[] = {arena_printf(&bed->arena, "http://127.0.0.1:%u", 2380 + (unsigned)i)};
        struct raft_entry entry = {.index = i + 1, .term = 1, .type = RAFT_ENTRY_CONF_CHANGE};
        entry.data = shared_copy(kv_bootstrap_conf_change(id, "one", peers, 1, &bed->arena));
        keep_entry(bed, &entry);
        shared_unref(entry.data);
    }
    bed->hard_state = (struct raft_hard_state){.term = 1, .commit = members};
    assemble(bed);
}

void core_bed_ready(struct core_bed *bed)
{
    core_bed_advance(bed, 500);
    CHECK(core_ready(bed->core), "the member did not become ready");
}

static void take_apart(struct core_bed *bed)
{
    core_free(bed->core);
    watch_hub_free(bed->hub);
    bed->core = NULL;
}

void core_bed_stop(struct core_bed *bed)
{
    bed->giving_up = true;
    core_stop(bed->core);
    core_bed_run(bed);
}

void core_bed_close(struct core_bed *bed)
{
    bed->log_held = bed->store_held = bed->work_held = false;
    core_bed_stop(bed);
    CHECK(core_stopped(bed->core), "it does not stop");
    take_apart(bed);
    backend_close(bed->backend);
    for (size_t i = 0; i < bed->entry_count; i++) {
        shared_unref(bed->entries[i].data);
    }
    free(bed->entries);
    buffer_free(&bed->image);
    arena_free(&bed->arena);
}

/* A core cannot be freed while jobs are out. So the jobs that a crash lost are let fail as a stop does, and what they
 * would have done is not done. */
void core_bed_crash(struct core_bed *bed)
{
    bed->log_full = bed->commits_full = true;
    bed->log_held = bed->store_held = bed->work_held = false;
    core_bed_stop(bed);
    CHECK(core_stopped(bed->core), "it does not stop");
    take_apart(bed);
    bed->log_full = bed->commits_full = bed->giving_up = false;
    bed->backend = backend_memory_crash(bed->backend, backend_memory_commits(bed->backend));
    assemble(bed);
}

/* --- time --- */

bool core_bed_turn(struct core_bed *bed)
{
    bool more = core_turn(bed->core, bed->now_ms, 1700000000000 + (int64_t)bed->now_ms);
    more |= carry_out(bed, &bed->log_jobs, bed->log_held);
    more |= carry_out(bed, &bed->store_jobs, bed->store_held);
    more |= carry_out(bed, &bed->work_jobs, bed->work_held);
    return more;
}

static size_t turns_until_quiet(struct core_bed *bed)
{
    size_t turns = 1;
    while (core_bed_turn(bed) || core_deadline(bed->core) <= bed->now_ms) {
        CHECK(++turns < TURNS_MAX, "it never comes to rest");
    }
    return turns;
}

void core_bed_run(struct core_bed *bed)
{
    turns_until_quiet(bed);
}

size_t core_bed_advance(struct core_bed *bed, uint64_t ms)
{
    uint64_t end = bed->now_ms + ms;
    size_t turns = turns_until_quiet(bed);
    while (bed->now_ms < end) {
        uint64_t next = core_deadline(bed->core);
        bed->now_ms = next < end ? next : end;
        turns += turns_until_quiet(bed);
    }
    return turns;
}

/* --- requests --- */

static void ended(struct core_request *core_request, int error, ProtobufCMessage *response)
{
    struct bed_request *request = core_request->owner;
    request->ended++;
    request->error = error;
    if (response == NULL) {
        return;
    }
    if (response->descriptor == &etcdserverpb__put_response__descriptor) {
        request->revision = ((Etcdserverpb__PutResponse *)response)->header->revision;
    } else if (response->descriptor == &etcdserverpb__delete_range_response__descriptor) {
        request->revision = ((Etcdserverpb__DeleteRangeResponse *)response)->header->revision;
        request->number = ((Etcdserverpb__DeleteRangeResponse *)response)->deleted;
    }
}

int core_bed_propose(struct core_bed *bed, struct bed_request *request, Etcdserverpb__InternalRaftRequest *internal)
{
    *request = (struct bed_request){.bed = bed, .request = {.done = ended}};
    request->request.owner = request;
    return core_propose(bed->core, &request->request, internal);
}

static ProtobufCBinaryData text(const char *t)
{
    return (ProtobufCBinaryData){.len = strlen(t), .data = (uint8_t *)(uintptr_t)t};
}

int core_bed_put(struct core_bed *bed, struct bed_request *request, const char *key, const char *value, int64_t lease)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = text(key);
    put.value = text(value);
    put.lease = lease;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.put = &put;
    return core_bed_propose(bed, request, &internal);
}

int core_bed_put_bytes(struct core_bed *bed, struct bed_request *request, const char *key, size_t value_bytes)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = text(key);
    put.value = (ProtobufCBinaryData){.len = value_bytes, .data = mem_zalloc(value_bytes + 1)};
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.put = &put;
    int error = core_bed_propose(bed, request, &internal);
    free(put.value.data);
    return error;
}

int core_bed_delete(struct core_bed *bed, struct bed_request *request, const char *key)
{
    Etcdserverpb__DeleteRangeRequest delete_range = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    delete_range.key = text(key);
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.delete_range = &delete_range;
    return core_bed_propose(bed, request, &internal);
}

int core_bed_grant(struct core_bed *bed, struct bed_request *request, int64_t id, int64_t ttl)
{
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    grant.id = id;
    grant.ttl = ttl;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.lease_grant = &grant;
    return core_bed_propose(bed, request, &internal);
}

int core_bed_compact(struct core_bed *bed, struct bed_request *request, int64_t revision)
{
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    compaction.revision = revision;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.compaction = &compaction;
    return core_bed_propose(bed, request, &internal);
}

int core_bed_defragment(struct core_bed *bed, struct bed_request *request)
{
    *request = (struct bed_request){.bed = bed, .request = {.done = ended}};
    request->request.owner = request;
    return core_defragment(bed->core, &request->request);
}

int core_bed_alarm(struct core_bed *bed, struct bed_request *request, int action, int type)
{
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;
    alarm.action = (Etcdserverpb__AlarmRequest__AlarmAction)action;
    alarm.alarm = (Etcdserverpb__AlarmType)type;
    alarm.memberid = MEMBER;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.alarm = &alarm;
    return core_bed_propose(bed, request, &internal);
}

int core_bed_barrier(struct core_bed *bed, struct bed_request *request)
{
    *request = (struct bed_request){.bed = bed, .request = {.done = ended}};
    request->request.owner = request;
    return core_barrier(bed->core, &request->request);
}

int core_bed_remove(struct core_bed *bed, struct bed_request *request, uint64_t id)
{
    *request = (struct bed_request){.bed = bed, .request = {.done = ended}};
    request->request.owner = request;
    return core_member_remove(bed->core, &request->request, id);
}

int core_bed_transfer(struct core_bed *bed, struct bed_request *request, uint64_t to)
{
    *request = (struct bed_request){.bed = bed, .request = {.done = ended}};
    request->request.owner = request;
    return core_transfer(bed->core, &request->request, to);
}

static void range_ended(struct core_range *core_range, int error)
{
    struct bed_range *range = core_range->owner;
    range->ended++;
    range->error = error;
}

int core_bed_range(struct core_bed *bed, struct bed_range *range, const char *key, const char *end, bool serializable)
{
    *range = (struct bed_range){.range = {.done = range_ended}};
    range->range.owner = range;
    etcdserverpb__range_request__init(&range->request);
    range->request.key = text(key);
    range->request.range_end = text(end);
    range->request.serializable = serializable;
    return core_range(bed->core, &range->range, &range->request);
}

static void hash_ended(struct core_hash *core_hash, int error)
{
    struct bed_hash *hash = core_hash->owner;
    hash->ended++;
    hash->error = error;
    hash->result = core_hash->result;
    hash->hash = NULL;
    free(core_hash);
}

int core_bed_hash(struct core_bed *bed, struct bed_hash *hash, enum kv_hash_kind kind, int64_t revision)
{
    *hash = (struct bed_hash){.hash = mem_zalloc(sizeof *hash->hash)};
    hash->hash->done = hash_ended;
    hash->hash->owner = hash;
    int error = core_hash(bed->core, hash->hash, kind, revision);
    if (error != 0) {
        hash->result = hash->hash->result;
        free(hash->hash);
        hash->hash = NULL;
    }
    return error;
}

const char *core_bed_value(struct core_bed *bed, const char *key)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *response = NULL;
    int error = 0;
    request.key = text(key);
    CHECK(kv_get(bed->kv, &request, &bed->arena, &response, &error) && error == 0);
    if (response->n_kvs == 0) {
        return "";
    }
    const ProtobufCBinaryData *value = &response->kvs[0]->value;
    char *out = arena_alloc(&bed->arena, value->len + 1);
    memcpy(out, value->data, value->len);
    out[value->len] = '\0';
    return out;
}
