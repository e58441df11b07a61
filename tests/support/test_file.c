#include "tests/support/test_file.h"
#include "base/check.h"
#include <stdio.h>

struct buffer test_file_read(const char *path)
{
    enum { PIECE = 65536 };
    struct buffer all = {0};
    size_t n;
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL, "%s: not there (tests run at the repository's top)", path);
    while ((n = fread(buffer_reserve(&all, PIECE), 1, PIECE, file)) > 0) {
        all.len += n;
    }
    fclose(file);
    return all;
}
