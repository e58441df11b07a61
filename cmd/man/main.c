/* Prints the manual page of a program, made from its table of commands or flags. Runs when kedge is built; it is not
 * installed itself. */
#include "cmd/kedge/flags.h"
#include "cmd/kedgectl/verbs.h"
#include "cmd/kedgeutl/commands.h"
#include <stdio.h>

int main(int argc, char **argv)
{
    const char *name = argc == 2 ? argv[1] : "";
    struct buffer page = {0};
    if (strcmp(name, "kedge") == 0) {
        flags_print_man(&page);
    } else if (strcmp(name, "kedgectl") == 0) {
        cli_print_man(&kedgectl, &page);
    } else if (strcmp(name, "kedgeutl") == 0) {
        cli_print_man(&kedgeutl, &page);
    } else {
        fprintf(stderr, "usage: man kedge|kedgectl|kedgeutl\n");
        return 1;
    }
    size_t written = fwrite(page.data, 1, page.len, stdout);
    bool good = written == page.len && fflush(stdout) == 0;
    buffer_free(&page);
    return good ? 0 : 1;
}
