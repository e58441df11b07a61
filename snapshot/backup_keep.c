#include "snapshot/backup_keep.h"

#include "base/gotext.h"
#include <time.h>

#define HOUR_S 3600
#define DAY_S 86400

static const char *const class_names[BACKUP_CLASSES] = {"last", "hourly", "daily", "weekly", "monthly", "yearly"};

/* --- the text --- */

static const char *parse_count(struct arena *arena, const char *text, uint32_t *out)
{
    uint64_t count;
    if (gotext_uint(arena, text, 10, 32, &count) != NULL) {
        return arena_printf(arena, "bad count %s", gotext_quoted(arena, text));
    }
    *out = (uint32_t)count;
    return NULL;
}

/* One "class=count", or a count alone. */
static const char *parse_class(struct arena *arena, const char *word, struct backup_keep *out)
{
    const char *equals = strchr(word, '=');
    if (equals == NULL) {
        return parse_count(arena, word, &out->count[BACKUP_LAST]);
    }
    for (int i = 0; i < BACKUP_CLASSES; i++) {
        if (strlen(class_names[i]) == (size_t)(equals - word) &&
            strncmp(word, class_names[i], strlen(class_names[i])) == 0) {
            return parse_count(arena, equals + 1, &out->count[i]);
        }
    }
    return arena_printf(arena, "unknown class %s: there are last, hourly, daily, weekly, monthly and yearly",
                        gotext_quoted(arena, arena_printf(arena, "%.*s", (int)(equals - word), word)));
}

const char *backup_keep_parse(struct arena *arena, const char *text, struct backup_keep *out)
{
    *out = (struct backup_keep){.all = *text == '\0' || strcmp(text, "all") == 0};
    if (out->all) {
        return NULL;
    }
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, ",");
        const char *error = parse_class(arena, arena_printf(arena, "%.*s", (int)len, p), out);
        if (error != NULL) {
            return error;
        }
        p += len;
        if (*p == '\0') {
            break;
        }
    }
    uint64_t sum = 0;
    for (int i = 0; i < BACKUP_CLASSES; i++) {
        sum += out->count[i];
    }
    return sum > 0 ? NULL : "nothing would be kept";
}

/* --- the choice --- */

/* A number for the period of a class that a moment lies in: the same for the same period. */
static int64_t period_of(enum backup_class class, int64_t time_s)
{
    int64_t day = time_s / DAY_S - (time_s % DAY_S < 0);
    time_t at = (time_t)time_s;
    struct tm tm = {0};
    switch (class) {
    case BACKUP_HOURLY:
        return time_s / HOUR_S - (time_s % HOUR_S < 0);
    case BACKUP_DAILY:
        return day;
    case BACKUP_WEEKLY:
        return (day + 3) / 7 - ((day + 3) % 7 < 0); /* 1 January 1970 was a Thursday */
    case BACKUP_MONTHLY:
        gmtime_r(&at, &tm);
        return (int64_t)tm.tm_year * 12 + tm.tm_mon;
    case BACKUP_YEARLY:
        gmtime_r(&at, &tm);
        return tm.tm_year;
    default:
        return 0;
    }
}

static void choose_class(enum backup_class class, uint32_t wanted, struct backup_age *items, size_t count)
{
    bool any = false;
    int64_t before = 0;
    for (size_t i = 0; i < count && wanted > 0; i++) {
        if (!items[i].good) {
            continue;
        }
        int64_t period = period_of(class, items[i].time_s);
        if (any && class != BACKUP_LAST && period == before) {
            continue;
        }
        any = true;
        before = period;
        items[i].keep = true;
        wanted--;
    }
}

void backup_keep_choose(const struct backup_keep *keep, struct backup_age *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        items[i].keep = keep->all;
    }
    for (int class = 0; class < BACKUP_CLASSES; class ++) {
        choose_class((enum backup_class) class, keep->count[class], items, count);
    }
    choose_class(BACKUP_LAST, 1, items, count);
    bool older_kept = false;
    for (size_t i = count; i-- > 0;) {
        older_kept |= items[i].good && items[i].keep;
        items[i].keep |= !items[i].good && older_kept;
    }
    if (!older_kept) { /* there is no good one at all: nothing is removed */
        for (size_t i = 0; i < count; i++) {
            items[i].keep = true;
        }
    }
}
