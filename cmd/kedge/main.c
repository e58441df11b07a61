/* The server's program: reads the configuration, then assembles and runs the member. */
#include "cmd/kedge/config.h"
#include "cmd/kedge/serve.h"
#include <signal.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct config config;
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
