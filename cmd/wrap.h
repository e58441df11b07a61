/* Text for terminals: lines of at most 80 columns, and colours where they are wanted. */
#ifndef CMD_WRAP_H
#define CMD_WRAP_H

#include "base/bytes.h"
#include <stdio.h>

#define WRAP_COLUMNS 80

/* Appends the text's words, the first at column `at`, those of further lines at column `indent`; ends without a line
 * feed. A word longer than a line is not cut. Columns are counted in UTF-8 characters. */
void wrap_words(struct buffer *out, const char *text, int at, int indent);
/* The same for a whole text: paragraphs are filled anew, lines that begin with a space (examples) stay as they are.
 * Ends with a line feed. */
void wrap_text(struct buffer *out, const char *text);

/* May this file get colours? Only a terminal, and not if NO_COLOR is set (to anything but nothing) or TERM is dumb. */
bool wrap_coloured(FILE *to);
/* Writes a usage text; where colours are allowed its headings ("Flags:" at the beginning of a line) are bold. */
void wrap_put(FILE *to, const struct buffer *text);

#endif
