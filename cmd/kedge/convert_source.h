/* What stands in a database of etcd's, as far as it decides whether to convert it: read without making anything. */
#ifndef CMD_KEDGE_CONVERT_SOURCE_H
#define CMD_KEDGE_CONVERT_SOURCE_H

#include "base/bytes.h"

struct convert_source {
    bool auth_enabled;
    char cluster_version[32]; /* "" = none decided yet */
    /* An etcd that ended before its first commit: no rows, no position. Its log has everything. */
    bool is_fresh;
};

/* Is it a bbolt file? */
bool convert_source_is_etcd(const char *path);

/* Reads up to the first key. 0, or ERR_CORRUPT_DATA, ERR_IO with a heap text in *reason. */
int convert_source_read(const char *path, struct convert_source *out, char **reason);

#endif
