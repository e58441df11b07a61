/* Texts of --backup-schedule and --backup-keep. The first eight bytes are a moment: the slots around it must be in
 * order, and none lie between two that follow each other. */
#include "base/check.h"
#include "snapshot/backup_keep.h"
#include "snapshot/backup_schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_schedule(const char *text, int64_t at_s)
{
    struct arena arena = {0};
    struct backup_schedule schedule;
    if (backup_schedule_parse(&arena, text, &schedule) == NULL && schedule.kind != BACKUP_NEVER) {
        int64_t next_s = backup_schedule_next(&schedule, at_s), last_s = backup_schedule_last(&schedule, at_s);
        CHECK(last_s <= at_s && (next_s == 0 || next_s > at_s));
        CHECK(next_s == 0 || backup_schedule_last(&schedule, next_s) == next_s);
        CHECK(next_s == 0 || backup_schedule_last(&schedule, next_s - 1) == last_s);
        CHECK(last_s == 0 || backup_schedule_next(&schedule, last_s - 1) == last_s);
    }
    arena_free(&arena);
}

static void try_keep(const char *text, int64_t at_s)
{
    struct arena arena = {0};
    struct backup_keep keep;
    if (backup_keep_parse(&arena, text, &keep) == NULL) {
        struct backup_age ages[20];
        for (int i = 0; i < 20; i++) {
            ages[i] = (struct backup_age){.time_s = at_s - (int64_t)i * i * 3000, .good = i % 3 != 0};
        }
        backup_keep_choose(&keep, ages, 20);
        CHECK(ages[1].keep);
    }
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8) {
        return 0;
    }
    struct arena arena = {0};
    int64_t at_s = (int64_t)(get_be64(data) % UINT64_C(250000000000));
    const char *text = arena_printf(&arena, "%.*s", (int)(size - 8), (const char *)data + 8);
    try_schedule(text, at_s);
    try_keep(text, at_s);
    arena_free(&arena);
    return 0;
}
