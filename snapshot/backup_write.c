/* A new backup. What is written counts only after it was read back; its note is written after it has its name. */
#include "snapshot/backup_store.h"

#include "base/check.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "snapshot/backup_verify.h"
#include "snapshot/backup_zstd.h"
#include <stdio.h>
#include <stdlib.h>

static int target_failed(struct backup_writer *writer, int error)
{
    struct backup_store *store = writer->store;
    if (error != 0) {
        snprintf(store->reason, sizeof store->reason, "%s", store->target->reason);
    }
    return error;
}

/* Is there anything of this name already? Its note counts too: of a packed and a plain one of the same second and
 * revision it would be the same. */
static bool is_taken(const struct backup_listing *listing, const char *name)
{
    char beside[BACKUP_NAME_BYTES];
    return backup_listing_find(listing, name) != NULL ||
           (backup_note_beside(name, beside) && backup_listing_find(listing, beside) != NULL);
}

static int choose_name(struct backup_writer *writer)
{
    struct backup_target *target = writer->store->target;
    struct backup_listing listing = {0};
    int error = target->ops->list(target, &listing);
    if (error == 0) {
        backup_note_name(&writer->note);
        while (is_taken(&listing, writer->note.name)) {
            writer->note.time_s++;
            backup_note_name(&writer->note);
        }
    }
    backup_listing_free(&listing);
    return error;
}

int backup_writer_begin(struct backup_writer *writer)
{
    struct backup_target *target = writer->store->target;
    int error = target->ops->sweep(target);
    error = error != 0 ? error : choose_name(writer);
    error = error != 0 ? error : target->ops->begin(target, writer->note.name);
    writer->begun = error == 0;
    if (writer->begun && writer->note.zstd) {
        writer->packer = backup_packer_new();
    }
    return target_failed(writer, error);
}

static int write_packed(struct backup_writer *writer)
{
    struct backup_target *target = writer->store->target;
    int error = target->ops->write(target, buffer_bytes(&writer->packed));
    writer->packed.len = 0;
    return target_failed(writer, error);
}

int backup_writer_write(struct backup_writer *writer, struct bytes part)
{
    struct backup_target *target = writer->store->target;
    writer->note.size += part.len;
    if (writer->packer == NULL) {
        return target_failed(writer, target->ops->write(target, part));
    }
    backup_packer_add(writer->packer, part, &writer->packed);
    return write_packed(writer);
}

static int compare(struct backup_writer *writer, const struct backup_found *found)
{
    struct backup_store *store = writer->store;
    if (found->revision > writer->note.revision) { /* lower, after a compaction of the last rows */
        snprintf(store->reason, sizeof store->reason, "what was written is of revision %lld, not of %lld",
                 (long long)found->revision, (long long)writer->note.revision);
        return ERR_CORRUPT_DATA;
    }
    if (found->size != writer->note.size) {
        snprintf(store->reason, sizeof store->reason, "what was written has %llu bytes, not %llu",
                 (unsigned long long)found->size, (unsigned long long)writer->note.size);
        return ERR_CORRUPT_DATA;
    }
    writer->note.hash = found->hash;
    writer->note.stored_size = found->stored_size;
    memcpy(writer->note.version, found->version, sizeof writer->note.version);
    return 0;
}

int backup_writer_finish(struct backup_writer *writer, const atomic_bool *cancel)
{
    struct backup_store *store = writer->store;
    struct backup_target *target = store->target;
    struct backup_found found;
    int error = 0;
    if (writer->packer != NULL) {
        backup_packer_end(writer->packer, &writer->packed);
        error = write_packed(writer);
    }
    error = error != 0 ? error : target_failed(writer, target->ops->finish(target));
    if (error != 0) {
        return error;
    }
    char why[256] = "";
    error = backup_verify(target, NULL, writer->note.zstd, cancel, &found, why, sizeof why);
    if (error != 0) {
        snprintf(store->reason, sizeof store->reason, "what was written cannot be restored: %s", why);
        return error;
    }
    return compare(writer, &found);
}

static void clear(struct backup_writer *writer)
{
    backup_packer_free(writer->packer);
    buffer_free(&writer->packed);
    writer->packer = NULL;
    writer->begun = false;
}

int backup_writer_commit(struct backup_writer *writer)
{
    struct backup_target *target = writer->store->target;
    char beside[BACKUP_NAME_BYTES];
    struct buffer text = {0};
    CHECK(writer->begun && backup_note_beside(writer->note.name, beside));
    int error = target->ops->commit(target);
    if (error == 0) {
        FAILPOINT(backupBeforeNote);
        backup_note_print(&writer->note, &text);
        error = target->ops->put(target, beside, buffer_bytes(&text));
        buffer_free(&text);
    }
    target_failed(writer, error);
    if (error == 0) {
        clear(writer);
    }
    return error;
}

void backup_writer_abort(struct backup_writer *writer)
{
    struct backup_target *target = writer->store->target;
    if (writer->begun) {
        target->ops->abort(target);
    }
    clear(writer);
}
