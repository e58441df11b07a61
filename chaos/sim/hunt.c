/* Looks for the first seed that notices what is wrong. Each seed runs in a process of its own, because a planted bug
 * may also break an invariant of the program itself, which ends the process: that counts as noticed too. */
#include "chaos/sim/hunt.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEED_SECONDS 60 /* a run that takes longer hangs, which is noticed as well */

static void run_here(const struct sim_config *config)
{
    struct sim_result result;
    alarm(SEED_SECONDS);
    sim_run(config, &result);
    if (result.failed) {
        dprintf(STDERR_FILENO, "%s\n", result.message);
    }
    _exit(result.failed ? 1 : 0);
}

/* What the child says last before it ends. */
static void read_last_line(int fd, char *line, size_t size)
{
    char text[4096];
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, text + len, sizeof text - 1 - len)) > 0) {
        len += (size_t)n;
        if (len == sizeof text - 1) {
            len = 0;
        }
    }
    while (len > 0 && text[len - 1] == '\n') {
        len--;
    }
    text[len] = '\0';
    const char *last = strrchr(text, '\n');
    snprintf(line, size, "%s", last == NULL ? text : last + 1);
}

bool sim_hunt_seed(const struct sim_config *config, char *line, size_t size)
{
    int ends[2];
    fflush(stdout);
    if (pipe(ends) != 0) {
        return false;
    }
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        run_here(config);
    }
    close(ends[1]);
    read_last_line(ends[0], line, size);
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        snprintf(line, size, "it hangs");
    }
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}
