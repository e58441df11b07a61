/* Which backups are kept: "7", the last seven; or classes, "hourly=24,daily=7,weekly=4": of each of the last 24 hours
 * that have a backup the last one, of each of the last seven days the last one, and so on. What one class wants is
 * kept. Classes are last, hourly, daily, weekly (from Monday on), monthly and yearly, in UTC. "" or "all" = everything.
 *
 * Only good backups count. Whatever the policy says, the last good one is kept, and one that is not good stays for as
 * long as an older good one does: somebody may want to look at it. */
#ifndef SNAPSHOT_BACKUP_KEEP_H
#define SNAPSHOT_BACKUP_KEEP_H

#include "base/arena.h"

enum backup_class {
    BACKUP_LAST,
    BACKUP_HOURLY,
    BACKUP_DAILY,
    BACKUP_WEEKLY,
    BACKUP_MONTHLY,
    BACKUP_YEARLY,
    BACKUP_CLASSES
};

struct backup_keep {
    bool all;
    uint32_t count[BACKUP_CLASSES];
};

/* NULL, or what is wrong with the text (in the arena). A policy that keeps nothing is refused. */
const char *backup_keep_parse(struct arena *arena, const char *text, struct backup_keep *out);

struct backup_age {
    int64_t time_s; /* since 1970 */
    bool good;      /* it was verified, and nobody found damage since */
    bool keep;      /* out */
};

/* items: newest first. */
void backup_keep_choose(const struct backup_keep *keep, struct backup_age *items, size_t count);

#endif
