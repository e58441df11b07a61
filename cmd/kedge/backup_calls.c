/* kedgepb.Backup: what kedgectl backup asks. Questions about the target are answered by a thread of their own, and wait
 * behind each other there; a client that goes away leaves its question behind. */
#include "cmd/kedge/backup.h"

#include "base/error.h"
#include "grpc/backup.pb-c.h"
#include <stdio.h>
#include <stdlib.h>

#define MAX_WAITING 16

/* --- answers --- */

static Kedgepb__BackupNote message_of(const struct backup_note *note)
{
    Kedgepb__BackupNote m = KEDGEPB__BACKUP_NOTE__INIT;
    m.name = (char *)(uintptr_t)note->name;
    m.time = note->time_s;
    m.slot = note->slot_s;
    m.revision = note->revision;
    m.hash = note->hash;
    m.size = note->size;
    m.stored_size = note->stored_size;
    m.version = (char *)(uintptr_t)note->version;
    m.compress = (char *)(uintptr_t)(note->zstd ? "zstd" : "none");
    m.member_id = note->member_id;
    m.member = (char *)(uintptr_t)note->member;
    m.cluster_id = note->cluster_id;
    m.duration_ms = note->duration_ms;
    m.damage = (char *)(uintptr_t)note->damage;
    return m;
}

static void reply_note(struct backup *backup, struct call *call, const struct backup_note *note)
{
    Kedgepb__BackupNowResponse response = KEDGEPB__BACKUP_NOW_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Kedgepb__BackupNote message = message_of(note);
    core_header(backup->member->core, &header, true);
    response.header = &header;
    response.backup = &message;
    response.base.descriptor = call->route->response; /* Now's and Verify's answers are alike */
    call_reply(call, &response.base);
}

static bool refuse_without_target(struct backup *backup, struct call *call)
{
    if (backup->reading.target == NULL) {
        call_fail_text(call, GRPC_FAILED_PRECONDITION, "this member has no --backup-dir");
        return true;
    }
    return false;
}

/* --- questions --- */

struct question {
    struct backup_job job;
    struct backup *backup;
    struct call *call; /* NULL: nobody waits */
    char name[BACKUP_NAME_BYTES];
    struct backup_note *notes;
    size_t count;
    struct backup_note note;
};

static void list_job(struct backup_job *job)
{
    struct question *q = container_of(job, struct question, job);
    job->error = backup_store_list(&q->backup->reading, &q->notes, &q->count);
    snprintf(job->reason, sizeof job->reason, "%s", job->error != 0 ? q->backup->reading.reason : "");
}

static void verify_job(struct backup_job *job)
{
    struct question *q = container_of(job, struct question, job);
    job->error = backup_store_verify(&q->backup->reading, q->name, &q->note, &q->backup->stopping);
    snprintf(job->reason, sizeof job->reason, "%s", job->error != 0 ? q->backup->reading.reason : "");
}

static void reply_list(struct question *q)
{
    Kedgepb__BackupListResponse response = KEDGEPB__BACKUP_LIST_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(q->backup->member->core, &header, true);
    response.header = &header;
    response.n_backups = q->count;
    response.backups = arena_alloc(&q->call->arena, (q->count + 1) * sizeof *response.backups);
    for (size_t i = 0; i < q->count; i++) {
        response.backups[i] = arena_alloc(&q->call->arena, sizeof **response.backups);
        *response.backups[i] = message_of(&q->notes[i]);
    }
    call_reply(q->call, &response.base);
}

static void answered(struct backup_job *job)
{
    struct question *q = container_of(job, struct question, job);
    if (q->call == NULL) {
        /* nobody waits */
    } else if (job->error == ERR_ABSENT) {
        call_fail_text(q->call, GRPC_NOT_FOUND, "%s", job->reason);
    } else if (job->error != 0) {
        call_fail_text(q->call, job->error == ERR_CORRUPT_DATA ? GRPC_DATA_LOSS : GRPC_INTERNAL, "%s", job->reason);
    } else if (job->run == list_job) {
        reply_list(q);
    } else {
        reply_note(q->backup, q->call, &q->note);
    }
    free(q->notes);
    free(q);
}

static void question_cancelled(struct call *call, int reason)
{
    (void)reason;
    ((struct question *)call->state)->call = NULL;
}

static void ask(struct backup *backup, struct call *call, void (*run)(struct backup_job *job), const char *name)
{
    static const struct call_handler handler = {.on_cancel = question_cancelled};
    if (refuse_without_target(backup, call)) {
        return;
    }
    if (backup->reader.waiting >= MAX_WAITING) {
        call_fail_text(call, GRPC_RESOURCE_EXHAUSTED, "too many questions wait for the backups' target");
        return;
    }
    struct question *q = mem_zalloc(sizeof *q);
    q->backup = backup;
    q->call = call;
    q->job.run = run;
    q->job.done = answered;
    snprintf(q->name, sizeof q->name, "%s", name);
    call->state = q;
    call->handler = &handler;
    backup_thread_post(&backup->reader, &q->job);
}

