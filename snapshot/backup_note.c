#include "snapshot/backup_note.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PREFIX "kedge-"
#define PLAIN ".db"
#define PACKED ".db.zst"
#define TIME_FORMAT "%Y%m%dT%H%M%SZ"
#define TIME_LEN 16

/* --- names --- */

void backup_note_name(struct backup_note *note)
{
    time_t at = (time_t)note->time_s;
    struct tm tm = {0};
    char time[32];
    gmtime_r(&at, &tm);
    strftime(time, sizeof time, TIME_FORMAT, &tm);
    snprintf(note->name, sizeof note->name, PREFIX "%s-r%" PRId64 "%s", time, note->revision,
             note->zstd ? PACKED : PLAIN);
}

static bool take_digits(const char **p, size_t count, int *out)
{
    *out = 0;
    for (size_t i = 0; i < count; i++, (*p)++) {
        if (**p < '0' || **p > '9') {
            return false;
        }
        *out = *out * 10 + (**p - '0');
    }
    return true;
}

static bool take_time(const char **p, int64_t *time_s)
{
    struct tm tm = {0};
    bool good = take_digits(p, 4, &tm.tm_year) && take_digits(p, 2, &tm.tm_mon) && take_digits(p, 2, &tm.tm_mday) &&
                *(*p)++ == 'T' && take_digits(p, 2, &tm.tm_hour) && take_digits(p, 2, &tm.tm_min) &&
                take_digits(p, 2, &tm.tm_sec) && *(*p)++ == 'Z';
    if (!good || tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
        tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60) {
        return false;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *time_s = (int64_t)timegm(&tm);
    return true;
}

/* The length of the name without its end; 0 = it is no backup's. */
static size_t stem_of(const char *name, int64_t *time_s)
{
    const char *p = name + strlen(PREFIX);
    if (strlen(name) >= BACKUP_NAME_BYTES || strncmp(name, PREFIX, strlen(PREFIX)) != 0 || !take_time(&p, time_s) ||
        strncmp(p, "-r", 2) != 0) {
        return 0;
    }
    p += 2;
    size_t digits = strspn(p, "0123456789");
    p += digits;
    return digits > 0 && (strcmp(p, PLAIN) == 0 || strcmp(p, PACKED) == 0) ? (size_t)(p - name) : 0;
}

bool backup_note_is_backup(const char *name, int64_t *time_s)
{
    return stem_of(name, time_s) > 0;
}

bool backup_note_beside(const char *name, char *out)
{
    int64_t time_s;
    size_t stem = stem_of(name, &time_s);
    if (stem == 0) {
        return false;
    }
    snprintf(out, BACKUP_NAME_BYTES, "%.*s.json", (int)stem, name);
    return true;
}

/* --- the JSON: one object of strings, numbers and truth values, as written here --- */

static void print_text(struct buffer *out, const char *name, const char *text)
{
    buffer_printf(out, "  \"%s\": \"", name);
    for (const uint8_t *p = (const uint8_t *)text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\') {
            buffer_printf(out, "\\%c", *p);
        } else if (*p < 0x20 || *p == 0x7f) {
            buffer_printf(out, "\\u%04x", *p);
        } else {
            buffer_append(out, p, 1);
        }
    }
    buffer_printf(out, "\",\n");
}

static void print_id(struct buffer *out, const char *name, uint64_t id)
{
    buffer_printf(out, "  \"%s\": \"%" PRIx64 "\",\n", name, id);
}

void backup_note_print(const struct backup_note *note, struct buffer *out)
{
    time_t at = (time_t)note->time_s;
    struct tm tm = {0};
    char time[32];
    gmtime_r(&at, &tm);
    strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%SZ", &tm);
    buffer_printf(out, "{\n");
    print_text(out, "name", note->name);
    print_text(out, "time", time);
    buffer_printf(out, "  \"unixTime\": %" PRId64 ",\n  \"slot\": %" PRId64 ",\n", note->time_s, note->slot_s);
    buffer_printf(out, "  \"revision\": %" PRId64 ",\n  \"hash\": %" PRIu32 ",\n", note->revision, note->hash);
    buffer_printf(out, "  \"size\": %" PRIu64 ",\n  \"storedSize\": %" PRIu64 ",\n", note->size, note->stored_size);
    print_text(out, "version", note->version);
    print_text(out, "compress", note->zstd ? "zstd" : "none");
    print_text(out, "member", note->member);
    print_id(out, "memberID", note->member_id);
    print_id(out, "clusterID", note->cluster_id);
    if (note->damage[0] != '\0') {
        print_text(out, "damage", note->damage);
    }
    buffer_printf(out, "  \"durationMs\": %" PRIu64 "\n}\n", note->duration_ms);
}

struct text {
    const uint8_t *p, *end;
};

static void skip_space(struct text *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\n' || *t->p == '\r' || *t->p == '\t')) {
        t->p++;
    }
}

