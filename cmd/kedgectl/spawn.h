/* A command that lock or watch runs: without standard input, and what is wrong with it in the words of Go's os/exec. */
#ifndef CMD_KEDGECTL_SPAWN_H
#define CMD_KEDGECTL_SPAWN_H

#include "base/arena.h"
#include <sys/types.h>

/* Runs it in a child, which calls prepare first. The child, or -1 when it could not be run: *error is an errno then. */
pid_t spawn_start(char *const *command, void (*prepare)(void *arg), void *arg, int *error);
/* What *error means for the command of this name. */
const char *spawn_error(struct arena *arena, const char *name, int error);
/* What a wait status means: "exit status 3", "signal: killed"; NULL = it ended well. */
const char *spawn_end(struct arena *arena, int status);

#endif
