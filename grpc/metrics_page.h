/* /metrics on the client and the metrics ports: rows in Prometheus' text format, from whoever has some. A source is
 * registered once, before the ports open, and prints its rows at each request.
 *
 * Thread: the loop's. */
#ifndef GRPC_METRICS_PAGE_H
#define GRPC_METRICS_PAGE_H

#include "base/list.h"
#include "base/net/http1.h"

struct metrics_source {
    struct list node;
    void (*print)(struct metrics_source *source, struct buffer *out);
};

/* Zeroed = none yet. */
struct metrics_page {
    struct list sources;
};

void metrics_page_init(struct metrics_page *page);
void metrics_page_add(struct metrics_page *page, struct metrics_source *source);
/* False if the path is another one. */
bool metrics_page(struct metrics_page *page, struct http1_request *request);

/* Rows of one metric without labels. */
void metrics_counter(struct buffer *out, const char *name, const char *help, uint64_t value);
void metrics_gauge(struct buffer *out, const char *name, const char *help, double value);

#endif
