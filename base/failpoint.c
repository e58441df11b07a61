/* Only a chaos build (make CHAOS=1) has anything here. */
#include "base/failpoint.h"

#ifdef KEDGE_CHAOS
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void failpoint_sleep(long milliseconds)
{
    struct timespec left = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static void failpoint_act(const char *name, const char *action)
{
    if (strncmp(action, "panic", 5) == 0) {
        fprintf(stderr, "failpoint panic: %s\n", name);
        abort();
    }
    if (strncmp(action, "exit", 4) == 0) {
        _Exit(1); /* no buffer is flushed: as near to SIGKILL as a process comes by itself */
    }
    if (strncmp(action, "sleep(", 6) == 0) {
        failpoint_sleep(strtol(action + 6, NULL, 10));
    }
}

/* The environment is read at each hit: a failpoint build is not measured, and tests change it while they run. */
void failpoint_hit(const char *name)
{
    const char *list = getenv("KEDGE_FAILPOINTS");
    size_t len = strlen(name);
    while (list != NULL && *list != '\0') {
        if (strncmp(list, name, len) == 0 && list[len] == '=') {
            failpoint_act(name, list + len + 1);
            return;
        }
        list = strchr(list, ';');
        list = list == NULL ? NULL : list + 1;
    }
}
#else
typedef int failpoint_none; /* an empty unit is no C */
#endif
