#include "snapshot/restore_place.h"

#include "base/error.h"
#include "base/failpoint.h"
#include "base/folder.h"
#include "raft/wal/wal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART ".part"
#define INSIDE "restore.part"
#define MARK "wal-dir"

static int refuse(struct restore_place *p, int error, const char *what, const char *path, const char *why)
{
    snprintf(p->reason, sizeof p->reason, "%s \"%s\" %s", what, path, why);
    return error;
}

static int failed(struct restore_place *p, const char *path)
{
    int error = errno == ENOSPC || errno == EDQUOT ? ERR_DISK_FULL : ERR_IO;
    snprintf(p->reason, sizeof p->reason, "%s: %s", path, strerror(errno));
    return error;
}

/* --- what is there --- */

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_one_of(const char *name, const char *const *names)
{
    size_t len = strlen(name);
    for (; *names != NULL; names++) {
        size_t ending = strlen(*names + 1);
        bool matches =
            **names == '*' ? len > ending && strcmp(name + len - ending, *names + 1) == 0 : strcmp(name, *names) == 0;
        if (matches) {
            return true;
        }
    }
    return false;
}

/* Has the directory nothing but what these are called ("*.wal": what ends so)? One that cannot be read has something
 * else. */
static bool holds_only(const char *path, const char *const *names)
{
    bool only = true;
    DIR *stream = opendir(path);
    if (stream == NULL) {
        return false;
    }
    for (struct dirent *entry; only && (entry = readdir(stream)) != NULL;) {
        only = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || is_one_of(entry->d_name, names);
    }
    closedir(stream);
    return only;
}

static int remove_entry(int dir, const char *name);

/* Takes fd over. */
static int remove_entries(int fd)
{
    DIR *stream = fdopendir(fd);
    int rc = stream == NULL ? -1 : 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            rc = remove_entry(dirfd(stream), entry->d_name);
        }
    }
    if (stream != NULL) {
        closedir(stream);
    } else {
        close(fd);
    }
    return rc;
}

static int remove_entry(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno != EISDIR && errno != EPERM) {
        return -1;
    }
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 || remove_entries(fd) != 0 ? -1 : unlinkat(dir, name, AT_REMOVEDIR);
}

/* A stage that an interrupted restore left. Anything else of that name is not ours to remove. */
static int remove_stage(struct restore_place *p, const char *path, const char *const *names)
{
    if (access(path, F_OK) != 0) {
        return 0;
    }
    if (!is_dir(path) || !holds_only(path, names)) {
        return refuse(p, ERR_INVALID, "directory", path, "is in the way and not of an earlier restore: move it away");
    }
    return remove_entry(AT_FDCWD, path) == 0 ? 0 : failed(p, path);
}

/* --- the log's own directory --- */

/* Does the stage of an interrupted restore name this directory, and has nobody written to its log since? */
static bool log_is_left_over(const struct restore_place *p)
{
    char *path = mem_printf("%s/" MARK, p->stage), text[4096];
    FILE *file = fopen(path, "r");
    size_t len = file == NULL ? 0 : fread(text, 1, sizeof text, file);
    bool named = bytes_equal(bytes_of(text, len), bytes_str(p->wal_dir));
    if (file != NULL) {
        fclose(file);
    }
    free(path);
    const struct wal_config config = {.fs = wal_fs_posix(), .dir = p->wal_dir};
    struct wal_contents log;
    if (!named || wal_verify(&config, &log, NULL) != 0) {
        return false;
    }
    bool untouched = log.last_index == log.snapshot.index && log.hard_state.term == 1;
    wal_contents_free(&log);
    return untouched;
}

static int check_log_dir(struct restore_place *p)
{
    if (p->wal_dir == NULL || access(p->wal_dir, F_OK) != 0) {
        return 0;
    }
    if (!log_is_left_over(p)) {
        return refuse(p, ERR_INVALID, "wal-dir", p->wal_dir, "exists");
    }
    return remove_entry(AT_FDCWD, p->wal_dir) == 0 ? 0 : failed(p, p->wal_dir);
}

static int mark_log_dir(struct restore_place *p)
{
    char *path = mem_printf("%s/" MARK, p->stage);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t len = strlen(p->wal_dir);
    bool good = fd >= 0 && write(fd, p->wal_dir, len) == (ssize_t)len && fsync(fd) == 0;
    int error = good ? 0 : failed(p, path);
    if (fd >= 0) {
        close(fd);
    }
    free(path);
    return error;
}

/* --- making it --- */

/* With all directories above it. */
static int make_dirs(struct restore_place *p, const char *path)
{
    char *copy = mem_strdup(path);
    int rc = 0;
    for (char *slash = strchr(copy + 1, '/'); rc == 0 && slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = mkdir(copy, 0700) == 0 || errno == EEXIST ? 0 : -1;
        *slash = '/';
    }
    rc = rc == 0 && (mkdir(copy, 0700) == 0 || errno == EEXIST) ? 0 : -1;
    free(copy);
    return rc == 0 ? 0 : failed(p, path);
}

static int make_parents(struct restore_place *p, const char *path)
{
    char *copy = mem_strdup(path), *slash = strrchr(copy, '/');
    int error = 0;
    if (slash != NULL && slash != copy) {
        *slash = '\0';
        error = make_dirs(p, copy);
    }
    free(copy);
    return error;
}

/* Without slashes at the end, so that ".part" can be put behind it. */
static char *trimmed(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    return mem_printf("%.*s", (int)len, path);
}

