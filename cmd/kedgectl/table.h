/* Tables with lines around their cells, as etcdctl prints them: headings in capitals and centred, cells to the right.
 */
#ifndef CMD_KEDGECTL_TABLE_H
#define CMD_KEDGECTL_TABLE_H

#include "base/arena.h"
#include "base/bytes.h"

#define TABLE_COLUMNS 16

struct table {
    size_t columns;
    const char *const *headings;
    const char **cells; /* rows x columns, in the arena */
    size_t rows, room;
    struct arena *arena;
};

/* Adds a row and returns its cells, to be filled with texts that live as long as the arena. */
const char **table_row(struct table *t);
void table_print(const struct table *t, struct buffer *out);
/* The rows without lines: "a, b, c". */
void table_print_plain(const struct table *t, struct buffer *out);

#endif
