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

int main(int argc, char **argv)
{
    struct config config;
    end_by_signals();
    int status = config_load(&config, argc, argv, environ);
    int stop_signal = 0;
    if (status == CONFIG_SERVE) {
        stop_signal = serve(&config);
        status = 0;
    }
    config_free(&config);
    if (stop_signal != 0 && getpid() != 1) { /* etcd ends by the signal that stopped it (errors.tsv, server-exit) */
        signal(stop_signal, SIG_DFL);
        raise(stop_signal);
    }
    return status;
}