/* Is the log's directory in the data directory? */
static bool log_is_inside(const struct restore_place *p)
{
    size_t len = strlen(p->data_dir);
    return p->wal_dir != NULL && strncmp(p->wal_dir, p->data_dir, len) == 0 && p->wal_dir[len] == '/';
}

/* What a log directory in DIR/member is called there; it is made and gets its name with that. NULL = it is not in it.
 */
static const char *below_member(const struct restore_place *p, const char *wal_dir)
{
    static const char member[] = "/member/";
    size_t len = strlen(p->data_dir);
    bool inside = strncmp(wal_dir, p->data_dir, len) == 0 && strncmp(wal_dir + len, member, sizeof member - 1) == 0;
    return inside && strstr(wal_dir + len, "..") == NULL ? wal_dir + len + sizeof member - 1 : NULL;
}

static void set_paths(struct restore_place *p, const char *data_dir, const char *wal_dir)
{
    p->data_dir = trimmed(data_dir);
    char *log = wal_dir == NULL ? mem_printf("%s/member/wal", p->data_dir) : trimmed(wal_dir);
    const char *below = below_member(p, log);
    p->wal_dir = below != NULL ? NULL : mem_strdup(log);
    if (log_is_inside(p)) {
        p->made_data_dir = mkdir(p->data_dir, 0700) == 0; /* what fails here fails below, with its reason */
    }
    p->inside = is_dir(p->data_dir);
    p->stage = p->inside ? mem_printf("%s/" INSIDE, p->data_dir) : mem_printf("%s" PART, p->data_dir);
    p->member = mem_printf("%s/member", p->stage);
    p->target = mem_printf("%s/member", p->data_dir);
    p->snap = mem_printf("%s/snap", p->member);
    p->wal = below != NULL ? mem_printf("%s/%s", p->member, below) : mem_printf("%s" PART, p->wal_dir);
    p->store = mem_printf("%s/db", p->snap);
    free(log);
}

/* Is there nothing in the data directory but what an interrupted restore may have left? */
static bool is_free(const struct restore_place *p)
{
    char *log = NULL, *part = NULL;
    if (log_is_inside(p)) {
        const char *below = p->wal_dir + strlen(p->data_dir) + 1;
        log = mem_printf("%.*s", (int)strcspn(below, "/"), below);
        part = mem_printf("%s" PART, log);
    }
    const char *const names[] = {INSIDE, log, part, NULL};
    bool free_now = access(p->data_dir, F_OK) != 0 || holds_only(p->data_dir, names);
    free(log);
    free(part);
    return free_now;
}

static int clear(struct restore_place *p)
{
    static const char *const stage[] = {"member", MARK, NULL}, *const log[] = {"*.wal", "*.tmp", NULL};
    if (!is_free(p)) {
        return refuse(p, ERR_INVALID, "data-dir", p->data_dir, "not empty or could not be read");
    }
    int error = check_log_dir(p);
    error = error != 0 ? error : remove_stage(p, p->stage, stage);
    return error == 0 && p->wal_dir != NULL ? remove_stage(p, p->wal, log) : error;
}

int restore_place_begin(struct restore_place *p, const char *data_dir, const char *wal_dir)
{
    *p = (struct restore_place){0};
    set_paths(p, data_dir, wal_dir);
    return clear(p);
}

int restore_place_make(struct restore_place *p)
{
    p->staged = true;
    int error = make_dirs(p, p->snap);
    error = error != 0 ? error : make_parents(p, p->wal);
    if (error == 0 && p->wal_dir != NULL) {
        error = error != 0 ? error : mark_log_dir(p);
    }
    return error;
}

/* --- placing it --- */

static int sync_dir(struct restore_place *p, const char *path)
{
    return folder_sync(path) == 0 ? 0 : failed(p, path);
}

static int rename_durably(struct restore_place *p, const char *from, const char *to)
{
    return rename(from, to) == 0 && folder_sync_of(to) == 0 ? 0 : failed(p, to);
}

static int place_log(struct restore_place *p)
{
    int error = rename_durably(p, p->wal, p->wal_dir);
    p->log_placed = error == 0;
    return error;
}

/* What is left of the stage, or the mark in the directory, harms nobody. */
static void clear_rest(const struct restore_place *p)
{
    char *mark = mem_printf("%s/" MARK, p->inside ? p->stage : p->data_dir);
    unlink(mark);
    free(mark);
    if (p->inside) {
        rmdir(p->stage);
    }
}

int restore_place_end(struct restore_place *p)
{
    int error = sync_dir(p, p->snap);
    error = error != 0 ? error : sync_dir(p, p->member);
    error = error != 0 ? error : sync_dir(p, p->stage);
    FAILPOINT(restoreBeforePlace);
    if (error == 0 && p->wal_dir != NULL) {
        error = place_log(p);
        FAILPOINT(restoreBetweenPlaces);
    }
    if (error == 0) {
        error = p->inside ? rename_durably(p, p->member, p->target) : rename_durably(p, p->stage, p->data_dir);
    }
    p->done = error == 0;
    if (p->done) {
        clear_rest(p);
    }
    return error;
}

void restore_place_free(struct restore_place *p)
{
    if (p->staged && !p->done) {
        if (p->wal_dir != NULL) {
            remove_entry(AT_FDCWD, p->log_placed ? p->wal_dir : p->wal);
        }
        remove_entry(AT_FDCWD, p->stage);
    }
    if (p->made_data_dir && !p->done) {
        rmdir(p->data_dir);
    }
    free(p->data_dir);
    free(p->wal_dir);
    free(p->stage);
    free(p->member);
    free(p->target);
    free(p->snap);
    free(p->wal);
    free(p->store);
}
