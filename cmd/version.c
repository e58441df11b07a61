#include "cmd/version.h"
#include <stdio.h>
#include <sys/utsname.h>

void version_print_server(void)
{
    struct utsname system;
    const char *machine = uname(&system) == 0 ? system.machine : "unknown";
    printf("etcd Version: %s\nkedge Version: %s\nOS/Arch: linux/%s\n", VERSION_ETCD, VERSION_KEDGE, machine);
}

void version_print_tool(const char *program)
{
    printf("%s version: %s\nAPI version: %s\nkedge version: %s\n", program, VERSION_ETCD, VERSION_API, VERSION_KEDGE);
}
