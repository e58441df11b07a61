#include "cmd/kedge/backup.h"

#include <stdio.h>
#include <stdlib.h>

/* --- what is in the target when the member starts --- */

static void look(struct backup_job *job)
{
    struct backup *backup = container_of(job, struct backup, first_look);
    job->error = backup_store_list(&backup->writing, &backup->first_notes, &backup->first_count);
    snprintf(job->reason, sizeof job->reason, "%s", job->error != 0 ? backup->writing.reason : "");
}

static void looked(struct backup_job *job)
{
    struct backup *backup = container_of(job, struct backup, first_look);
    if (job->error != 0) {
        backup->failures++;
        backup->last_failure_s = backup_wall_s();
        snprintf(backup->last_error, sizeof backup->last_error, "%s", job->reason);
        log_error("the backups' target cannot be used", log_str("error", job->reason));
    }
    for (size_t i = backup->first_count; i-- > 0;) {
        const struct backup_note *note = &backup->first_notes[i];
        if (note->damage[0] == '\0') {
            backup->last = *note;
        }
        backup_slot_known(backup, note->slot_s);
    }
    free(backup->first_notes);
    backup->first_notes = NULL;
    backup->looked = true;
    backup_turn(backup);
}

/* --- metrics --- */

static void print_metrics(struct metrics_source *source, struct buffer *out)
{
    const struct backup *backup = container_of(source, struct backup, metrics);
    const struct backup_note *last = &backup->last;
    metrics_gauge(out, "kedge_backup_last_success_timestamp_seconds",
                  "When the newest good backup in this member's target was begun, 0 = there is none.",
                  (double)last->time_s);
    metrics_gauge(out, "kedge_backup_last_success_revision", "Its revision.", (double)last->revision);
    metrics_gauge(out, "kedge_backup_last_success_size_bytes", "Its size in the target.", (double)last->stored_size);
    metrics_gauge(out, "kedge_backup_last_success_duration_seconds", "How long it took, with its verification.",
                  (double)last->duration_ms / 1000);
    metrics_gauge(out, "kedge_backup_last_failure_timestamp_seconds",
                  "When a backup by this member failed last, 0 = never since it started.",
                  (double)backup->last_failure_s);
    metrics_gauge(out, "kedge_backup_running", "1 while this member takes a backup.",
                  backup->run != NULL && !backup_run_ended(backup->run));
    metrics_counter(out, "kedge_backup_successes_total", "Backups that this member took and verified.",
                    backup->successes);
    metrics_counter(out, "kedge_backup_failures_total",
                    "Backups by this member that failed, and failures to read or prune its target.", backup->failures);
}

/* --- life --- */

static void open_stores(struct backup *backup)
{
    const struct config *config = backup->config;
    struct arena arena = {0};
    struct backup_store store = {.cluster_id = backup->member->cluster_id};
    backup_keep_parse(&arena, config->backup_keep, &store.keep); /* config.c has checked it */
    backup->writing = backup->reading = store;
    arena_free(&arena);
    if (*config->backup_dir == '\0') {
        return;
    }
    backup->writing.target = backup_directory_new(config->backup_dir);
    backup->reading.target = backup_directory_new(config->backup_dir);
    backup_thread_start(&backup->writer, backup->loop);
    backup_thread_start(&backup->reader, backup->loop);
    backup->first_look.run = look;
    backup->first_look.done = looked;
    backup_thread_post(&backup->writer, &backup->first_look);
}

void backup_start(struct backup *backup, struct member *member, struct peers *peers, struct server *server)
{
    struct arena arena = {0};
    *backup = (struct backup){.config = member->config,
                              .member = member,
                              .peers = peers,
                              .loop = member->loop,
                              .metrics = {.print = print_metrics}};
    backup_schedule_parse(&arena, backup->config->backup_schedule, &backup->schedule);
    arena_free(&arena);
    backup_orders_start(backup);
    open_stores(backup);
    backup_calls_register(backup, server);
}

void backup_give_up(struct backup *backup)
{
    if (backup->run != NULL) {
        backup_run_give_up(backup->run, "the member stops");
    }
    atomic_store(&backup->stopping, true);
    backup_orders_stop(backup);
}

static void stop_store(struct backup_thread *thread, struct backup_store *store)
{
    if (store->target != NULL && backup_thread_stop(thread)) {
        store->target->ops->free(store->target); /* with what was half written */
    }
}

void backup_stop(struct backup *backup)
{
    loop_hook_remove(backup->loop, &backup->hook);
    stop_store(&backup->reader, &backup->reading);
    stop_store(&backup->writer, &backup->writing);
}
