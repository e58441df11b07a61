#include "raft/wal/wal.h"
#include "raft/wal/wal_impl.h"
#include <inttypes.h>
#include <stdlib.h>

struct wal *wal_new(const struct wal_config *config)
{
    struct wal *w = mem_zalloc(sizeof *w);
    w->fs = config->fs;
    w->dir = mem_strdup(config->dir);
    w->segment_bytes = config->segment_bytes == 0 ? WAL_SEGMENT_BYTES : config->segment_bytes;
    w->reserve_bytes = config->reserve_bytes == 0 ? 1 << 20 : config->reserve_bytes;
    w->no_sync = config->no_sync;
    w->space = (struct wal_space){.ordinary_bytes = UINT64_MAX, .total_bytes = UINT64_MAX};
    pthread_mutex_init(&w->lock, NULL);
    wal_catalog_init(&w->catalog, 1);
    return w;
}

void wal_abandon(struct wal *w)
{
    if (w == NULL) {
        return;
    }
    for (size_t i = 0; i < w->segment_count; i++) {
        if (w->segments[i].file != NULL) {
            w->fs->close(w->segments[i].file);
        }
    }
    if (w->next != NULL) {
        w->fs->close(w->next);
    }
    pthread_mutex_destroy(&w->lock);
    wal_catalog_free(&w->catalog);
    buffer_free(&w->metadata);
    buffer_free(&w->staged);
    free(w->segments);
    free(w->parts);
    free(w->iov);
    free(w->reason);
    free(w->dir);
    free(w);
}

char *wal_path(const struct wal *w, struct wal_name name)
{
    char text[WAL_NAME_BYTES];
    wal_name_format(text, name);
    return mem_printf("%s/%s", w->dir, text);
}

unsigned wal_segment_flags(const struct wal *w)
{
    return WAL_FS_WRITE | (w->no_sync ? 0 : WAL_FS_APPEND);
}

struct wal_segment *wal_tail(struct wal *w)
{
    return &w->segments[w->segment_count - 1];
}

void wal_add_segment(struct wal *w, struct wal_name name, struct wal_file *file)
{
    w->segments = mem_realloc(w->segments, (w->segment_count + 1) * sizeof *w->segments);
    w->segments[w->segment_count++] = (struct wal_segment){.name = name, .file = file};
}

const char *wal_reason(const struct wal *w)
{
    return w->reason == NULL ? "" : w->reason;
}

uint64_t wal_term(const struct wal *w, uint64_t index)
{
    return index == w->base.index ? w->base.term : wal_catalog_term(&w->catalog, index);
}

uint64_t wal_first_index(struct wal *w)
{
    pthread_mutex_lock(&w->lock);
    uint64_t first = w->catalog.first;
    pthread_mutex_unlock(&w->lock);
    return first;
}

struct wal_space wal_space(struct wal *w)
{
    pthread_mutex_lock(&w->lock);
    struct wal_space space = w->space;
    pthread_mutex_unlock(&w->lock);
    return space;
}

void wal_contents_free(struct wal_contents *contents)
{
    raft_conf_state_free(&contents->conf);
    free(contents->repaired_file);
    *contents = (struct wal_contents){0};
}

void wal_entries_free(struct raft_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        shared_unref(entries[i].data);
    }
    free(entries);
}
