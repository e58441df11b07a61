#include "cmd/kedgeutl/commands.h"

extern char **environ;

int main(int argc, char **argv)
{
    return cli_main(&kedgeutl, argc, argv, environ);
}
