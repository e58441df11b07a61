#include "tests/support/loopback.h"
#include "base/check.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int loopback_connect(int port)
{
    struct sockaddr_in address = local(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect: %s", strerror(errno));
    fcntl(fd, F_SETFL, O_NONBLOCK); /* only now: the connection stands */
    return fd;
}

int loopback_listen(int *port)
{
    enum { BACKLOG = 64 };
    struct sockaddr_in address = local(0);
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)&address, len) == 0, "bind: %s", strerror(errno));
    CHECK(listen(fd, BACKLOG) == 0, "listen: %s", strerror(errno));
    getsockname(fd, (struct sockaddr *)&address, &len);
    *port = ntohs(address.sin_port);
    return fd;
}

int loopback_port(const char *address)
{
    return atoi(strrchr(address, ':') + 1);
}
