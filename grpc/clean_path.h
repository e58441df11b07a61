/* Paths that only nearly name a page: "//health", "/v3/./kv/range", "/v3". Go's server, and so etcd, sends the caller
 * on to where it should have asked, with 307. */
#ifndef GRPC_CLEAN_PATH_H
#define GRPC_CLEAN_PATH_H

#include "base/net/http1.h"

/* True: the path has empty, "." or ".." parts, and the request was answered with the path without them. */
bool clean_path_redirect(struct http1_request *request);
/* Sends the caller on to this path, with the query of the request. */
void clean_path_send(struct http1_request *request, const char *path);

#endif
