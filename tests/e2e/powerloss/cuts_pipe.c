/* The cuts of a trace for a checker in another process: `cuts_pipe TRACE FOLDER SEED CHOICES EVERY` writes a line
 * "NUMBER EVENT ACKED KIND" for each cut, with its files in FOLDER, and goes on when a line comes back: "ok", or
 * anything else to stop. */
#include "base/check.h"
#include "tests/e2e/powerloss/cuts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ask(void *arg, const char *folder, const struct cut *cut)
{
    char answer[64];
    (void)arg;
    (void)folder;
    printf("%llu %zu %llu %s\n", (unsigned long long)cut->number, cut->event, (unsigned long long)cut->acked,
           cut->kind);
    fflush(stdout);
    return fgets(answer, sizeof answer, stdin) != NULL && strcmp(answer, "ok\n") == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    uint64_t count;
    if (argc != 6) {
        fprintf(stderr, "usage: cuts_pipe TRACE FOLDER SEED CHOICES EVERY\n");
        return 2;
    }
    struct cuts_options options = {.seed = strtoull(argv[3], NULL, 10),
                                   .random_choices = (unsigned)strtoul(argv[4], NULL, 10),
                                   .every = strtoul(argv[5], NULL, 10)};
    return cuts_each(argv[1], argv[2], options, ask, NULL, &count);
}
