/* One backup. Three parties take turns: the core's worker makes pages of a view, the backup thread writes them, the
 * loop carries them from one to the other. There are two pieces of memory: one is filled while the other is written. */
#include "cmd/kedge/backup.h"

#include "base/check.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "snapshot/export.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CHUNK_BYTES ((size_t)256 << 10)
#define PLAN_ROWS 5000
#define BYTES_PER_SECOND ((uint64_t)128 << 20)
#define HANG_MS 30000          /* a write, a sync, a rename that takes longer */
#define VERIFY_HANG_MS 3600000 /* reading it all back */

enum phase {
    PHASE_VIEW,   /* the store is brought up to now */
    PHASE_PLAN,   /* the first pass */
    PHASE_COPY,   /* the second one */
    PHASE_VERIFY, /* synced and read back */
    PHASE_PERMIT, /* waits for the leader */
    PHASE_COMMIT, /* named, noted */
    PHASE_RETAIN, /* older ones go */
    PHASE_CLEAN,  /* it failed: what was written goes */
};

struct chunk {
    uint8_t *data;
    size_t len;
};

struct backup_run {
    struct backup *backup;
    uint64_t number;
    int64_t since_s, slot_s; /* the writer's note is the thread's */
    enum phase phase;
    struct backup_writer writer;
    struct backup_job job;
    bool job_out;
    uint64_t job_since_ms, begun_ms, permit_until_ms;
    atomic_bool cancel;

    struct core_view view;
    bool viewing, closing; /* the view is not closed yet; it is about to be */
    struct snapshot_export *image;
    struct chunk making, writing;
    bool working, made; /* made: the worker has given out all */
    bool begun;         /* the target is ready to be written */
    bool taken;         /* somebody has taken this slot's already */

    bool ended; /* success or failure was told */
    bool committed;
    size_t removed;
    void (*on_end)(void *owner, const struct backup_note *note, const char *error);
    void *owner;
};

int64_t backup_wall_s(void)
{
    return member_wall_ms() / 1000;
}

void backup_slot_known(struct backup *backup, int64_t slot_s)
{
    backup->last_slot_s = backup_lead_later_s(backup->last_slot_s, slot_s, backup_wall_s());
}

static uint64_t now_ms(const struct backup_run *run)
{
    return loop_now_ms(run->backup->loop);
}

/* --- jobs for the thread --- */

static struct backup_run *of_job(struct backup_job *job)
{
    return container_of(job, struct backup_run, job);
}

static void post(struct backup_run *run, void (*work)(struct backup_job *job), void (*done)(struct backup_job *job))
{
    CHECK(!run->job_out);
    run->job_out = true;
    run->job_since_ms = now_ms(run);
    run->job.run = work;
    run->job.done = done;
    backup_thread_post(&run->backup->writer, &run->job);
}

static void keep_reason(struct backup_run *run, int error)
{
    run->job.error = error;
    if (error != 0) {
        snprintf(run->job.reason, sizeof run->job.reason, "%s", run->backup->writing.reason);
    }
}

static void begin_job(struct backup_job *job)
{
    struct backup_run *run = of_job(job);
    int error = backup_store_find_slot(run->writer.store, run->slot_s, &run->writer.note);
    run->taken = error == 1;
    if (error == 0) {
        error = backup_writer_begin(&run->writer);
    }
    keep_reason(run, error < 0 ? error : 0);
}

/* Nobody waits for a scheduled backup, but clients wait for the disk: no more than so much a second. */
static void pace(size_t bytes)
{
    uint64_t ns = bytes * UINT64_C(1000000000) / BYTES_PER_SECOND;
    const struct timespec time = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    nanosleep(&time, NULL);
}

static void write_job(struct backup_job *job)
{
    struct backup_run *run = of_job(job);
    FAILPOINT(backupWrite);
    pace(run->writing.len);
    keep_reason(run, backup_writer_write(&run->writer, bytes_of(run->writing.data, run->writing.len)));
}

