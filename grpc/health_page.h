/* /health, /livez and /readyz (http.tsv; grpc.md "Other HTTP"). */
#ifndef GRPC_HEALTH_PAGE_H
#define GRPC_HEALTH_PAGE_H

#include "base/net/http1.h"
#include "core/core.h"

/* False if the path is none of them. Checks that need a linearizable read answer in a later turn, within 5 s. */
bool health_page(struct core *core, struct http1_request *request);

/* Answers 405 with Allow: GET and returns false if the method is another. */
bool pages_get_only(struct http1_request *request);

#endif
