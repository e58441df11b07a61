#include "cmd/kedgectl/table.h"
#include "base/check.h"
#include <ctype.h>

const char **table_row(struct table *t)
{
    CHECK(t->columns <= TABLE_COLUMNS);
    if (t->rows == t->room) {
        size_t room = t->room == 0 ? 8 : t->room * 2;
        const char **more = arena_zalloc(t->arena, room * t->columns * sizeof *more);
        if (t->rows > 0) {
            memcpy(more, t->cells, t->rows * t->columns * sizeof *more);
        }
        t->cells = more;
        t->room = room;
    }
    return &t->cells[t->columns * t->rows++];
}

/* Cells lose the spaces around them. */
static struct bytes trimmed(const char *text)
{
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == ' ') {
        len--;
    }
    while (len > 0 && *text == ' ') {
        text++;
        len--;
    }
    return bytes_of(text, len);
}

/* Columns on a terminal: code points, for what members are called. */
static size_t width_of(struct bytes text)
{
    size_t width = 0;
    for (size_t i = 0; i < text.len; i++) {
        width += (text.data[i] & 0xc0) != 0x80;
    }
    return width;
}

static void repeat(struct buffer *out, const char *what, size_t times)
{
    while (times-- > 0) {
        buffer_append(out, what, strlen(what));
    }
}

static void print_rule(struct buffer *out, const size_t *widths, size_t columns, const char *const corners[3])
{
    for (size_t i = 0; i < columns; i++) {
        buffer_printf(out, "%s", i == 0 ? corners[0] : corners[1]);
        repeat(out, "─", widths[i] + 2);
    }
    buffer_printf(out, "%s\n", corners[2]);
}

static void print_heading(struct buffer *out, const char *text, size_t width)
{
    size_t len = strlen(text), left = (width - len) / 2;
    repeat(out, " ", left + 1);
    for (; *text != '\0'; text++) {
        char c = (char)(*text == '_' ? ' ' : toupper((unsigned char)*text));
        buffer_append(out, &c, 1);
    }
    repeat(out, " ", width - len - left + 1);
}

static void print_row(struct buffer *out, const struct table *t, size_t row, const size_t *widths)
{
    for (size_t i = 0; i < t->columns; i++) {
        struct bytes cell = trimmed(t->cells[row * t->columns + i]);
        buffer_printf(out, "│ ");
        repeat(out, " ", widths[i] - width_of(cell));
        buffer_printf(out, "%.*s ", (int)cell.len, (const char *)cell.data);
    }
    buffer_printf(out, "│\n");
}

void table_print(const struct table *t, struct buffer *out)
{
    static const char *const top[] = {"┌", "┬", "┐"}, *const middle[] = {"├", "┼", "┤"},
                             *const bottom[] = {"└", "┴", "┘"};
    size_t widths[TABLE_COLUMNS];
    for (size_t i = 0; i < t->columns; i++) {
        widths[i] = strlen(t->headings[i]);
        for (size_t row = 0; row < t->rows; row++) {
            size_t width = width_of(trimmed(t->cells[row * t->columns + i]));
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    print_rule(out, widths, t->columns, top);
    for (size_t i = 0; i < t->columns; i++) {
        buffer_printf(out, "│");
        print_heading(out, t->headings[i], widths[i]);
    }
    buffer_printf(out, "│\n");
    if (t->rows > 0) {
        print_rule(out, widths, t->columns, middle);
    }
    for (size_t row = 0; row < t->rows; row++) {
        print_row(out, t, row, widths);
    }
    print_rule(out, widths, t->columns, bottom);
}

void table_print_plain(const struct table *t, struct buffer *out)
{
    for (size_t row = 0; row < t->rows; row++) {
        for (size_t i = 0; i < t->columns; i++) {
            buffer_printf(out, "%s%s", i == 0 ? "" : ", ", t->cells[row * t->columns + i]);
        }
        buffer_printf(out, "\n");
    }
}
