#include "grpc/metrics_page.h"

#include <inttypes.h>

#define CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

void metrics_page_init(struct metrics_page *page)
{
    list_init(&page->sources);
}

void metrics_page_add(struct metrics_page *page, struct metrics_source *source)
{
    list_push_back(&page->sources, &source->node);
}

bool metrics_page(struct metrics_page *page, struct http1_request *request)
{
    if (!bytes_equal(request->path, bytes_str("/metrics"))) {
        return false;
    }
    struct buffer out = {0};
    list_each(node, &page->sources)
    {
        struct metrics_source *source = container_of(node, struct metrics_source, node);
        source->print(source, &out);
    }
    http1_respond(request, 200, CONTENT_TYPE, buffer_bytes(&out));
    buffer_free(&out);
    return true;
}

static void head(struct buffer *out, const char *name, const char *help, const char *type)
{
    buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_counter(struct buffer *out, const char *name, const char *help, uint64_t value)
{
    head(out, name, help, "counter");
    buffer_printf(out, "%s %" PRIu64 "\n", name, value);
}

void metrics_gauge(struct buffer *out, const char *name, const char *help, double value)
{
    head(out, name, help, "gauge");
    buffer_printf(out, "%s %.15g\n", name, value);
}