static bool take(struct text *t, char c)
{
    skip_space(t);
    if (t->p == t->end || *t->p != (uint8_t)c) {
        return false;
    }
    t->p++;
    return true;
}

/* The four digits behind \u, of which this file writes none above 7f; others become a question mark. */
static bool take_escape(struct text *t, char *out)
{
    static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    if (t->p == t->end) {
        return false;
    }
    uint8_t c = *t->p++;
    const char *name = strchr(names, c);
    if (c != '\0' && name != NULL) {
        *out = means[name - names];
        return true;
    }
    unsigned code = 0;
    for (int i = 0; c == 'u' && i < 4; i++) {
        if (t->p == t->end) {
            return false;
        }
        const char *digits = "0123456789abcdef", *digit = strchr(digits, *t->p | 0x20);
        if (*t->p == '\0' || digit == NULL) {
            return false;
        }
        code = code * 16 + (unsigned)(digit - digits);
        t->p++;
    }
    *out = code > 0 && code < 0x80 ? (char)code : '?';
    return c == 'u';
}

/* A string, cut off where `out` ends. */
static bool take_string(struct text *t, char *out, size_t room)
{
    size_t len = 0;
    if (!take(t, '"')) {
        return false;
    }
    while (t->p < t->end && *t->p != '"') {
        char c = (char)*t->p++;
        if ((uint8_t)c < 0x20 || (c == '\\' && !take_escape(t, &c))) {
            return false;
        }
        if (len + 1 < room) {
            out[len++] = c;
        }
    }
    out[len] = '\0';
    return t->p < t->end && *t->p++ == '"';
}

/* A value: its text, without quotes. */
static bool take_value(struct text *t, char *out, size_t room)
{
    skip_space(t);
    if (t->p < t->end && *t->p == '"') {
        return take_string(t, out, room);
    }
    size_t len = 0;
    while (t->p < t->end && strchr(",}] \n\r\t", *t->p) == NULL) {
        if (*t->p == '{' || *t->p == '[' || *t->p < 0x20 || len + 1 >= room) {
            return false;
        }
        out[len++] = (char)*t->p++;
    }
    out[len] = '\0';
    return len > 0;
}

static void copy(char *to, size_t room, const char *from)
{
    snprintf(to, room, "%s", from);
}

static void take_field(struct backup_note *note, const char *name, const char *value)
{
    const struct {
        const char *name;
        int64_t *number;
        uint64_t *natural, *id;
        char *text;
        size_t room;
    } fields[] = {
        {"name", NULL, NULL, NULL, note->name, sizeof note->name},
        {"unixTime", &note->time_s, NULL, NULL, NULL, 0},
        {"slot", &note->slot_s, NULL, NULL, NULL, 0},
        {"revision", &note->revision, NULL, NULL, NULL, 0},
        {"size", NULL, &note->size, NULL, NULL, 0},
        {"storedSize", NULL, &note->stored_size, NULL, NULL, 0},
        {"version", NULL, NULL, NULL, note->version, sizeof note->version},
        {"member", NULL, NULL, NULL, note->member, sizeof note->member},
        {"memberID", NULL, NULL, &note->member_id, NULL, 0},
        {"clusterID", NULL, NULL, &note->cluster_id, NULL, 0},
        {"durationMs", NULL, &note->duration_ms, NULL, NULL, 0},
        {"damage", NULL, NULL, NULL, note->damage, sizeof note->damage},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(fields[i].name, name) != 0) {
            continue;
        }
        if (fields[i].number != NULL) {
            *fields[i].number = strtoll(value, NULL, 10);
        } else if (fields[i].natural != NULL) {
            *fields[i].natural = strtoull(value, NULL, 10);
        } else if (fields[i].id != NULL) {
            *fields[i].id = strtoull(value, NULL, 16);
        } else {
            copy(fields[i].text, fields[i].room, value);
        }
    }
    if (strcmp(name, "hash") == 0) {
        note->hash = (uint32_t)strtoull(value, NULL, 10);
    } else if (strcmp(name, "compress") == 0) {
        note->zstd = strcmp(value, "zstd") == 0;
    }
}

bool backup_note_parse(struct bytes text, struct backup_note *out)
{
    struct text t = {text.data, text.data + text.len};
    char name[32], value[256];
    int64_t time_s;
    *out = (struct backup_note){0};
    if (text.len == 0 || text.len > BACKUP_NOTE_MAX_BYTES || !take(&t, '{')) {
        return false;
    }
    do {
        if (!take_string(&t, name, sizeof name) || !take(&t, ':') || !take_value(&t, value, sizeof value)) {
            return false;
        }
        take_field(out, name, value);
    } while (take(&t, ','));
    return take(&t, '}') && backup_note_is_backup(out->name, &time_s) && out->revision >= 0 && out->slot_s >= 0 &&
           out->time_s >= 0 && out->time_s < INT64_C(253402300800);
}
