#include "cmd/kedge/convert.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/net/loop.h"
#include "cmd/kedge/convert_source.h"
#include "cmd/kedge/convert_store.h"
#include "cmd/kedge/generation.h"
#include "snapshot/install.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_NAME "db.tmp.etcd" /* begins as what remove_leftovers of member.c removes */
#define KEPT_NAME "db.etcd."
#define PROGRESS_NS 2000000000ll /* between two lines of the log */

struct convert {
    const struct convert_config *config;
    const struct wal_contents *log;
    struct arena arena;
    int lock;           /* etcd's database, open for its lock */
    struct stat before; /* of it */
    const char *built;  /* path of the new store */
    const char *kept;   /* path under which the original stays */
    struct convert_source source;
    struct convert_position at;
    int64_t begun_ns, said_ns;
    char **reason;
};

__attribute__((format(printf, 3, 4))) static int refuse(struct convert *c, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    CHECK(vasprintf(c->reason, format, args) >= 0);
    va_end(args);
    return error;
}

static int refuse_errno(struct convert *c, const char *what)
{
    int failed = errno;
    return refuse(c, failed == ENOSPC || failed == EDQUOT ? ERR_DISK_FULL : ERR_IO, "%s: %s", what, strerror(failed));
}

bool convert_is_needed(const char *db_path)
{
    return convert_source_is_etcd(db_path);
}

/* --- 1, 2: alone, and from the beginning --- */

