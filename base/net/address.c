#include "base/net/address.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

void address_format(const struct address *address, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "";
    if (address->any.sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address->storage;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(out, size, "%s:%u", host, ntohs(in->sin_port));
    } else if (address->any.sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&address->storage;
        if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) {
            inet_ntop(AF_INET, &in->sin6_addr.s6_addr[12], host, sizeof host);
            snprintf(out, size, "%s:%u", host, ntohs(in->sin6_port));
            return;
        }
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        snprintf(out, size, "[%s]:%u", host, ntohs(in->sin6_port));
    } else if (address->any.sa_family == AF_UNIX && address->len > (socklen_t)offsetof(struct sockaddr_un, sun_path) &&
               address->local.sun_path[0] != 0) {
        snprintf(out, size, "%s", address->local.sun_path);
    } else {
        snprintf(out, size, "@");
    }
}

static int resolve_path(const char *path, struct address *out)
{
    size_t len = strlen(path);
    if (len >= sizeof out->local.sun_path) {
        return EAI_NONAME;
    }
    out->local.sun_family = AF_UNIX;
    memcpy(out->local.sun_path, path, len + 1);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    return 0;
}

void address_pick(const struct addrinfo *found, struct address *out)
{
    const struct addrinfo *best = found;
    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        if (a->ai_family == AF_INET) {
            best = a;
            break;
        }
    }
    memset(out, 0, sizeof *out);
    memcpy(&out->storage, best->ai_addr, best->ai_addrlen);
    out->len = best->ai_addrlen;
}

static int ask(const char *host, int port, int flags, struct address *out)
{
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    struct addrinfo *found;
    int error = getaddrinfo(host[0] == 0 ? NULL : host, service, &hints, &found);
    if (error == 0) {
        address_pick(found, out);
        freeaddrinfo(found);
    }
    return error;
}

int address_resolve(const char *host, int port, bool passive, struct address *out)
{
    memset(out, 0, sizeof *out);
    if (port < 0) {
        return resolve_path(host, out);
    }
    return ask(host[0] == 0 && passive ? "::" : host, port, passive ? AI_PASSIVE : 0, out);
}

int address_literal(const char *host, int port, struct address *out)
{
    memset(out, 0, sizeof *out);
    return port < 0 ? resolve_path(host, out) : ask(host, port, AI_NUMERICHOST, out);
}

const char *address_error(int error_number)
{
    static _Thread_local char text[128];
    if (error_number == ETIMEDOUT) {
        return "connection timed out";
    }
    snprintf(text, sizeof text, "%s", strerror(error_number));
    text[0] = (char)tolower((unsigned char)text[0]);
    return text;
}
