/* The code points above ASCII that count as printable (general categories L, M, N, P and S of Unicode 15), as sorted
 * ranges: what decides which of them Go's %q prints as they are. */
#ifndef BASE_UNICODE_PRINT_H
#define BASE_UNICODE_PRINT_H

#include <stddef.h>
#include <stdint.h>

struct unicode_range {
    uint32_t first, last;
};

extern const struct unicode_range unicode_print[];
extern const size_t unicode_print_count;

#endif