static void verify_job(struct backup_job *job)
{
    struct backup_run *run = of_job(job);
    FAILPOINT(backupBeforeVerify);
    keep_reason(run, backup_writer_finish(&run->writer, &run->cancel));
}

static void commit_job(struct backup_job *job)
{
    struct backup_run *run = of_job(job);
    FAILPOINT(backupBeforeCommit);
    keep_reason(run, atomic_load(&run->cancel) ? ERR_STOPPED : backup_writer_commit(&run->writer));
}

static void retain_job(struct backup_job *job)
{
    struct backup_run *run = of_job(job);
    FAILPOINT(backupBeforeRetain);
    keep_reason(run, backup_store_retain(&run->backup->writing, run->writer.note.time_s, &run->removed));
}

static void clean_job(struct backup_job *job)
{
    backup_writer_abort(&of_job(job)->writer);
}

/* --- the end --- */

/* When neither the thread nor the worker has anything of it any more. */
static void settle(struct backup_run *run)
{
    struct backup *backup = run->backup;
    if (run->job_out || run->viewing || !run->ended) {
        return;
    }
    backup->run = NULL;
    backup_run_free(run);
    backup_turn(backup);
}

void backup_run_free(struct backup_run *run)
{
    free(run->making.data);
    free(run->writing.data);
    free(run);
}

static void tell(struct backup_run *run, const char *error)
{
    run->ended = true;
    run->backup->finished = run->number;
    run->backup->finished_well = error == NULL;
    if (run->on_end != NULL) {
        run->on_end(run->owner, &run->writer.note, error);
    }
}

static void close_view(struct backup_run *run)
{
    if (run->viewing && !run->closing) {
        run->closing = true;
        core_view_close(&run->view);
    }
}

static void cleaned(struct backup_job *job)
{
    struct backup_run *run = of_job(job);
    run->job_out = false;
    settle(run);
}

static void clean(struct backup_run *run)
{
    if (!run->job_out && run->phase != PHASE_CLEAN) {
        run->phase = PHASE_CLEAN;
        post(run, clean_job, cleaned);
    }
}

static void fail(struct backup_run *run, const char *why)
{
    struct backup *backup = run->backup;
    if (run->ended) {
        return;
    }
    atomic_store(&run->cancel, true);
    backup->failures++;
    backup->last_failure_s = backup_wall_s();
    snprintf(backup->last_error, sizeof backup->last_error, "%s", why);
    log_error("backup failed", log_str("target", backup->config->backup_dir), log_str("error", why));
    tell(run, why);
    clean(run);
    close_view(run);
    backup_turn(backup);
}

/* What the thread gave back: false if it is not to go on. */
static bool take_back(struct backup_run *run)
{
    run->job_out = false;
    if (run->ended) {
        clean(run);
        return false;
    }
    if (run->job.error != 0) {
        char why[512];
        snprintf(why, sizeof why, "%s", run->job.reason);
        fail(run, why);
        return false;
    }
    return true;
}

static void retained(struct backup_job *job)
{
    struct backup_run *run = of_job(job);
    struct backup *backup = run->backup;
    run->job_out = false;
    if (job->error != 0) {
        backup->failures++;
        backup->last_failure_s = backup_wall_s();
        snprintf(backup->last_error, sizeof backup->last_error, "%s", job->reason);
        log_error("failed to remove old backups", log_str("error", job->reason));
    } else if (run->removed > 0) {
        log_info("removed old backups", log_uint("count", run->removed));
    }
    if (!run->ended) {
        tell(run, NULL);
    }
    settle(run);
}

