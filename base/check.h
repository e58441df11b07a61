/* Always-on invariants. A broken invariant ends the process, in release builds too (a member that goes on with a state
 * that it knows to be wrong would spread it through the log). Faults of the environment are never checked with these:
 * they are handled or reported as errors. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <assert.h>

/* Ends the process with abort() after writing "file:line: CHECK failed: text" and the formatted message to stderr. */
__attribute__((noreturn, cold, format(printf, 4, 5))) void check_failed(const char *file, int line, const char *text,
                                                                        const char *format, ...);

/* CHECK(condition) and CHECK(condition, "format", ...). */
#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (__builtin_expect(!(condition), 0)) {                                                                       \
            check_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__);                                             \
        }                                                                                                              \
    } while (0)

#endif
