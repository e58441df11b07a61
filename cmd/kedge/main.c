/* The server's program: reads the configuration, then assembles and runs the member. */
#include "cmd/kedge/config.h"
#include "cmd/kedge/serve.h"
#include <signal.h>
#include <unistd.h>

static void end_at_once(int signum)
{
    (void)signum;
    _exit(2); /* as Go's programs do it */
}

/* The first process of a container gets no signal that it has no handler for. A start that converts a store or asks
 * other members takes long, and is to end like any other process's; serve.c has its own handlers later. */
static void end_by_signals(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && getpid() == 1; i++) {
        signal(numbers[i], end_at_once);
    }
}

/* etcd ends by the signal that stopped it (errors.tsv, server-exit). Without one there are no destructors either:
 * libuv's waits for its threads, and one of them may be asking a name server that is silent. */
static __attribute__((noreturn)) void end(int stop_signal)
{
    if (stop_signal != 0 && getpid() != 1) {
        signal(stop_signal, SIG_DFL);
        raise(stop_signal);
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    struct config config;
    end_by_signals();
    int status = config_load(&config, argc, argv, environ);
    if (status == CONFIG_SERVE) {
        end(serve(&config));
    }
    config_free(&config);
    return status;
}
