#include "snapshot/backup_store.h"

#include "base/error.h"
#include "base/failpoint.h"
#include "snapshot/backup_verify.h"
#include <stdio.h>
#include <stdlib.h>

/* What stands there without a note for so long is not about to get one. */
#define ORPHAN_S 86400

static int target_failed(struct backup_store *store, int error)
{
    if (error != 0) {
        snprintf(store->reason, sizeof store->reason, "%s", store->target->reason);
    }
    return error;
}

/* --- what there is --- */

/* The note of a snapshot in the listing: 1, or 0 if it has none or it is another cluster's. */
static int read_note(struct backup_store *store, const struct backup_listing *listing, const char *name,
                     struct backup_note *out)
{
    char beside[BACKUP_NAME_BYTES];
    struct buffer text = {0};
    if (!backup_note_beside(name, beside) || backup_listing_find(listing, beside) == NULL) {
        return 0;
    }
    int error = store->target->ops->get(store->target, beside, BACKUP_NOTE_MAX_BYTES, &text);
    bool good = error == 0 && backup_note_parse(buffer_bytes(&text), out) && strcmp(out->name, name) == 0 &&
                out->cluster_id == store->cluster_id;
    buffer_free(&text);
    return good;
}

static int read_notes(struct backup_store *store, const struct backup_listing *listing, struct backup_note **out,
                      size_t *count)
{
    *out = mem_alloc((listing->count + 1) * sizeof **out);
    *count = 0;
    for (size_t i = listing->count; i-- > 0;) {
        struct backup_note *note = *out + *count;
        int64_t time_s;
        if (backup_note_is_backup(listing->items[i].name, &time_s) &&
            read_note(store, listing, listing->items[i].name, note)) {
            note->stored_size = listing->items[i].size;
            (*count)++;
        }
    }
    return 0;
}

int backup_store_list(struct backup_store *store, struct backup_note **out, size_t *count)
{
    struct backup_listing listing = {0};
    *out = NULL;
    *count = 0;
    int error = target_failed(store, store->target->ops->list(store->target, &listing));
    error = error != 0 ? error : read_notes(store, &listing, out, count);
    backup_listing_free(&listing);
    return error;
}

int backup_store_find_slot(struct backup_store *store, int64_t slot_s, struct backup_note *out)
{
    struct backup_note *notes = NULL;
    size_t count = 0;
    int error = slot_s == 0 ? 0 : backup_store_list(store, &notes, &count);
    for (size_t i = 0; i < count && error == 0; i++) {
        if (notes[i].slot_s == slot_s && notes[i].damage[0] == '\0') {
            *out = notes[i];
            error = 1;
        }
    }
    free(notes);
    return error;
}

/* --- is one whole? --- */

static int put_note(struct backup_store *store, const struct backup_note *note)
{
    char beside[BACKUP_NAME_BYTES];
    struct buffer text = {0};
    backup_note_beside(note->name, beside);
    backup_note_print(note, &text);
    int error = store->target->ops->put(store->target, beside, buffer_bytes(&text));
    buffer_free(&text);
    return target_failed(store, error);
}

/* What differs from the note; NULL = nothing. */
static const char *difference(const struct backup_note *note, const struct backup_found *found)
{
    if (found->hash != note->hash) {
        return "its hash is not that of the note beside it";
    }
    return found->size != note->size ? "its size is not that of the note beside it" : NULL;
}

static int find(struct backup_store *store, const char *name, struct backup_note *out)
{
    struct backup_note *notes;
    size_t count, i = 0;
    int error = backup_store_list(store, &notes, &count);
    if (error == 0) {
        while (i < count && *name != '\0' && strcmp(notes[i].name, name) != 0) {
            i++;
        }
        if (i < count) {
            *out = notes[i];
        } else {
            snprintf(store->reason, sizeof store->reason,
                     *name == '\0' ? "there is no backup%s" : "there is no backup %s", name);
            error = ERR_ABSENT;
        }
    }
    free(notes);
    return error;
}

