#include "tests/support/captured.h"
#include "base/check.h"
#include <unistd.h>

void captured_begin(struct captured *captured)
{
    FILE *file = tmpfile();
    CHECK(file != NULL);
    fflush(stdout);
    fflush(stderr);
    *captured = (struct captured){.out = dup(STDOUT_FILENO), .err = dup(STDERR_FILENO), .file = file};
    dup2(fileno(file), STDOUT_FILENO);
    dup2(fileno(file), STDERR_FILENO);
}

void captured_end(struct captured *captured, char *text, size_t size)
{
    FILE *file = captured->file;
    fflush(stdout);
    fflush(stderr);
    dup2(captured->out, STDOUT_FILENO);
    dup2(captured->err, STDERR_FILENO);
    close(captured->out);
    close(captured->err);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}
