/* A line is built in a buffer of its thread and written with one write, so that lines of several threads and processes
 * never mix. The form is zap's as etcd sets it up (logs.tsv, the format rows):
 *
 *   {"level":"info","ts":"2026-01-02T15:04:05.000000Z","caller":"raft/raft.c:10","msg":"…","field":…}
 *   2026-01-02T15:04:05.000000Z<TAB>info<TAB>raft/raft.c:10<TAB>…<TAB>{"field": …}
 */
#include "base/log.h"
#include "base/pb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static atomic_int minimum = LOG_INFO;
static atomic_int line_format = LOG_JSON;
static int64_t (*_Atomic clock_us)(void);
static atomic_int output_fd = STDERR_FILENO;

void log_configure(enum log_level level, enum log_format format)
{
    atomic_store(&minimum, (int)level);
    atomic_store(&line_format, (int)format);
}

void log_output(int fd)
{
    atomic_store(&output_fd, fd);
}

void log_clock(int64_t (*now_us)(void))
{
    atomic_store(&clock_us, now_us);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&minimum, memory_order_relaxed);
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static void append_char(struct buffer *b, char c)
{
    *buffer_reserve(b, 1) = (uint8_t)c;
    b->len++;
}

static void append_text(struct buffer *b, const char *text)
{
    buffer_append(b, text, strlen(text));
}

/* One byte that can't stand in a JSON string as it is. */
static void append_escape(struct buffer *b, uint8_t c)
{
    static const char short_forms[] = "\"\"\\\\\nn\rr\tt";
    for (const char *s = short_forms; *s != '\0'; s += 2) {
        if ((uint8_t)s[0] == c) {
            append_char(b, '\\');
            append_char(b, s[1]);
            return;
        }
    }
    buffer_printf(b, "\\u%04x", c);
}

static size_t character_length(const uint8_t *p, size_t left)
{
    for (size_t n = 2; n <= 4 && n <= left; n++) {
        if (utf8_valid(bytes_of(p, n))) {
            return n;
        }
    }
    return 0;
}

static void append_json_string(struct buffer *b, struct bytes text)
{
    append_char(b, '"');
    for (size_t i = 0; i < text.len;) {
        uint8_t c = text.data[i];
        if (c >= 0x80) {
            size_t n = character_length(text.data + i, text.len - i);
            if (n == 0) {
                append_text(b, "\\ufffd");
                n = 1;
            } else {
                buffer_append(b, text.data + i, n);
            }
            i += n;
            continue;
        }
        if (c < 0x20 || c == '"' || c == '\\') {
            append_escape(b, c);
        } else {
            append_char(b, (char)c);
        }
        i++;
    }
    append_char(b, '"');
}

/* A fraction of up to nine digits without its trailing zeros: 1500000000 / 10^9 -> "1.5". */
static void append_fraction(struct buffer *b, uint64_t v, uint64_t unit)
{
    buffer_printf(b, "%" PRIu64, v / unit);
    uint64_t rest = v % unit;
    if (rest == 0) {
        return;
    }
    append_char(b, '.');
    while (rest > 0) {
        unit /= 10;
        append_char(b, (char)('0' + rest / unit));
        rest %= unit;
    }
}

/* Go's time.Duration text: 1h2m3.5s, 1.5s, 20ms, 1.2µs, 5ns, 0s. */
static void append_duration(struct buffer *b, int64_t ns)
{
    uint64_t v = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    append_text(b, ns < 0 ? "\"-" : "\"");
    if (v == 0) {
        append_text(b, "0s");
    } else if (v < 1000) {
        buffer_printf(b, "%" PRIu64 "ns", v);
    } else if (v < 1000000) {
        append_fraction(b, v, 1000);
        append_text(b, "µs");
    } else if (v < 1000000000) {
        append_fraction(b, v, 1000000);
        append_text(b, "ms");
    } else {
        const uint64_t second = 1000000000, minute = 60 * second, hour = 60 * minute;
        if (v >= hour) {
            buffer_printf(b, "%" PRIu64 "h", v / hour);
        }
        if (v >= minute) {
            buffer_printf(b, "%" PRIu64 "m", v % hour / minute);
        }
        append_fraction(b, v % minute, second);
        append_char(b, 's');
    }
    append_char(b, '"');
}

static void append_strings(struct buffer *b, const char *const *texts, const char *separator)
{
    append_char(b, '[');
    for (size_t i = 0; texts != NULL && texts[i] != NULL; i++) {
        append_text(b, i == 0 ? "" : separator);
        append_json_string(b, bytes_str(texts[i]));
    }
    append_char(b, ']');
}

