#include "cmd/kedgectl/spawn.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noreturn)) static void run_child(char *const *command, void (*prepare)(void *arg), void *arg, int told)
{
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        close(null);
    }
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    prepare(arg);
    execvp(command[0], command);
    int error = errno;
    ssize_t written = write(told, &error, sizeof error);
    (void)written;
    _exit(127);
}

pid_t spawn_start(char *const *command, void (*prepare)(void *arg), void *arg, int *error)
{
    int told[2];
    *error = 0;
    if (pipe2(told, O_CLOEXEC) != 0) {
        *error = errno;
        return -1;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        run_child(command, prepare, arg, told[1]);
    }
    close(told[1]);
    if (child < 0) {
        *error = errno;
    } else if (read(told[0], error, sizeof *error) != (ssize_t)sizeof *error) { /* it ends when the command starts */
        *error = 0;
    }
    close(told[0]);
    if (child > 0 && *error != 0) {
        waitpid(child, NULL, 0);
    }
    return *error == 0 ? child : -1;
}

const char *spawn_error(struct arena *arena, const char *name, int error)
{
    char text[256];
    snprintf(text, sizeof text, "%s", strerror(error));
    text[0] = (char)tolower((unsigned char)text[0]);
    if (strchr(name, '/') != NULL) {
        return arena_printf(arena, "fork/exec %s: %s", name, text);
    }
    return arena_printf(arena, "exec: \"%s\": %s", name, error == ENOENT ? "executable file not found in $PATH" : text);
}

const char *spawn_end(struct arena *arena, int status)
{
    char text[128];
    if (WIFEXITED(status)) {
        return WEXITSTATUS(status) == 0 ? NULL : arena_printf(arena, "exit status %d", WEXITSTATUS(status));
    }
    snprintf(text, sizeof text, "%s", strsignal(WTERMSIG(status)));
    text[0] = (char)tolower((unsigned char)text[0]);
    return arena_printf(arena, "signal: %s%s", text, WCOREDUMP(status) ? " (core dumped)" : "");
}
