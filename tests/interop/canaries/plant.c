/* Plants the bug whose name (as in base/canary.h, "read-without-quorum") is in $CANARY into a server that is built with
 * CANARIES=1. Linked only into the server of this folder's run. */
#include "base/canary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((constructor)) static void plant(void)
{
    const char *wanted = getenv("CANARY");
    for (int i = 1; wanted != NULL && i < CANARY_COUNT; i++) {
        if (strcmp(canary_name((enum canary)i), wanted) == 0) {
            canary_planted = (enum canary)i;
            return;
        }
    }
    fprintf(stderr, "no canary %s\n", wanted == NULL ? "named" : wanted);
    exit(2);
}
