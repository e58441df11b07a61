/* What a test has written to stdout and stderr between two calls. */
#ifndef TESTS_SUPPORT_CAPTURED_H
#define TESTS_SUPPORT_CAPTURED_H

#include <stddef.h>
#include <stdio.h>

struct captured {
    int out, err; /* as they were */
    FILE *file;
};

/* From now on both go into a file. */
void captured_begin(struct captured *captured);
/* As before again; the text of both, in the order of writing, cut at the size. */
void captured_end(struct captured *captured, char *text, size_t size);

#endif
