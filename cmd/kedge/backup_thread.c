#include "cmd/kedge/backup.h"

#include "base/check.h"
#include <time.h>

#define STOP_S 2

static void *run(void *arg)
{
    struct backup_thread *thread = arg;
    struct list jobs;
    list_init(&jobs);
    while (mailbox_wait(&thread->jobs, &jobs)) {
        struct list *node;
        while ((node = list_pop_front(&jobs)) != NULL) {
            struct backup_job *job = container_of(node, struct backup_job, node);
            job->run(job);
            mailbox_post(&thread->finished, &job->node);
        }
    }
    return NULL;
}

static bool deliver(struct loop_hook *hook)
{
    struct backup_thread *thread = container_of(hook, struct backup_thread, hook);
    struct list jobs;
    list_init(&jobs);
    mailbox_take(&thread->finished, &jobs);
    struct list *node;
    while ((node = list_pop_front(&jobs)) != NULL) {
        struct backup_job *job = container_of(node, struct backup_job, node);
        thread->waiting--;
        job->done(job);
    }
    return false;
}

static void wake(void *loop)
{
    loop_wake(loop);
}

void backup_thread_start(struct backup_thread *thread, struct loop *loop)
{
    *thread = (struct backup_thread){.loop = loop, .started = true};
    mailbox_init(&thread->jobs, NULL, NULL);
    mailbox_init(&thread->finished, wake, loop);
    thread->hook.run = deliver;
    loop_hook_add(loop, &thread->hook);
    int failed = pthread_create(&thread->thread, NULL, run, thread);
    if (failed != 0) {
        log_fatal("failed to start a thread", log_str("error", strerror(failed)));
    }
}

void backup_thread_post(struct backup_thread *thread, struct backup_job *job)
{
    thread->waiting++;
    job->error = 0;
    job->reason[0] = '\0';
    mailbox_post(&thread->jobs, &job->node);
}

bool backup_thread_stop(struct backup_thread *thread)
{
    struct timespec until;
    if (!thread->started) {
        return true;
    }
    loop_hook_remove(thread->loop, &thread->hook);
    mailbox_close(&thread->jobs);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += STOP_S;
    if (pthread_clockjoin_np(thread->thread, NULL, CLOCK_MONOTONIC, &until) != 0) {
        return false;
    }
    struct list left; /* nobody is told any more; what they are about ends with the process */
    list_init(&left);
    mailbox_take(&thread->finished, &left);
    mailbox_destroy(&thread->jobs);
    mailbox_destroy(&thread->finished);
    return true;
}