int backup_store_verify(struct backup_store *store, const char *name, struct backup_note *out,
                        const atomic_bool *cancel)
{
    struct backup_found found;
    char why[256] = "";
    int error = find(store, name, out);
    if (error != 0) {
        return error;
    }
    error = backup_verify(store->target, out->name, out->zstd, cancel, &found, why, sizeof why);
    if (error == 0 && difference(out, &found) != NULL) {
        snprintf(why, sizeof why, "%s", difference(out, &found));
        error = ERR_CORRUPT_DATA;
    }
    snprintf(store->reason, sizeof store->reason, "%s: %s", out->name, why);
    bool was_good = out->damage[0] == '\0';
    if ((error == 0 && !was_good) || (error == ERR_CORRUPT_DATA && was_good)) {
        snprintf(out->damage, sizeof out->damage, "%s", why);
        (void)put_note(store, out); /* it can be read, that is what was asked */
    }
    return error;
}

/* --- which are given up --- */

static int remove_item(struct backup_store *store, const char *name)
{
    return target_failed(store, store->target->ops->remove(store->target, name));
}

/* The note first: without it there is no backup, and what is left is found again. */
static int remove_backup(struct backup_store *store, const struct backup_note *note)
{
    char beside[BACKUP_NAME_BYTES];
    backup_note_beside(note->name, beside);
    int error = remove_item(store, beside);
    FAILPOINT(backupHalfRemoved);
    return error != 0 ? error : remove_item(store, note->name);
}

static int remove_orphans(struct backup_store *store, const struct backup_listing *listing, int64_t before_s)
{
    int error = 0;
    for (size_t i = 0; i < listing->count && error == 0; i++) {
        char beside[BACKUP_NAME_BYTES];
        int64_t time_s;
        if (backup_note_is_backup(listing->items[i].name, &time_s) && time_s < before_s - ORPHAN_S &&
            backup_note_beside(listing->items[i].name, beside) && backup_listing_find(listing, beside) == NULL) {
            error = remove_item(store, listing->items[i].name);
        }
    }
    return error;
}

/* The n-th in the order of the policy, newest first: those with times after now_s come last. */
static size_t place_of(size_t n, size_t ahead, size_t count)
{
    return (n + ahead) % count;
}

static int apply_policy(struct backup_store *store, const struct backup_note *notes, size_t count, int64_t now_s,
                        size_t *removed)
{
    struct backup_age *ages = mem_zalloc((count + 1) * sizeof *ages);
    size_t ahead = 0;
    int error = 0;
    while (ahead < count && notes[ahead].time_s > now_s) {
        ahead++;
    }
    for (size_t i = 0; i < count; i++) {
        const struct backup_note *note = &notes[place_of(i, ahead, count)];
        ages[i] = (struct backup_age){.time_s = note->time_s, .good = note->damage[0] == '\0'};
    }
    backup_keep_choose(&store->keep, ages, count);
    for (size_t i = 0; i < count && error == 0; i++) {
        if (!ages[i].keep) {
            error = remove_backup(store, &notes[place_of(i, ahead, count)]);
            *removed += error == 0;
        }
    }
    free(ages);
    return error;
}

int backup_store_retain(struct backup_store *store, int64_t now_s, size_t *removed)
{
    struct backup_listing listing = {0};
    struct backup_note *notes = NULL;
    size_t count = 0;
    *removed = 0;
    int error = target_failed(store, store->target->ops->list(store->target, &listing));
    error = error != 0 ? error : read_notes(store, &listing, &notes, &count);
    error = error != 0 ? error : apply_policy(store, notes, count, now_s, removed);
    error = error != 0 ? error : remove_orphans(store, &listing, now_s);
    free(notes);
    backup_listing_free(&listing);
    return error;
}
