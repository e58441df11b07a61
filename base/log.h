/* The log of a program: one JSON object a line on stderr with etcd's field names, or text (logs.tsv, format rows).
 * Thread-safe: a line is one write. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/bytes.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_PANIC, LOG_FATAL };
enum log_format { LOG_JSON, LOG_CONSOLE, LOG_CONSOLE_SECONDS /* as etcdutl has it */ };

void log_configure(enum log_level level, enum log_format format);
/* Where lines go from now on: a file descriptor that stays the caller's. stderr if never called. */
void log_output(int fd);
/* A fixed clock for the simulator and tests; NULL = the wall clock. Returns microseconds since the epoch. */
void log_clock(int64_t (*now_us)(void));
bool log_enabled(enum log_level level);

/* One field of a line. Made with the functions below, never by hand. */
struct log_field {
    const char *name;
    enum { LOG_STR, LOG_BYTES, LOG_INT, LOG_UINT, LOG_BOOL, LOG_DURATION, LOG_STRS, LOG_HEX } kind;
    const char *text;
    struct bytes bytes;
    int64_t number;
    const char *const *texts; /* NULL-terminated */
};

#define log_str(n, v) ((struct log_field){.name = (n), .kind = LOG_STR, .text = (v)})
#define log_bytes(n, v) ((struct log_field){.name = (n), .kind = LOG_BYTES, .bytes = (v)}) /* UTF-8 or escaped */
#define log_int(n, v) ((struct log_field){.name = (n), .kind = LOG_INT, .number = (int64_t)(v)})
#define log_uint(n, v) ((struct log_field){.name = (n), .kind = LOG_UINT, .number = (int64_t)(v)})
#define log_bool(n, v) ((struct log_field){.name = (n), .kind = LOG_BOOL, .number = (v)})
#define log_hex(n, v) ((struct log_field){.name = (n), .kind = LOG_HEX, .number = (int64_t)(v)}) /* ids: "%x" text */
#define log_duration(n, ns)                                                                                            \
    ((struct log_field){.name = (n), .kind = LOG_DURATION, .number = (int64_t)(ns)}) /* "1.5s" */
#define log_strs(n, v) ((struct log_field){.name = (n), .kind = LOG_STRS, .texts = (v)})

/* log_info("message", log_str("path", p), log_int("count", n));
 * A first field log_str("logger", "raft") names the part that speaks and is placed where zap places it. */
#define log_line(level, message, ...)                                                                                  \
    do {                                                                                                               \
        if (log_enabled(level)) {                                                                                      \
            struct log_field fields_[] = {{0}, ##__VA_ARGS__};                                                         \
            log_write(level, __FILE__, __LINE__, message, fields_ + 1, sizeof fields_ / sizeof fields_[0] - 1);        \
        }                                                                                                              \
    } while (0)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

void log_write(enum log_level level, const char *file, int line, const char *message, const struct log_field *fields,
               size_t count);
/* Writes a line of level fatal and ends the process with exit status 1. For faults of the environment. */
#define log_fatal(...)                                                                                                 \
    do {                                                                                                               \
        log_line(LOG_FATAL, __VA_ARGS__);                                                                              \
        log_exit();                                                                                                    \
    } while (0)
__attribute__((noreturn)) void log_exit(void);

#endif
