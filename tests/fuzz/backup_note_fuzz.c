/* What stands in a backups' target: notes, names, packed snapshots. The first byte chooses. A note that was accepted
 * must print and read back to the same; whatever a packed snapshot says of itself, reading it stays inside of it. */
#include "base/check.h"
#include "base/error.h"
#include "snapshot/backup_note.h"
#include "snapshot/backup_zstd.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_note(struct bytes text)
{
    struct backup_note note, again;
    struct buffer printed = {0};
    if (backup_note_parse(text, &note)) {
        char beside[BACKUP_NAME_BYTES];
        CHECK(backup_note_beside(note.name, beside));
        backup_note_print(&note, &printed);
        CHECK(backup_note_parse(buffer_bytes(&printed), &again));
        CHECK(strcmp(again.member, note.member) == 0 && again.revision == note.revision && again.hash == note.hash);
    }
    buffer_free(&printed);
}

static void try_packed(struct bytes packed)
{
    struct snapshot_memory memory;
    const char *reason;
    int number = 0;
    snapshot_memory_init(&memory, packed);
    struct backup_unpacker *unpacker = backup_unpacker_new(&memory.source, &reason);
    if (unpacker == NULL) {
        CHECK(reason != NULL);
        return;
    }
    struct snapshot_source *source = backup_unpacker_source(unpacker);
    uint8_t out[512];
    for (uint64_t at = 0, step = source->size / 16 + 1; at < source->size; at += step) {
        size_t len = source->size - at < sizeof out ? (size_t)(source->size - at) : sizeof out;
        int error = source->read(source, at, out, len, &number);
        CHECK(error == 0 || (error == ERR_IO && backup_unpacker_damage(unpacker) != NULL));
    }
    backup_unpacker_free(unpacker);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (data[0] % 2 == 0) {
        try_note(bytes_of(data + 1, size - 1));
    } else {
        try_packed(bytes_of(data + 1, size - 1));
    }
    return 0;
}
