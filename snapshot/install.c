#include "snapshot/install.h"

#include "base/error.h"
#include "snapshot/build.h"
#include "snapshot/reader.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct snapshot_install {
    struct snapshot_visitor visitor; /* first */
    struct snapshot_install_config config;
    struct snapshot_file file;
    struct snapshot_source *source; /* of it, or the config's */
    struct snapshot_reader *reader;
    struct snapshot_build *build;
    char reason[1024];
};

__attribute__((format(printf, 3, 4))) static int fail(struct snapshot_install *i, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(i->reason, sizeof i->reason, format, args);
    va_end(args);
    return error;
}

static int visit_bucket(struct snapshot_visitor *visitor, struct bytes name)
{
    return snapshot_build_bucket(((struct snapshot_install *)visitor)->build, name);
}

static int visit_row(struct snapshot_visitor *visitor, struct bytes key, struct bytes value)
{
    return snapshot_build_row(((struct snapshot_install *)visitor)->build, key, value);
}

static int begin(struct snapshot_install *i)
{
    struct snapshot_source *source = i->config.source;
    if (source == NULL) {
        int failed = -snapshot_file_open(&i->file, i->config.image);
        if (failed != 0) {
            return fail(i, failed == ENOENT ? ERR_ABSENT : ERR_IO, "%s: %s", i->config.image, strerror(failed));
        }
        source = &i->file.source;
    }
    i->source = source;
    i->reader = snapshot_reader_new(source, i->config.verify);
    return snapshot_build_begin(i->build);
}

static int finish(struct snapshot_install *i)
{
    int error = 0;
    for (size_t k = 0; k < i->config.row_count && error == 0; k++) {
        error = snapshot_build_add(i->build, &i->config.rows[k]);
    }
    return error != 0 ? error : snapshot_build_end(i->build, i->config.index, i->config.term);
}

struct snapshot_install *snapshot_install_new(const struct snapshot_install_config *config)
{
    struct snapshot_install *i = mem_zalloc(sizeof *i);
    i->visitor = (struct snapshot_visitor){.bucket = visit_bucket, .row = visit_row};
    i->config = *config;
    i->file.fd = -1;
    const struct snapshot_build_config build = {.image = config->image,
                                                .store = config->store,
                                                .into = config->into,
                                                .map_bytes = config->map_bytes,
                                                .quota_bytes = config->quota_bytes};
    i->build = snapshot_build_new(&build);
    return i;
}

int snapshot_install_step(struct snapshot_install *i, size_t rows)
{
    int result = i->reader == NULL ? begin(i) : 0;
    if (result == 0) {
        result = snapshot_reader_step(i->reader, &i->visitor, rows);
        const char *reason = snapshot_reader_reason(i->reader);
        if (result < 0 && reason[0] != '\0') {
            fail(i, result, "%s: %s", i->config.image, reason);
        }
    }
    return result == SNAPSHOT_DONE ? finish(i) : result;
}

const char *snapshot_install_reason(const struct snapshot_install *i)
{
    return i->reason[0] != '\0' ? i->reason : snapshot_build_reason(i->build);
}

void snapshot_install_progress(const struct snapshot_install *i, uint64_t *done, uint64_t *all)
{
    *done = i->reader == NULL ? 0 : snapshot_reader_progress(i->reader);
    *all = i->source == NULL ? 0 : i->source->size;
}

void snapshot_install_free(struct snapshot_install *i)
{
    if (i == NULL) {
        return;
    }
    snapshot_build_free(i->build);
    snapshot_reader_free(i->reader);
    snapshot_file_close(&i->file);
    free(i);
}
