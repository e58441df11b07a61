/* Cluster version, downgrade job and the storage version (mvcc.md "Cluster version and downgrade", backend.md
 * "cluster", "Storage version"). */
#ifndef KV_VERSION_H
#define KV_VERSION_H

#include "base/bytes.h"
#include "kv/membership.pb-c.h"

struct kv;

#define VERSION_TEXT_MAX 64

struct versions {
    char cluster[VERSION_TEXT_MAX];          /* "" = not set */
    char storage[VERSION_TEXT_MAX];          /* meta/storageVersion; "" = not there */
    char downgrade_target[VERSION_TEXT_MAX]; /* "" = none */
    bool downgrade_enabled;
    bool too_new; /* cluster is of a later version than this program */
};

/* "3.7.0" -> 3, 7. False if it is no version of two or three numbers. */
bool version_parse(struct bytes text, unsigned *major, unsigned *minor);

/* What a downgrade may name: "3.6", "3.6.0", "3.6.0-rc.1+build". */
bool version_parse_target(const char *text, int64_t *major, int64_t *minor);

/* Rows of tables cluster and meta at start: 0 or ERR_CORRUPT_DATA. */
int version_load_cluster(struct versions *versions, struct bytes key, struct bytes value);
int version_load_storage(struct versions *versions, struct bytes value);

/* Is it below the one that is set? An older etcd that takes this member's place would not start from a log with the
 * entry that set that one. */
bool version_lowers_cluster(const struct kv *kv, const Membershippb__ClusterVersionSetRequest *request);

/* Applies entries 1300 and 1302. store false = only in memory. True = something changed. */
bool version_set_cluster(struct kv *kv, const Membershippb__ClusterVersionSetRequest *request, bool store);
bool version_set_downgrade(struct kv *kv, const Membershippb__DowngradeInfoSetRequest *request, bool store);

/* Is the cluster version set and at least major.minor? */
bool version_cluster_at_least(const struct kv *kv, unsigned major, unsigned minor);

#endif