static void append_value(struct buffer *b, const struct log_field *field, const char *separator)
{
    switch (field->kind) {
    case LOG_STR:
        append_json_string(b, bytes_str(field->text == NULL ? "" : field->text));
        break;
    case LOG_BYTES:
        append_json_string(b, field->bytes);
        break;
    case LOG_INT:
        buffer_printf(b, "%" PRId64, field->number);
        break;
    case LOG_UINT:
        buffer_printf(b, "%" PRIu64, (uint64_t)field->number);
        break;
    case LOG_BOOL:
        append_text(b, field->number ? "true" : "false");
        break;
    case LOG_HEX:
        buffer_printf(b, "\"%" PRIx64 "\"", (uint64_t)field->number);
        break;
    case LOG_DURATION:
        append_duration(b, field->number);
        break;
    case LOG_STRS:
        append_strings(b, field->texts, separator);
        break;
    }
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error", "panic", "fatal"};
    return names[level];
}

static void append_time(struct buffer *b)
{
    int64_t (*now_us)(void) = atomic_load(&clock_us);
    int64_t us;
    if (now_us != NULL) {
        us = now_us();
    } else {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    }
    time_t seconds = (time_t)(us / 1000000);
    struct tm local;
    char text[40];
    if (now_us != NULL) {
        gmtime_r(&seconds, &local); /* a fixed clock gives the same text everywhere */
    } else {
        localtime_r(&seconds, &local);
    }
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &local);
    append_text(b, text);
    if (atomic_load(&line_format) != LOG_CONSOLE_SECONDS) {
        buffer_printf(b, ".%06d", (int)(us % 1000000));
    }
    strftime(text, sizeof text, "%z", &local);
    append_text(b, local.tm_gmtoff == 0 ? "Z" : text);
}

/* etcd's caller is the last folder and the file. */
static const char *caller_path(const char *file)
{
    const char *shown = file, *slash = NULL;
    for (const char *p = file; *p != '\0'; p++) {
        if (*p == '/') {
            shown = slash == NULL ? file : slash + 1;
            slash = p;
        }
    }
    return shown;
}

/* A first field "logger" names the part that speaks (raft); it stands before the caller, as zap puts it. */
static bool names_logger(const struct log_field *fields, size_t count)
{
    return count > 0 && fields[0].kind == LOG_STR && strcmp(fields[0].name, "logger") == 0;
}

static void append_json_line(struct buffer *b, enum log_level level, const char *file, int line, const char *message,
                             const struct log_field *fields, size_t count)
{
    buffer_printf(b, "{\"level\":\"%s\",\"ts\":\"", level_name(level));
    append_time(b);
    append_text(b, "\",");
    if (names_logger(fields, count)) {
        append_text(b, "\"logger\":");
        append_value(b, fields, ",");
        append_char(b, ',');
        fields++;
        count--;
    }
    buffer_printf(b, "\"caller\":\"%s:%d\",\"msg\":", caller_path(file), line);
    append_json_string(b, bytes_str(message));
    for (size_t i = 0; i < count; i++) {
        append_char(b, ',');
        append_json_string(b, bytes_str(fields[i].name));
        append_char(b, ':');
        append_value(b, &fields[i], ",");
    }
    append_text(b, "}\n");
}

static void append_console_line(struct buffer *b, enum log_level level, const char *file, int line, const char *message,
                                const struct log_field *fields, size_t count)
{
    append_time(b);
    buffer_printf(b, "\t%s\t", level_name(level));
    if (names_logger(fields, count)) {
        buffer_printf(b, "%s\t", fields[0].text);
        fields++;
        count--;
    }
    buffer_printf(b, "%s:%d\t%s", caller_path(file), line, message);
    for (size_t i = 0; i < count; i++) {
        append_text(b, i == 0 ? "\t{" : ", ");
        append_json_string(b, bytes_str(fields[i].name));
        append_text(b, ": ");
        append_value(b, &fields[i], ", ");
    }
    append_text(b, count > 0 ? "}\n" : "\n");
}

/* The output may be a pipe that nobody reads fast enough, or is gone: a line that can't be written is lost. */
static void write_all(const uint8_t *data, size_t len)
{
    int fd = atomic_load(&output_fd);
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return;
        }
        data += n;
        len -= (size_t)n;
    }
}

void log_write(enum log_level level, const char *file, int line, const char *message, const struct log_field *fields,
               size_t count)
{
    struct buffer b = {0};
    if (atomic_load(&line_format) == LOG_JSON) {
        append_json_line(&b, level, file, line, message, fields, count);
    } else {
        append_console_line(&b, level, file, line, message, fields, count);
    }
    write_all(b.data, b.len);
    buffer_free(&b);
}

void log_exit(void)
{
    _Exit(1); /* no handler, no destructor: other threads are still at work */
}
