/* The server's program: reads the configuration, then assembles and runs the member. */
#include "cmd/kedge/config.h"
#include <stdio.h>

extern char **environ;

int main(int argc, char **argv)
{
    struct config config;
    int status = config_load(&config, argc, argv, environ);
    if (status == CONFIG_SERVE) {
        fprintf(stderr, "kedge: serving is not assembled yet\n");
        status = 1;
    }
    config_free(&config);
    return status;
}
