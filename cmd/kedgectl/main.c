#include "cmd/kedgectl/verbs.h"
#include <signal.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    return cli_main(&kedgectl, argc, argv, environ);
}
