#include "cmd/kedgectl/verbs.h"
#include <signal.h>

extern char **environ;

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    return cli_main(&kedgectl, argc, argv, environ);
}
