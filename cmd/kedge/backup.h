/* Backups by the server (--backup-…): the parts of snapshot/backup_*.h put onto the loop, with a thread of their own
 * for whatever touches the target. A target that hangs holds up that thread and nothing else: the view of the store is
 * given back after 30 s, the member says that it cannot, and another one takes the backup.
 *
 * One backup (backup_run.c): a view of the store, pages made by the core's worker, written by the backup thread, read
 * back by it, named when the leader has asked once more. Who takes one: snapshot/backup_lead.h; its orders travel as
 * POST /kedge/backup to the peer ports (backup_orders.c).
 *
 * Thread: the loop's, unless noted. */
#ifndef CMD_KEDGE_BACKUP_H
#define CMD_KEDGE_BACKUP_H

#include "cmd/kedge/peers.h"
#include "grpc/metrics_page.h"
#include "grpc/server.h"
#include "snapshot/backup_lead.h"
#include "snapshot/backup_store.h"

/* --- the thread for the target --- */

struct backup_job {
    struct list node;
    void (*run)(struct backup_job *job);  /* on the thread */
    void (*done)(struct backup_job *job); /* on the loop */
    int error;
    char reason[512];
};

/* Two: one writes backups, the other answers questions about them. Each has its own store. */
struct backup_thread {
    struct loop *loop;
    pthread_t thread;
    struct mailbox jobs, finished;
    struct loop_hook hook;
    size_t waiting; /* jobs that are not back */
    bool started;
};

void backup_thread_start(struct backup_thread *thread, struct loop *loop);
void backup_thread_post(struct backup_thread *thread, struct backup_job *job);
/* False if it hangs: it is left alone then, and dies with the process. */
bool backup_thread_stop(struct backup_thread *thread);

/* --- all of it --- */

struct backup_run;
struct backup_wish;

struct backup {
    const struct config *config;
    struct member *member;
    struct peers *peers;
    struct loop *loop;
    struct backup_schedule schedule;
    struct backup_thread writer, reader;
    struct backup_store writing, reading; /* target NULL: no --backup-dir */
    struct backup_job first_look;
    struct backup_note *first_notes; /* the thread's until the job is back */
    size_t first_count;
    bool looked; /* what is in the target is known, or that it cannot be read */
    atomic_bool stopping;

    /* The leader's part. */
    struct backup_lead lead;
    struct list orders; /* of backup_asking.node: on their way to others */
    struct loop_hook hook;
    struct loop_timer timer;
    bool turning;
    uint64_t seen_term, seen_number; /* of the last order that came */
    struct list wishes;              /* of backup_wish.node */

    /* What this member does. */
    struct backup_run *run;
    uint64_t finished;
    bool finished_well;
    int64_t last_slot_s;

    /* For status and metrics. */
    struct backup_note last; /* the last good one, name "" = none */
    uint64_t successes, failures;
    int64_t missed_s; /* lead.missed_s that was told */
    int64_t last_failure_s;
    char last_error[512];
    struct metrics_source metrics;
};

/* After peers_start and services_register. */
void backup_start(struct backup *backup, struct member *member, struct peers *peers, struct server *server);
/* The loop is over. */
void backup_stop(struct backup *backup);
/* The loop goes on, but nothing new is begun and what is under way is given up. */
void backup_give_up(struct backup *backup);

/* A request of the peer port: false if it is not about backups. */
bool backup_page(struct backup *backup, struct http1_request *request);

/* --- between the files --- */

/* backup_orders.c */
void backup_turn(struct backup *backup);
void backup_orders_start(struct backup *backup);
void backup_orders_stop(struct backup *backup);

/* Asks the leader for a permit, for as long as it takes. done: the run's number and 0; or what stands in the way. */
struct backup_wish {
    struct list node;
    void (*done)(struct backup_wish *wish, uint64_t run, const char *error);
    void *owner;
    struct backup *backup;
    struct loop_timer timer;
    struct core_peer_call call;
    struct arena arena;
    uint64_t until_ms, busy_since_ms;
    bool calling;
};
void backup_wish_start(struct backup *backup, struct backup_wish *wish);
void backup_wish_cancel(struct backup_wish *wish);

/* backup_run.c */
/* on_end (may be NULL): error NULL and the note, or the text. Called once, before the next backup may begin. */
void backup_run_start(struct backup *backup, uint64_t number, int64_t slot_s,
                      void (*on_end)(void *owner, const struct backup_note *note, const char *error), void *owner);
void backup_run_forget_owner(struct backup *backup, void *owner); /* on_end does not come */
uint64_t backup_run_number(const struct backup_run *run);
int64_t backup_run_slot_s(const struct backup_run *run);
int64_t backup_run_since_s(const struct backup_run *run);
bool backup_run_ended(const struct backup_run *run); /* for all but the thread, which is still held up */
void backup_run_permit(struct backup_run *run);      /* the leader has asked for it */
void backup_run_tick(struct backup_run *run);
void backup_run_give_up(struct backup_run *run, const char *why);
void backup_run_free(struct backup_run *run); /* at the process' end */

/* backup_calls.c: kedgepb.Backup */
void backup_calls_register(struct backup *backup, struct server *server);

int64_t backup_wall_s(void);
/* This slot was taken, here or elsewhere: last_slot_s is the latest of those that are not in the future. */
void backup_slot_known(struct backup *backup, int64_t slot_s);

#endif
