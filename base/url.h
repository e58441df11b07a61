/* URLs of members and listeners, checked and written as etcd does it (client/pkg/types: http, https, unix, unixs; with
 * http a host and a port and no path). The text decides member ids, so it is kept exactly as etcd's would be. */
#ifndef BASE_URL_H
#define BASE_URL_H

#include "base/arena.h"

enum url_scheme { URL_HTTP, URL_HTTPS, URL_UNIX, URL_UNIXS };

struct url {
    const char *text; /* as etcd prints it: scheme in lower case */
    enum url_scheme scheme;
    const char *host; /* without the brackets of an IPv6 address; the path or address of a unix socket */
    uint16_t port;    /* 0 where none was given, and for unix sockets */
};

/* Sorted by text. */
struct url_list {
    struct url *items;
    size_t count;
};

/* Each text is one URL. Here none is dropped that comes twice. NULL, or the error text. */
const char *url_list_of(struct arena *arena, char *const *texts, size_t count, struct url_list *out);
/* Comma-separated; each is kept once. NULL, or the error text (in the arena, as the rest is). */
const char *url_list_parse(struct arena *arena, const char *text, struct url_list *out);
/* "a,b": the texts again. */
const char *url_list_text(struct arena *arena, const struct url_list *list);
bool url_list_has(const struct url_list *list, const char *text);
bool url_list_equal(const struct url_list *a, const struct url_list *b);

/* Is the host an IP address or "localhost", as etcd demands of an address to listen on? */
bool url_can_bind(const struct url *url);

#endif