static void committed(struct backup_job *job)
{
    struct backup_run *run = of_job(job);
    struct backup *backup = run->backup;
    if (!take_back(run)) {
        return;
    }
    const struct backup_note *note = &run->writer.note;
    run->committed = true;
    backup->last = *note;
    backup->successes++;
    backup_slot_known(backup, note->slot_s);
    log_info("took a backup", log_str("name", note->name), log_int("revision", note->revision),
             log_uint("size", note->size), log_uint("stored-size", note->stored_size), log_uint("hash", note->hash),
             log_duration("took", note->duration_ms * 1000000));
    run->phase = PHASE_RETAIN;
    post(run, retain_job, retained);
}

static void verified(struct backup_job *job)
{
    struct backup_run *run = of_job(job);
    if (take_back(run)) {
        run->phase = PHASE_PERMIT;
    }
}

/* --- the second pass --- */

static int make(void *arg)
{
    struct backup_run *run = arg;
    int progress = snapshot_export_read(run->image, run->making.data, CHUNK_BYTES, &run->making.len);
    if (progress == SNAPSHOT_DONE) {
        snapshot_export_checksum(run->image, run->making.data + run->making.len);
        run->making.len += SNAPSHOT_CHECKSUM;
    }
    return progress;
}

static void made(struct core_view *view, int result);

static void make_next(struct backup_run *run)
{
    if (!run->working && !run->made && run->making.len == 0) {
        run->working = true;
        core_view_work(&run->view, make, run, made);
    }
}

static void write_next(struct backup_run *run);

static void written(struct backup_job *job)
{
    struct backup_run *run = of_job(job);
    if (take_back(run)) {
        run->writing.len = 0;
        write_next(run);
    }
}

static void write_next(struct backup_run *run)
{
    if (run->job_out || !run->begun || run->working || run->phase != PHASE_COPY) {
        return;
    }
    if (run->making.len > 0) {
        struct chunk spare = run->writing;
        run->writing = run->making;
        run->making = spare;
        core_view_progress(&run->view);
        post(run, write_job, written);
        make_next(run);
    } else if (run->made) {
        run->phase = PHASE_VERIFY;
        close_view(run);
        post(run, verify_job, verified);
    }
}

static void made(struct core_view *view, int result)
{
    struct backup_run *run = view->owner;
    run->working = false;
    if (result < 0) {
        fail(run, error_text(result));
        return;
    }
    run->made = result == SNAPSHOT_DONE;
    write_next(run);
}

/* --- the first pass --- */

static int plan(void *arg)
{
    struct backup_run *run = arg;
    return snapshot_export_plan(run->image, PLAN_ROWS);
}

static void planned(struct core_view *view, int result)
{
    struct backup_run *run = view->owner;
    if (result < 0) {
        fail(run, error_text(result));
    } else if (result == SNAPSHOT_MORE) {
        core_view_work(view, plan, run, planned);
    } else {
        run->phase = PHASE_COPY;
        run->making.data = mem_alloc(CHUNK_BYTES + SNAPSHOT_CHECKSUM);
        run->writing.data = mem_alloc(CHUNK_BYTES + SNAPSHOT_CHECKSUM);
        make_next(run);
    }
}

/* By a member that died before anybody learned of it. */
static void already_taken(struct backup_run *run)
{
    struct backup *backup = run->backup;
    const struct backup_note *note = &run->writer.note;
    log_info("this slot's backup is there already", log_str("name", note->name));
    backup->last = *note;
    backup_slot_known(backup, note->slot_s);
    tell(run, NULL);
    close_view(run);
    backup_turn(backup);
}

static void ready_to_write(struct backup_job *job)
{
    struct backup_run *run = of_job(job);
    if (!take_back(run)) {
        return;
    }
    if (run->taken) {
        already_taken(run);
    } else {
        run->begun = true;
        write_next(run);
    }
}

static void opened(struct core_view *view, int error)
{
    struct backup_run *run = view->owner;
    if (error != 0) {
        fail(run, error_text(error));
        return;
    }
    struct backup_note *note = &run->writer.note;
    note->revision = view->revision;
    run->phase = PHASE_PLAN;
    run->image = snapshot_export_new(view->read, true);
    post(run, begin_job, ready_to_write);
    core_view_work(view, plan, run, planned);
}

