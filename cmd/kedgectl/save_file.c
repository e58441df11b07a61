#include "cmd/kedgectl/save_file.h"

#include "base/check.h"
#include "base/folder.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The system's words as Go has them. */
static const char *words(const struct save_file *f, int error_number)
{
    char *text = arena_printf(f->arena, "%s", strerror(error_number));
    text[0] = (char)(text[0] | 0x20);
    return text;
}

static const char *failed(const struct save_file *f, const char *what, int error_number)
{
    return arena_printf(f->arena, "%s (%s)", what, words(f, error_number));
}

/* --- signals ------------------------------------------------------------------------------------------------------ */

static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
enum { ENDING = sizeof ending / sizeof ending[0] };

/* Read by the handler; changed only while the signals are blocked. */
static const char *part_now;
static void (*last_words_now)(void);

/* The signal then does what it always does (SA_RESETHAND), so that the parent sees what ended the program. */
static void on_ending(int number)
{
    if (part_now != NULL) {
        unlink(part_now);
    }
    if (last_words_now != NULL) {
        last_words_now();
    }
    raise(number);
}

static void block_signals(sigset_t *before)
{
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = 0; i < ENDING; i++) {
        sigaddset(&set, ending[i]);
    }
    pthread_sigmask(SIG_BLOCK, &set, before);
}

static void unblock_signals(const sigset_t *before)
{
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

static void catch_signals(void)
{
    const struct sigaction catch = {.sa_handler = on_ending, .sa_flags = (int)SA_RESETHAND};
    for (unsigned i = 0; i < ENDING; i++) {
        struct sigaction now;
        if (sigaction(ending[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL) { /* not what nohup has set */
            sigaction(ending[i], &catch, NULL);
        }
    }
    /* A reader that is gone and a file that may not grow are errors like others. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

void save_file_on_signal(void (*last_words)(void))
{
    sigset_t before;
    block_signals(&before);
    last_words_now = last_words;
    unblock_signals(&before);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static const char *open_stdout(struct save_file *f)
{
    if (isatty(STDOUT_FILENO)) {
        return "a snapshot is not for a terminal: redirect standard output";
    }
    f->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    return f->fd < 0 ? failed(f, "could not open standard output", errno) : NULL;
}

/* FILE.part, locked, the one that has this name now. False: it was somebody else's who has just finished; again. */
static bool open_part(struct save_file *f, const char **error)
{
    struct stat is, named;
    f->fd = open(f->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (f->fd < 0) {
        *error = arena_printf(f->arena, "could not open %s (open %s: %s)", f->part, f->part, words(f, errno));
        return true;
    }
    /* File systems that have no locks are taken without. */
    if (flock(f->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        *error = arena_printf(f->arena, "another save to %s is under way (%s is locked)", f->path, f->part);
    } else if (fstat(f->fd, &is) != 0 || stat(f->part, &named) != 0 || is.st_ino != named.st_ino ||
               is.st_dev != named.st_dev) {
        close(f->fd);
        return false;
    } else if (!S_ISREG(is.st_mode)) {
        *error = arena_printf(f->arena, "%s is not a plain file", f->part);
    } else if (fchmod(f->fd, 0600) != 0 || ftruncate(f->fd, 0) != 0) {
        *error = arena_printf(f->arena, "could not write over %s (%s)", f->part, words(f, errno));
    }
    if (*error != NULL) {
        close(f->fd);
        f->fd = -1;
    }
    return true;
}

const char *save_file_open(struct save_file *f, struct arena *arena, const char *path)
{
    struct stat st;
    const char *error = NULL;
    *f = (struct save_file){.arena = arena, .path = path, .fd = -1};
    if (strcmp(path, "-") == 0) {
        catch_signals();
        return open_stdout(f);
    }
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        return arena_printf(arena, "%s is not a plain file%s", path,
                            S_ISDIR(st.st_mode) ? "" : " (- is standard output)");
    }
    sigset_t before;
    f->part = arena_printf(arena, "%s.part", path);
    block_signals(&before);
    while (!open_part(f, &error)) {
    }
    if (error == NULL) {
        part_now = f->part;
        catch_signals();
    }
    unblock_signals(&before);
    return error;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

const char *save_file_write(struct save_file *f, struct bytes data)
{
    while (data.len > 0) {
        ssize_t n = write(f->fd, data.data, data.len);
        if (n < 0 && errno != EINTR) {
            return failed(f, "could not write snapshot", errno);
        }
        size_t done = n > 0 ? (size_t)n : 0;
        data = bytes_of(data.data + done, data.len - done);
    }
    if (f->part != NULL) {
        /* The disk begins with it at once, and has less to do when all has come. */
        sync_file_range(f->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    }
    return NULL;
}

static void sync_now(struct save_file *f)
{
    /* What can't be synced (a pipe, a device) needs no sync. */
    f->sync_error = fsync(f->fd) == 0 || errno == EINVAL || errno == EROFS ? 0 : errno;
}

static void *sync_thread(void *arg)
{
    sync_now(arg);
    return NULL;
}

void save_file_sync_begin(struct save_file *f)
{
    CHECK(!f->syncing);
    f->syncing = pthread_create(&f->syncer, NULL, sync_thread, f) == 0;
}

static void sync_end(struct save_file *f)
{
    if (f->syncing) {
        pthread_join(f->syncer, NULL);
        f->syncing = false;
    } else {
        sync_now(f);
    }
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static const char *sync_folder(const struct save_file *f)
{
    bool synced = folder_sync_of(f->path) == 0 || errno == EINVAL; /* some file systems have nothing to sync */
    return synced ? NULL : failed(f, "could not sync the snapshot's folder", errno);
}

static const char *give_name(struct save_file *f)
{
    sigset_t before;
    const char *error = NULL;
    block_signals(&before); /* once it has its name, FILE.part may be another save's */
    if (rename(f->part, f->path) != 0) {
        error = arena_printf(f->arena, "could not rename %s to %s (%s)", f->part, f->path, words(f, errno));
    } else {
        part_now = NULL;
    }
    unblock_signals(&before);
    return error;
}

static const char *commit_named(struct save_file *f)
{
    const char *error = f->sync_error != 0 ? failed(f, "could not sync snapshot", f->sync_error) : give_name(f);
    if (error != NULL) {
        save_file_discard(f);
        return error;
    }
    close(f->fd); /* the lock goes with it */
    f->fd = -1;
    return sync_folder(f);
}

const char *save_file_commit(struct save_file *f)
{
    sync_end(f);
    if (f->part != NULL) {
        return commit_named(f);
    }
    int error = close(f->fd) == 0 ? f->sync_error : errno;
    f->fd = -1;
    return error == 0 ? NULL : failed(f, "could not write snapshot", error);
}

void save_file_discard(struct save_file *f)
{
    if (f->syncing) {
        sync_end(f);
    }
    if (f->fd < 0) {
        return;
    }
    if (f->part != NULL) {
        sigset_t before;
        block_signals(&before);
        unlink(f->part);
        part_now = NULL;
        unblock_signals(&before);
    }
    close(f->fd);
    f->fd = -1;
}
