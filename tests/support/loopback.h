/* Bare sockets of loopback for tests, none of which blocks. */
#ifndef TESTS_SUPPORT_LOOPBACK_H
#define TESTS_SUPPORT_LOOPBACK_H

/* A connection to 127.0.0.1. */
int loopback_connect(int port);
/* A socket that listens; *port: where. */
int loopback_listen(int *port);
/* The number behind the last colon, of an address or a URL. */
int loopback_port(const char *address);

#endif