static void cut(struct core_view *view, int reason)
{
    struct backup_run *run = view->owner;
    fail(run, reason == ERR_STOPPED ? "the member stops" : "the target has taken nothing for 30 s");
}

static void closed(struct core_view *view)
{
    struct backup_run *run = view->owner;
    snapshot_export_free(run->image);
    run->image = NULL;
    run->viewing = false;
    settle(run);
}

void backup_run_start(struct backup *backup, uint64_t number, int64_t slot_s,
                      void (*on_end)(void *owner, const struct backup_note *note, const char *error), void *owner)
{
    struct backup_run *run = mem_zalloc(sizeof *run);
    CHECK(backup->run == NULL && backup->writing.target != NULL);
    run->backup = backup;
    run->number = number;
    run->on_end = on_end;
    run->owner = owner;
    run->begun_ms = loop_now_ms(backup->loop);
    run->since_s = backup_wall_s();
    run->slot_s = slot_s;
    run->writer = (struct backup_writer){
        .store = &backup->writing,
        .note = {.time_s = run->since_s,
                 .slot_s = slot_s,
                 .zstd = strcmp(backup->config->backup_compress, "zstd") == 0,
                 .member_id = backup->member->id,
                 .cluster_id = backup->member->cluster_id},
    };
    snprintf(run->writer.note.member, sizeof run->writer.note.member, "%s", backup->config->name);
    run->view = (struct core_view){.opened = opened, .cut = cut, .closed = closed, .owner = run, .for_client = true};
    backup->run = run;
    run->permit_until_ms = run->begun_ms + BACKUP_PERMIT_MS;
    log_info("taking a backup", log_str("target", backup->config->backup_dir), log_int("slot", slot_s));
    run->viewing = core_view_open(backup->member->core, &run->view, 0) == 0;
    if (!run->viewing) {
        fail(run, "the member stops");
    }
}

/* --- from outside --- */

void backup_run_permit(struct backup_run *run)
{
    if (run->ended) {
        return;
    }
    run->permit_until_ms = now_ms(run) + BACKUP_PERMIT_MS;
    if (run->phase == PHASE_PERMIT) {
        run->phase = PHASE_COMMIT;
        run->writer.note.duration_ms = now_ms(run) - run->begun_ms;
        post(run, commit_job, committed);
    }
}

void backup_run_tick(struct backup_run *run)
{
    uint64_t hang_ms = run->phase == PHASE_VERIFY ? VERIFY_HANG_MS : HANG_MS;
    if (run->ended) {
        return;
    }
    if (run->committed) {
        if (run->job_out && now_ms(run) >= run->job_since_ms + hang_ms) {
            tell(run, NULL); /* the backup is there, only the old ones are still too */
        }
        return;
    }
    if (run->job_out && now_ms(run) >= run->job_since_ms + hang_ms) {
        fail(run, "the target hangs");
    } else if (now_ms(run) >= run->permit_until_ms) {
        fail(run, "no leader has asked for it for 5 s");
    }
}

void backup_run_give_up(struct backup_run *run, const char *why)
{
    if (!run->committed) {
        fail(run, why);
    }
}

void backup_run_forget_owner(struct backup *backup, void *owner)
{
    if (backup->run != NULL && backup->run->owner == owner) {
        backup->run->on_end = NULL;
    }
}

uint64_t backup_run_number(const struct backup_run *run)
{
    return run->number;
}

int64_t backup_run_slot_s(const struct backup_run *run)
{
    return run->slot_s;
}

int64_t backup_run_since_s(const struct backup_run *run)
{
    return run->since_s;
}

bool backup_run_ended(const struct backup_run *run)
{
    return run->ended;
}
