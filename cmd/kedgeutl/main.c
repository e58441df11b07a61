#include "cmd/kedgeutl/commands.h"
#include <unistd.h>

int main(int argc, char **argv)
{
    return cli_main(&kedgeutl, argc, argv, environ);
}
