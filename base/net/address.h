/* Addresses as text, and the operating system's errors in Go's words, because clients' scripts and logs know those. */
#ifndef BASE_NET_ADDRESS_H
#define BASE_NET_ADDRESS_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
        struct sockaddr_un local;
    };
    socklen_t len;
};

/* "127.0.0.1:53412", "[::1]:53412"; "@" for an unnamed Unix socket, else its path. */
void address_format(const struct address *address, char *out, size_t size);

/* host as getaddrinfo takes it, "" = every address (dual-stack); port -1 = host is the path of a Unix socket. IPv4 is
 * preferred where a name has both. May ask the resolver, and so may block. 0, or a getaddrinfo error (EAI_...). */
int address_resolve(const char *host, int port, bool passive, struct address *out);
/* The same without asking anybody: numeric addresses and paths only, EAI_NONAME for names. */
int address_literal(const char *host, int port, struct address *out);
/* The one of a resolver's answers that address_resolve takes. */
void address_pick(const struct addrinfo *found, struct address *out);

/* "connection refused": strerror's text as Go has it. The returned text lives until the next call on the thread. */
const char *address_error(int error_number);

#endif
