#include "snapshot/backup_schedule.h"

#include "base/gotext.h"
#include <strings.h>
#include <time.h>

#define DAY_S 86400
#define NANOSECONDS INT64_C(1000000000)
#define LATEST_S INT64_C(253402300799) /* the end of 9999 */
/* A 29 February that is a Sunday may be forty years away (2088, 2128). */
#define FARTHEST_DAYS (40 * 366)

/* --- one field --- */

struct field {
    const char *what;
    unsigned min, max;
    const char *const *names; /* of min, min + 1, … */
    unsigned name_count;
};

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                          "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

static const struct field fields[] = {
    {"minute", 0, 59, NULL, 0},
    {"hour", 0, 23, NULL, 0},
    {"day of the month", 1, 31, NULL, 0},
    {"month", 1, 12, month_names, 12},
    {"day of the week", 0, 7, day_names, 7},
};
enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

/* A number of at most three digits, or a name. */
static bool take_value(const struct field *field, const char **p, unsigned *out)
{
    unsigned n = 0, digits = 0;
    for (unsigned i = 0; i < field->name_count; i++) {
        if (strncasecmp(*p, field->names[i], 3) == 0) {
            *p += 3;
            *out = field->min + i;
            return true;
        }
    }
    for (; **p >= '0' && **p <= '9' && digits < 3; digits++, (*p)++) {
        n = n * 10 + (unsigned)(**p - '0');
    }
    *out = n;
    return digits > 0;
}

/* One of a list: *, N, A-B, and /STEP; N/STEP goes to the field's end. */
static bool take_range(const struct field *field, const char **p, uint64_t *bits)
{
    unsigned from = field->min, to = field->max, step = 1;
    bool single = false;
    if (**p == '*') {
        (*p)++;
    } else {
        if (!take_value(field, p, &from)) {
            return false;
        }
        single = **p != '-';
        if (!single) {
            (*p)++;
            if (!take_value(field, p, &to)) {
                return false;
            }
        }
    }
    if (**p == '/') {
        const struct field number = {.min = 0};
        (*p)++;
        if (!take_value(&number, p, &step) || step == 0) {
            return false;
        }
    } else if (single) {
        to = from;
    }
    if (from < field->min || to > field->max || from > to) {
        return false;
    }
    for (unsigned n = from; n <= to; n += step) {
        *bits |= UINT64_C(1) << n;
    }
    return true;
}

static bool parse_field(const struct field *field, const char *text, uint64_t *bits)
{
    const char *p = text;
    *bits = 0;
    while (take_range(field, &p, bits)) {
        if (*p == '\0') {
            return true;
        }
        if (*p++ != ',') {
            return false;
        }
    }
    return false;
}

/* --- the whole text --- */

static const char *parse_cron(struct arena *arena, const char *text, struct backup_schedule *out)
{
    uint64_t bits[FIELDS];
    bool star[FIELDS];
    const char *p = text;
    for (int i = 0; i < FIELDS; i++) {
        p += strspn(p, " \t");
        size_t len = strcspn(p, " \t");
        if (len == 0) {
            return "expected an interval, or five fields: minute, hour, day of the month, month, day of the week";
        }
        const char *word = arena_printf(arena, "%.*s", (int)len, p);
        star[i] = *word == '*';
        if (!parse_field(&fields[i], word, &bits[i])) {
            return arena_printf(arena, "bad %s %s", fields[i].what, gotext_quoted(arena, word));
        }
        p += len;
    }
    if (p[strspn(p, " \t")] != '\0') {
        return "more than five fields";
    }
    *out = (struct backup_schedule){
        .kind = BACKUP_CRON,
        .minutes = bits[MINUTE],
        .hours = (uint32_t)bits[HOUR],
        .days = (uint32_t)bits[DAY],
        .months = (uint32_t)bits[MONTH],
        .weekdays = (uint8_t)((bits[WEEKDAY] & 0x7f) | bits[WEEKDAY] >> 7),
        .any_day = !star[DAY] && !star[WEEKDAY],
    };
    return backup_schedule_next(out, 0) == 0 ? "no such day ever comes" : NULL;
}

static const char *parse_interval(struct arena *arena, const char *text, struct backup_schedule *out)
{
    int64_t ns;
    const char *error = gotext_duration(arena, text, &ns);
    if (error != NULL) {
        return error;
    }
    if (ns < NANOSECONDS || ns % NANOSECONDS != 0) {
        return "an interval is at least 1s, in whole seconds";
    }
    *out = (struct backup_schedule){.kind = BACKUP_EVERY, .every_s = ns / NANOSECONDS};
    return NULL;
}

const char *backup_schedule_parse(struct arena *arena, const char *text, struct backup_schedule *out)
{
    static const char *const names[][2] = {
        {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
        {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
    };
    *out = (struct backup_schedule){0};
    if (*text == '\0') {
        return NULL;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i][0]) == 0) {
            return parse_cron(arena, names[i][1], out);
        }
    }
    if (strncmp(text, "@every ", 7) == 0) {
        return parse_interval(arena, text + 7, out);
    }
    if (*text == '@') {
        return "unknown name; there are @hourly, @daily, @weekly, @monthly, @yearly and @every";
    }
    return text[strcspn(text, " \t*")] == '\0' ? parse_interval(arena, text, out) : parse_cron(arena, text, out);
}

/* --- slots --- */

static bool day_matches(const struct backup_schedule *s, int64_t day)
{
    time_t at = (time_t)(day * DAY_S);
    struct tm tm;
    if (gmtime_r(&at, &tm) == NULL || (s->months >> (tm.tm_mon + 1) & 1) == 0) {
        return false;
    }
    bool of_month = (s->days >> tm.tm_mday & 1) != 0, of_week = (s->weekdays >> tm.tm_wday & 1) != 0;
    return s->any_day ? of_month || of_week : of_month && of_week;
}

static bool minute_matches(const struct backup_schedule *s, int64_t minute)
{
    return (s->hours >> (minute / 60) & 1) != 0 && (s->minutes >> (minute % 60) & 1) != 0;
}

/* From `from`, a moment of the search's first day, on (step 1) or back (step -1). */
static int64_t search(const struct backup_schedule *s, int64_t from, int64_t step)
{
    int64_t day = from / DAY_S, minute = from % DAY_S / 60;
    for (int n = 0; n < FARTHEST_DAYS && day >= 0; n++, day += step) {
        if (day_matches(s, day)) {
            for (; minute >= 0 && minute < DAY_S / 60; minute += step) {
                if (minute_matches(s, minute)) {
                    return day * DAY_S + minute * 60;
                }
            }
        }
        minute = step > 0 ? 0 : DAY_S / 60 - 1;
    }
    return 0;
}

int64_t backup_schedule_next(const struct backup_schedule *s, int64_t after_s)
{
    if (after_s < 0 || after_s > LATEST_S || s->kind == BACKUP_NEVER) {
        return 0;
    }
    if (s->kind == BACKUP_EVERY) {
        return after_s > LATEST_S - s->every_s ? 0 : (after_s / s->every_s + 1) * s->every_s;
    }
    return search(s, (after_s / 60 + 1) * 60, 1);
}

int64_t backup_schedule_last(const struct backup_schedule *s, int64_t at_s)
{
    if (at_s < 0 || at_s > LATEST_S || s->kind == BACKUP_NEVER) {
        return 0;
    }
    return s->kind == BACKUP_EVERY ? at_s / s->every_s * s->every_s : search(s, at_s, -1);
}