static int lock(struct convert *c)
{
    struct stat now;
    const char *path = c->config->db_path;
    c->lock = open(path, O_RDWR | O_CLOEXEC);
    if (c->lock < 0) {
        return refuse_errno(c, "cannot open");
    }
    if (flock(c->lock, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? refuse(c, ERR_LOCKED, "another process has it open: stop that etcd first")
                                    : refuse_errno(c, "cannot lock");
    }
    if (fstat(c->lock, &c->before) != 0 || stat(path, &now) != 0) {
        return refuse_errno(c, "cannot look at it");
    }
    return now.st_ino == c->before.st_ino && now.st_dev == c->before.st_dev
               ? 0
               : refuse(c, ERR_LOCKED, "another process has just converted it");
}

static void remove_built(const struct convert *c)
{
    static const char *const endings[] = {"", "-lock"};
    for (size_t i = 0; i < 2; i++) {
        char *path = mem_printf("%s%s", c->built, endings[i]);
        unlink(path);
        free(path);
    }
}

/* Second names of the original: a try ended before the first one was taken over, and an etcd may have run since. */
static int remove_second_names(struct convert *c)
{
    struct stat st;
    DIR *stream = opendir(c->config->snap_dir);
    if (stream == NULL) {
        return refuse_errno(c, "cannot list its folder");
    }
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (strncmp(entry->d_name, KEPT_NAME, sizeof KEPT_NAME - 1) == 0 &&
            fstatat(dirfd(stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == c->before.st_ino &&
            st.st_dev == c->before.st_dev) {
            unlinkat(dirfd(stream), entry->d_name, 0);
        }
    }
    closedir(stream);
    return 0;
}

/* --- 3: before any work --- */

static int look(struct convert *c)
{
    int error = convert_source_read(c->config->db_path, &c->source, c->reason);
    if (error == 0 && c->source.auth_enabled && !c->config->disable_auth) {
        error =
            refuse(c, ERR_INVALID,
                   "authentication is enabled in this cluster, and this version of kedge does not have it: it would"
                   " serve everybody. Stay with etcd, run `etcdctl auth disable` there and come again, or start once"
                   " with --migrate-disable-auth");
    }
    return error;
}

/* --- 4: the new store --- */

static void say_progress(struct convert *c, const struct snapshot_install *install)
{
    int64_t now = (int64_t)loop_clock_ns();
    uint64_t done, all;
    if (now - c->said_ns < PROGRESS_NS) {
        return;
    }
    c->said_ns = now;
    snapshot_install_progress(install, &done, &all);
    log_info("converting the store of etcd", log_str("path", c->config->db_path), log_uint("bytes-read", done),
             log_uint("bytes", all), log_uint("percent", all == 0 ? 0 : done * 100 / all));
}

static int build(struct convert *c, const struct backend_op *ids, size_t id_count)
{
    enum { STEP_ROWS = 10000 };
    const struct snapshot_install_config settings = {.image = c->config->db_path,
                                                     .store = c->built,
                                                     .rows = ids,
                                                     .row_count = id_count,
                                                     .map_bytes = c->config->map_bytes,
                                                     .quota_bytes = c->config->quota_bytes};
    struct snapshot_install *install = snapshot_install_new(&settings);
    int progress;
    while ((progress = snapshot_install_step(install, STEP_ROWS)) == SNAPSHOT_MORE) {
        say_progress(c, install);
    }
    if (progress != SNAPSHOT_DONE) {
        refuse(c, progress, "%s", snapshot_install_reason(install));
    }
    snapshot_install_free(install);
    return progress;
}

static struct convert_store_config store_settings(const struct convert *c)
{
    return (struct convert_store_config){.path = c->built,
                                         .snap_dir = c->config->snap_dir,
                                         .wal_dir = c->config->wal_dir,
                                         .map_bytes = c->config->map_bytes,
                                         .quota_bytes = c->config->quota_bytes,
                                         .log = c->log,
                                         .disable_auth = c->source.auth_enabled};
}

/* 4 and 5. */
static int make(struct convert *c)
{
    uint8_t id[8], cluster[8];
    put_be64(id, c->log->metadata.node_id);
    put_be64(cluster, c->log->metadata.cluster_id);
    struct backend_op ids[] = {
        {BACKEND_PUT, BACKEND_KEDGE, bytes_str(GENERATION_MEMBER_ID), bytes_of(id, 8)},
        {BACKEND_PUT, BACKEND_KEDGE, bytes_str(GENERATION_CLUSTER_ID), bytes_of(cluster, 8)},
    };
    const struct convert_store_config settings = store_settings(c);
    if (c->source.is_fresh) {
        return convert_store_make_empty(&settings, ids, 2, c->reason);
    }
    int error = build(c, ids, 2);
    FAILPOINT(convertAfterBuild);
    return error != 0 ? error : convert_store_finish(&settings, &c->at, c->reason);
}

/* --- 6 to 8: names --- */

static int sync_folder(struct convert *c)
{
    return folder_sync(c->config->snap_dir) == 0 ? 0 : refuse_errno(c, "cannot sync its folder");
}

static int keep_original(struct convert *c)
{
    c->kept = arena_printf(&c->arena, "%s/" KEPT_NAME "%016" PRIx64, c->config->snap_dir, c->at.index);
    const char *first = c->kept;
    for (unsigned n = 2; link(c->config->db_path, c->kept) != 0; n++) {
        if (errno != EEXIST) {
            return refuse(
                c, ERR_IO,
                "cannot give the original a second name, %s: %s; kedge needs a file system with hard links for"
                " this: copy the directory to one",
                c->kept, strerror(errno));
        }
        c->kept = arena_printf(&c->arena, "%s.%u", first, n);
    }
    FAILPOINT(convertAfterLink);
    return sync_folder(c);
}

static int place(struct convert *c)
{
    int error = keep_original(c);
    FAILPOINT(convertBeforeRename);
    if (error == 0 && rename(c->built, c->config->db_path) != 0) {
        error = refuse_errno(c, "cannot rename the new store");
    }
    FAILPOINT(convertAfterRename);
    return error != 0 ? error : sync_folder(c);
}

/* --- all of it --- */

static int run(struct convert *c)
{
    int error = lock(c);
    if (error != 0) {
        return error;
    }
    remove_built(c);
    error = remove_second_names(c);
    error = error != 0 ? error : look(c);
    if (error != 0) {
        return error;
    }
    log_info("converting the store of etcd", log_str("path", c->config->db_path), log_uint("bytes", c->before.st_size),
             log_str("cluster-version", c->source.cluster_version));
    error = make(c);
    error = error != 0 ? error : place(c);
    remove_built(c); /* of a failed one all, of a placed one the lock file */
    return error;
}

int convert_store(const struct convert_config *config, const struct wal_contents *log, char **reason)
{
    struct convert c = {
        .config = config, .log = log, .lock = -1, .reason = reason, .begun_ns = (int64_t)loop_clock_ns()};
    c.said_ns = c.begun_ns;
    c.built = arena_printf(&c.arena, "%s/" NEW_NAME, config->snap_dir);
    *reason = NULL;
    int error = run(&c);
    if (error == 0) {
        log_info("converted the store of etcd", log_str("path", config->db_path), log_str("original", c.kept),
                 log_str("storage-version", c.at.version), log_uint("rows", c.at.rows),
                 log_uint("consistent-index", c.at.index), log_duration("took", (int64_t)loop_clock_ns() - c.begun_ns));
    }
    if (c.lock >= 0) {
        close(c.lock);
    }
    arena_free(&c.arena);
    return error;
}
