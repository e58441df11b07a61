#include "cmd/kedge/generation.h"

#include "base/check.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "snapshot/install.h"
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define IMAGE_ENDING ".snap.db"
#define STEP_ROWS 10000

char *generation_image(const struct generation_config *config, uint64_t index)
{
    return mem_printf("%s/%016" PRIx64 IMAGE_ENDING, config->snap_dir, index);
}

/* --- building --- */

static int run_install(struct snapshot_install *install, const atomic_bool *give_up, char **reason)
{
    int progress;
    do {
        if (give_up != NULL && atomic_load(give_up)) {
            *reason = mem_strdup(error_text(ERR_STOPPED));
            return ERR_STOPPED;
        }
        progress = snapshot_install_step(install, STEP_ROWS);
    } while (progress == SNAPSHOT_MORE);
    if (progress != SNAPSHOT_DONE) {
        *reason = mem_strdup(snapshot_install_reason(install));
    }
    return progress;
}

/* The image as a store at `path`. */
static int install(const struct generation_config *config, struct raft_position at, const char *path,
                   const atomic_bool *give_up, char **reason)
{
    uint8_t id[8], cluster[8];
    char *image = generation_image(config, at.index);
    put_be64(id, config->member_id);
    put_be64(cluster, config->cluster_id);
    const struct backend_op rows[] = {
        {BACKEND_PUT, BACKEND_KEDGE, bytes_str(GENERATION_MEMBER_ID), bytes_of(id, 8)},
        {BACKEND_PUT, BACKEND_KEDGE, bytes_str(GENERATION_CLUSTER_ID), bytes_of(cluster, 8)},
    };
    const struct snapshot_install_config settings = {.image = image,
                                                     .store = path,
                                                     .verify = true,
                                                     .index = at.index,
                                                     .term = at.term,
                                                     .rows = rows,
                                                     .row_count = 2,
                                                     .map_bytes = config->store.map_bytes,
                                                     .quota_bytes = config->store.quota_bytes};
    struct snapshot_install *work = snapshot_install_new(&settings);
    int error = run_install(work, give_up, reason);
    snapshot_install_free(work);
    free(image);
    return error;
}

/* Opening walks all of its pages and rows once more, and reads all of its keys. */
static int open_generation(const struct generation_config *config, const char *path, struct generation *out,
                           char **reason)
{
    struct backend_lmdb_config store = config->store;
    store.path = path;
    int error = backend_open_lmdb(&store, &out->backend, reason);
    if (error == 0) {
        error = kv_open(&config->kv, out->backend, &out->kv, reason);
    }
    if (error != 0 && out->backend != NULL) {
        backend_close(out->backend);
    }
    return error;
}

static void remove_store(const char *path)
{
    char *lock = mem_printf("%s-lock", path);
    unlink(path);
    unlink(lock);
    free(lock);
}

int generation_build(const struct generation_config *config, struct raft_position at, const atomic_bool *give_up,
                     struct generation *out, char **reason)
{
    char *path = mem_printf("%s/db.tmp.%016" PRIx64, config->snap_dir, at.index);
    *out = (struct generation){0};
    *reason = NULL;
    FAILPOINT(applyBeforeOpenSnapshot);
    int error = install(config, at, path, give_up, reason);
    if (error == 0) {
        error = open_generation(config, path, out, reason);
        if (error != 0) {
            remove_store(path);
        }
    }
    free(path);
    FAILPOINT(applyAfterOpenSnapshot);
    return error;
}

int generation_copy(const struct generation_config *config, struct backend *from, struct backend **out, char **reason)
{
    struct backend_lmdb_config store = config->store;
    char *path = mem_printf("%s/db.tmp.defragment", config->snap_dir);
    *reason = NULL;
    FAILPOINT(defragBeforeCopy);
    int error = backend_lmdb_copy(from, path);
    if (error == 0) {
        store.path = path;
        error = backend_open_lmdb(&store, out, reason);
        if (error != 0) {
            remove_store(path);
        }
    }
    free(path);
    return error;
}

/* --- taking over --- */

int generation_place(const struct generation_config *config, struct generation *generation, uint64_t index)
{
    FAILPOINT(raftBeforeApplySnap);
    int error = backend_lmdb_rename(generation->backend, config->store.path);
    FAILPOINT(raftAfterApplySnap);
    if (error == 0) {
        generation_drop_image(config, index);
    }
    return error;
}

void generation_drop_image(const struct generation_config *config, uint64_t index)
{
    char *image = generation_image(config, index);
    unlink(image);
    free(image);
}

void generation_close(struct generation *generation)
{
    kv_close(generation->kv);
    backend_close(generation->backend);
    *generation = (struct generation){0};
}

void generation_remove_images(const struct generation_config *config)
{
    DIR *stream = opendir(config->snap_dir);
    if (stream == NULL) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        size_t len = strlen(entry->d_name), ending = strlen(IMAGE_ENDING);
        if (len > ending && strcmp(entry->d_name + len - ending, IMAGE_ENDING) == 0) {
            unlinkat(dirfd(stream), entry->d_name, 0);
        }
    }
    closedir(stream);
}
