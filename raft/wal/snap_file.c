#include "raft/wal/snap_file.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "raft/codec.h"
#include "raft/wal/wal_impl.h"
#include "raft/wire.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* "tmp" first: etcd too removes such leftovers at its start (wal.md "Data dir"). Not all that begins with it is one: a
 * file of that kind may be an image that is being received (cmd/kedge/image_in.c). */
#define TEMPORARY "tmp-"

enum { SUFFIX_AT = 33, NAME_BYTES = 39 }; /* %016x-%016x.snap and the final NUL */

/* --- bytes --- */

/* raftpb.Snapshot{1 data, 2 metadata{1 conf_state, 2 index, 3 term}} in snappb.snapshot{1 crc, 2 data}. */
void snap_file_encode(struct buffer *out, struct raft_position at, const struct raft_conf_state *conf,
                      struct bytes data)
{
    struct buffer members = {0}, metadata = {0}, snapshot = {0};
    raft_conf_state_encode(&members, conf, true);
    wire_append_bytes(&metadata, 1, buffer_bytes(&members));
    wire_append_number(&metadata, 2, at.index);
    wire_append_number(&metadata, 3, at.term);
    if (data.len > 0) {
        wire_append_bytes(&snapshot, 1, data);
    }
    wire_append_bytes(&snapshot, 2, buffer_bytes(&metadata));
    wire_append_number(out, 1, crc32c(0, snapshot.data, snapshot.len));
    wire_append_bytes(out, 2, buffer_bytes(&snapshot));
    buffer_free(&members);
    buffer_free(&metadata);
    buffer_free(&snapshot);
}

static int decode_metadata(struct bytes in, struct raft_position *at, struct raft_conf_state *conf)
{
    struct wire_field f;
    int more;
    while ((more = wire_next(&in, &f)) > 0) {
        if (f.tag == WIRE_TAG(1, WIRE_BYTES)) {
            raft_conf_state_free(conf);
            if (raft_conf_state_decode(f.bytes, conf) != 0) {
                return ERR_MALFORMED;
            }
        } else if (f.tag == WIRE_TAG(2, WIRE_VARINT)) {
            at->index = f.number;
        } else if (f.tag == WIRE_TAG(3, WIRE_VARINT)) {
            at->term = f.number;
        }
    }
    return more < 0 ? ERR_MALFORMED : 0;
}

static int decode_snapshot(struct bytes in, struct raft_position *at, struct raft_conf_state *conf, struct bytes *data)
{
    struct wire_field f;
    int more;
    while ((more = wire_next(&in, &f)) > 0) {
        if (f.tag == WIRE_TAG(1, WIRE_BYTES)) {
            *data = f.bytes;
        } else if (f.tag == WIRE_TAG(2, WIRE_BYTES) && decode_metadata(f.bytes, at, conf) != 0) {
            return ERR_MALFORMED;
        }
    }
    return more < 0 ? ERR_MALFORMED : 0;
}

static const char *decode(struct bytes file, struct raft_position *at, struct raft_conf_state *conf, struct bytes *data)
{
    struct wire_field f;
    struct bytes content = {0};
    uint64_t crc = 0;
    int more;
    if (file.len == 0) {
        return "the file is empty";
    }
    while ((more = wire_next(&file, &f)) > 0) {
        if (f.tag == WIRE_TAG(1, WIRE_VARINT)) {
            crc = f.number;
        } else if (f.tag == WIRE_TAG(2, WIRE_BYTES)) {
            content = f.bytes;
        }
    }
    if (more < 0) {
        return "the envelope can't be parsed";
    }
    if (content.len == 0 || crc == 0) {
        return "the snapshot is empty";
    }
    if ((uint32_t)crc != crc32c(0, content.data, content.len)) {
        return "the checksum doesn't match";
    }
    return decode_snapshot(content, at, conf, data) == 0 ? NULL : "the snapshot can't be parsed";
}

int snap_file_decode(struct bytes file, struct raft_position *at, struct raft_conf_state *conf, struct bytes *data,
                     const char **reason)
{
    *at = (struct raft_position){0};
    *conf = (struct raft_conf_state){0};
    *data = (struct bytes){0};
    const char *fault = decode(file, at, conf, data);
    if (fault == NULL) {
        return 0;
    }
    raft_conf_state_free(conf);
    *data = (struct bytes){0};
    if (reason != NULL) {
        *reason = fault;
    }
    return ERR_CORRUPT_DATA;
}

