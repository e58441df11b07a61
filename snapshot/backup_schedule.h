/* When backups are taken: an interval ("30m", "@every 6h"), or five fields of cron ("15 3 * * mon-fri"), or one of its
 * names (@hourly, @daily or @midnight, @weekly, @monthly, @yearly or @annually).
 *
 * A moment at which one is due is a slot, in seconds since 1970. Slots follow from the text and the clock alone, so
 * that all members have the same: those of an interval are its multiples since 1970, cron's fields are UTC (no hour of
 * it is missing or comes twice).
 *
 * Cron's fields are minute, hour, day of the month, month (1-12 or jan-dec), day of the week (0-7 or sun-sat, 0 and 7
 * are Sunday); each a list of *, N, A-B, with /STEP behind it. If neither of the two days begins with *, one of them is
 * enough, as in every cron. */
#ifndef SNAPSHOT_BACKUP_SCHEDULE_H
#define SNAPSHOT_BACKUP_SCHEDULE_H

#include "base/arena.h"

struct backup_schedule {
    enum { BACKUP_NEVER, BACKUP_EVERY, BACKUP_CRON } kind; /* zeroed: never */
    int64_t every_s;
    uint64_t minutes; /* bit n = n */
    uint32_t hours, days, months;
    uint8_t weekdays;
    bool any_day; /* one of the two days is enough */
};

/* NULL, or what is wrong with the text (in the arena). "" = never. */
const char *backup_schedule_parse(struct arena *arena, const char *text, struct backup_schedule *out);

/* The first slot after `after_s`, and the last one not after `at_s`; 0 = there is none (never). Times are from 1970 to
 * 9999; others give 0. */
int64_t backup_schedule_next(const struct backup_schedule *schedule, int64_t after_s);
int64_t backup_schedule_last(const struct backup_schedule *schedule, int64_t at_s);

#endif