static void list(void *service, struct call *call, const ProtobufCMessage *message)
{
    (void)message;
    ask(service, call, list_job, "");
}

static void verify(void *service, struct call *call, const ProtobufCMessage *message)
{
    const char *name = ((const Kedgepb__BackupVerifyRequest *)message)->name;
    int64_t time_s;
    if (*name != '\0' && !backup_note_is_backup(name, &time_s)) {
        call_fail_text(call, GRPC_INVALID_ARGUMENT, "%.64s is no name of a backup", name);
        return;
    }
    ask(service, call, verify_job, name);
}

/* --- one now --- */

struct now_call {
    struct backup_wish wish;
    struct backup *backup;
    struct call *call;
    bool wishing;
};

static void taken(void *owner, const struct backup_note *note, const char *error)
{
    struct now_call *now = owner;
    if (error != NULL) {
        call_fail_text(now->call, GRPC_INTERNAL, "%s", error);
    } else {
        reply_note(now->backup, now->call, note);
    }
    free(now);
}

static void permitted(struct backup_wish *wish, uint64_t run, const char *error)
{
    struct now_call *now = wish->owner;
    struct backup *backup = now->backup;
    now->wishing = false;
    arena_free(&wish->arena);
    if (error == NULL && (backup->run != NULL || atomic_load(&backup->stopping))) {
        error = backup->run != NULL ? "this member is at a backup already" : "the member stops";
    }
    if (error != NULL) {
        call_fail_text(now->call, GRPC_FAILED_PRECONDITION, "%s", error);
        free(now);
    } else {
        backup_run_start(backup, run, 0, taken, now);
        backup_turn(backup);
    }
}

static void now_cancelled(struct call *call, int reason)
{
    (void)reason;
    struct now_call *now = call->state;
    if (now->wishing) {
        backup_wish_cancel(&now->wish);
    }
    backup_run_forget_owner(now->backup, now); /* the backup itself goes on */
    free(now);
}

static void now(void *service, struct call *call, const ProtobufCMessage *message)
{
    static const struct call_handler handler = {.on_cancel = now_cancelled};
    struct backup *backup = service;
    (void)message;
    if (refuse_without_target(backup, call)) {
        return;
    }
    if (backup->run != NULL) {
        call_fail_text(call, GRPC_FAILED_PRECONDITION,
                       backup_run_ended(backup->run) ? "the target hangs" : "this member is at a backup already");
        return;
    }
    struct now_call *state = mem_zalloc(sizeof *state);
    state->backup = backup;
    state->call = call;
    state->wishing = true;
    state->wish.done = permitted;
    state->wish.owner = state;
    call->state = state;
    call->handler = &handler;
    backup_wish_start(backup, &state->wish);
}

/* --- status --- */

static void status(void *service, struct call *call, const ProtobufCMessage *message)
{
    const struct backup *backup = service;
    const struct config *config = backup->config;
    Kedgepb__BackupStatusResponse response = KEDGEPB__BACKUP_STATUS_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Kedgepb__BackupNote last = message_of(&backup->last);
    (void)message;
    core_header(backup->member->core, &header, true);
    response.header = &header;
    response.target = (char *)(uintptr_t)config->backup_dir;
    response.schedule = (char *)(uintptr_t)config->backup_schedule;
    response.keep = (char *)(uintptr_t)config->backup_keep;
    response.compress = (char *)(uintptr_t)config->backup_compress;
    response.next = backup_schedule_next(&backup->schedule, backup_wall_s());
    response.running = backup->run != NULL && !backup_run_ended(backup->run);
    response.running_since = response.running ? backup_run_since_s(backup->run) : 0;
    response.hanging =
        backup->writing.target != NULL && (!backup->looked || (backup->run != NULL && backup_run_ended(backup->run)));
    response.last = backup->last.name[0] != '\0' ? &last : NULL;
    response.last_failure = backup->last_failure_s;
    response.last_error = (char *)(uintptr_t)backup->last_error;
    response.successes = backup->successes;
    response.failures = backup->failures;
    call_reply(call, &response.base);
}

#define ROUTE(Name, name)                                                                                              \
    {                                                                                                                  \
        "/kedgepb.Backup/" Name, CALL_UNARY, CALL_CONTROL, &kedgepb__backup_##name##_request__descriptor,              \
            &kedgepb__backup_##name##_response__descriptor, name, NULL                                                 \
    }

static const struct call_route routes[] = {
    ROUTE("List", list),
    ROUTE("Now", now),
    ROUTE("Verify", verify),
    ROUTE("Status", status),
};

void backup_calls_register(struct backup *backup, struct server *server)
{
    /* reply_note relies on it */
    _Static_assert(sizeof(Kedgepb__BackupNowResponse) == sizeof(Kedgepb__BackupVerifyResponse), "alike");
    server_route(server, routes, sizeof routes / sizeof routes[0], backup);
}