/* --- files --- */

static int write_file(const struct wal_fs *fs, const char *path, struct bytes content)
{
    struct wal_file *file;
    int error = fs->open(fs, path, WAL_FS_WRITE | WAL_FS_CREATE | WAL_FS_TRUNCATE | WAL_FS_SHARED_MODE, &file);
    if (error != 0) {
        return error;
    }
    struct iovec iov = {.iov_base = (void *)(uintptr_t)content.data, .iov_len = content.len};
    error = fs->write(file, &iov, 1, 0);
    if (error == 0) {
        error = fs->sync(file);
    }
    fs->close(file);
    return error;
}

int snap_file_write(const struct wal_fs *fs, const char *dir, struct raft_position at,
                    const struct raft_conf_state *conf, struct bytes data, char **reason)
{
    struct buffer content = {0};
    char *temporary = mem_printf("%s/" TEMPORARY "%016" PRIx64 "-%016" PRIx64 ".snap", dir, at.term, at.index);
    char *path = mem_printf("%s/%016" PRIx64 "-%016" PRIx64 ".snap", dir, at.term, at.index);
    snap_file_encode(&content, at, conf, data);
    int error = write_file(fs, temporary, buffer_bytes(&content));
    if (error == 0) {
        error = fs->rename(fs, temporary, path);
    }
    if (error == 0) {
        error = fs->sync_dir(fs, dir);
    } else {
        fs->unlink(fs, temporary);
    }
    if (error != 0) {
        wal_fail(reason, 0, "write %s: %s", path, strerror(-error));
    }
    free(temporary);
    free(path);
    buffer_free(&content);
    return error == 0 ? 0 : wal_error(error) == ERR_DISK_FULL ? ERR_DISK_FULL : ERR_IO;
}

struct found {
    char (*names)[NAME_BYTES];
    size_t count;
    char **leftovers;
    size_t leftover_count;
};

static void collect(void *arg, const char *name)
{
    struct found *f = arg;
    if (strncmp(name, TEMPORARY, sizeof TEMPORARY - 1) == 0) {
        f->leftovers = mem_realloc(f->leftovers, (f->leftover_count + 1) * sizeof *f->leftovers);
        f->leftovers[f->leftover_count++] = mem_strdup(name);
    } else if (strlen(name) == NAME_BYTES - 1 && name[16] == '-' && strcmp(name + SUFFIX_AT, ".snap") == 0) {
        f->names = mem_realloc(f->names, (f->count + 1) * sizeof *f->names);
        memcpy(f->names[f->count++], name, NAME_BYTES);
    }
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int remove_name(const struct wal_fs *fs, const char *dir, const char *name, char **reason)
{
    char *path = mem_printf("%s/%s", dir, name);
    int error = fs->unlink(fs, path);
    if (error != 0 && error != -ENOENT) {
        wal_fail(reason, 0, "remove %s: %s", path, strerror(-error));
    }
    free(path);
    return error == 0 || error == -ENOENT ? 0 : ERR_IO;
}

int snap_file_purge(const struct wal_fs *fs, const char *dir, size_t max_files, char **reason)
{
    struct found f = {0};
    int error = fs->list(fs, dir, collect, &f);
    if (error != 0) {
        error = wal_fail(reason, ERR_IO, "list %s: %s", dir, strerror(-error));
    }
    if (f.count > 1) {
        qsort(f.names, f.count, sizeof *f.names, compare);
    }
    for (size_t i = 0; error == 0 && i < f.leftover_count; i++) {
        error = remove_name(fs, dir, f.leftovers[i], reason);
    }
    for (size_t i = 0; error == 0 && max_files > 0 && i + max_files < f.count; i++) {
        error = remove_name(fs, dir, f.names[i], reason);
    }
    for (size_t i = 0; i < f.leftover_count; i++) {
        free(f.leftovers[i]);
    }
    free(f.leftovers);
    free(f.names);
    return error;
}
