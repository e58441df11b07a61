#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Formats into a buffer of its own and writes once: the heap may be what is broken, and other threads go on printing.
 */
void check_failed(const char *file, int line, const char *text, const char *format, ...)
{
    char message[1024];
    int n = snprintf(message, sizeof message - 1, "%s:%d: CHECK failed: %s", file, line, text);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof message - 1 ? (size_t)n : sizeof message - 2;

    va_list args;
    va_start(args, format);
    int m = vsnprintf(message + len, sizeof message - 1 - len, format, args);
    va_end(args);
    if (m > 0) {
        size_t room = sizeof message - 2 - len;
        len += (size_t)m < room ? (size_t)m : room;
    }
    message[len] = '\n';
    ssize_t written = write(STDERR_FILENO, message, len + 1);
    (void)written; /* there is nobody left to tell */
    abort();
}
