#include "kv/version.h"
#include "base/check.h"
#include "base/gojson.h"
#include "kv/store.h"

#include <stdio.h>

/* The version whose storage format this is; what a member is before its first migration (backend.md "Storage version").
 */
#define STORAGE_BEFORE "3.5.0"

static bool take_number(struct bytes *text, unsigned *out)
{
    size_t n = 0;
    unsigned v = 0;
    while (n < text->len && text->data[n] >= '0' && text->data[n] <= '9') {
        if (n == 9) {
            return false;
        }
        v = v * 10 + (unsigned)(text->data[n++] - '0');
    }
    *text = bytes_of(text->data + n, text->len - n);
    *out = v;
    return n > 0;
}

static bool take_dot(struct bytes *text)
{
    if (text->len == 0 || text->data[0] != '.') {
        return false;
    }
    *text = bytes_of(text->data + 1, text->len - 1);
    return true;
}

bool version_parse(struct bytes text, unsigned *major, unsigned *minor)
{
    unsigned patch;
    if (!take_number(&text, major) || !take_dot(&text) || !take_number(&text, minor)) {
        return false;
    }
    return text.len == 0 || (take_dot(&text) && take_number(&text, &patch));
}

static bool set_text(char out[VERSION_TEXT_MAX], struct bytes text)
{
    if (text.len >= VERSION_TEXT_MAX || memchr(text.data, 0, text.len) != NULL) {
        return false;
    }
    memcpy(out, text.data, text.len);
    out[text.len] = 0;
    return true;
}

/* The newest version that this program can be a member of. */
#define OWN_MAJOR 3
#define OWN_MINOR 7

static bool set_cluster(struct versions *versions, struct bytes text)
{
    unsigned major, minor;
    if (!set_text(versions->cluster, text)) {
        return false;
    }
    versions->too_new =
        version_parse(text, &major, &minor) && (major > OWN_MAJOR || (major == OWN_MAJOR && minor > OWN_MINOR));
    return true;
}

/* --- loading --- */

/* {"target-version":"3.6.0","enabled":true}: only what kedge and etcd write there is understood. */
static int load_downgrade(struct versions *versions, struct bytes value)
{
    static const char head[] = "{\"target-version\":\"";
    size_t n = sizeof head - 1;
    if (value.len < n || memcmp(value.data, head, n) != 0) {
        return ERR_CORRUPT_DATA;
    }
    struct bytes rest = bytes_of(value.data + n, value.len - n);
    const uint8_t *quote = rest.len == 0 ? NULL : memchr(rest.data, '"', rest.len);
    if (quote == NULL || !set_text(versions->downgrade_target, bytes_of(rest.data, (size_t)(quote - rest.data)))) {
        return ERR_CORRUPT_DATA;
    }
    rest = bytes_of(quote, (size_t)(rest.data + rest.len - quote));
    versions->downgrade_enabled = bytes_equal(rest, bytes_str("\",\"enabled\":true}"));
    return versions->downgrade_enabled || bytes_equal(rest, bytes_str("\",\"enabled\":false}")) ? 0 : ERR_CORRUPT_DATA;
}

int version_load_cluster(struct versions *versions, struct bytes key, struct bytes value)
{
    if (bytes_equal(key, bytes_str("clusterVersion"))) {
        return set_cluster(versions, value) ? 0 : ERR_CORRUPT_DATA;
    }
    return bytes_equal(key, bytes_str("downgrade")) ? load_downgrade(versions, value) : 0;
}

int version_load_storage(struct versions *versions, struct bytes value)
{
    return set_text(versions->storage, value) ? 0 : ERR_CORRUPT_DATA;
}

/* --- the log's --- */

bool version_set_cluster(struct kv *kv, const Membershippb__ClusterVersionSetRequest *request, bool store)
{
    struct versions *versions = &kv->versions;
    struct bytes text = bytes_str(request->ver);
    bool changed = strcmp(versions->cluster, request->ver) != 0;
    if (!set_cluster(versions, text)) {
        return false;
    }
    if (store) {
        batch_put(kv, BACKEND_CLUSTER, bytes_str("clusterVersion"), text);
        kv_update_storage_version(kv);
    }
    return changed;
}

bool version_set_downgrade(struct kv *kv, const Membershippb__DowngradeInfoSetRequest *request, bool store)
{
    struct versions *versions = &kv->versions;
    versions->downgrade_enabled = request->enabled;
    set_text(versions->downgrade_target, request->enabled ? bytes_str(request->ver) : bytes_str(""));
    if (store) {
        struct buffer json = {0};
        buffer_printf(&json, "{\"target-version\":");
        gojson_string(&json, bytes_str(versions->downgrade_target));
        buffer_printf(&json, ",\"enabled\":%s}", request->enabled ? "true" : "false");
        batch_put(kv, BACKEND_CLUSTER, bytes_str("downgrade"), buffer_bytes(&json));
        buffer_free(&json);
    }
    return true;
}

/* --- questions --- */

bool kv_version_of_page(struct bytes page, const char *field, unsigned *major, unsigned *minor)
{
    char key[32];
    int n = snprintf(key, sizeof key, "\"%s\":\"", field);
    const uint8_t *at = page.len == 0 ? NULL : memmem(page.data, page.len, key, (size_t)n);
    if (at == NULL) {
        return false;
    }
    at += n;
    const uint8_t *end = memchr(at, '"', (size_t)(page.data + page.len - at));
    return end != NULL && version_parse(bytes_of(at, (size_t)(end - at)), major, minor);
}

const char *kv_cluster_version(const struct kv *kv)
{
    return kv->versions.cluster[0] == 0 ? NULL : kv->versions.cluster;
}

bool kv_cluster_too_new(const struct kv *kv)
{
    return kv->versions.too_new;
}

const char *kv_storage_version(const struct kv *kv)
{
    return kv->versions.storage[0] == 0 ? STORAGE_BEFORE : kv->versions.storage;
}

bool kv_downgrade(const struct kv *kv, const char **target_version)
{
    *target_version = kv->versions.downgrade_target;
    return kv->versions.downgrade_enabled;
}

bool version_cluster_at_least(const struct kv *kv, unsigned major, unsigned minor)
{
    unsigned have_major, have_minor;
    return version_parse(bytes_str(kv->versions.cluster), &have_major, &have_minor) &&
           (have_major > major || (have_major == major && have_minor >= minor));
}

bool version_lowers_cluster(const struct kv *kv, const Membershippb__ClusterVersionSetRequest *request)
{
    unsigned major, minor;
    return version_parse(bytes_str(request->ver), &major, &minor) && version_cluster_at_least(kv, major, minor + 1);
}

/* The rows of 3.5, 3.6 and 3.7 differ only in the presence of this field, so all steps are taken at once. */
void kv_update_storage_version(struct kv *kv)
{
    unsigned major, minor, have_major, have_minor;
    struct versions *versions = &kv->versions;
    if (!version_parse(bytes_str(versions->cluster), &major, &minor) || (major == 3 && minor == 0) ||
        versions->too_new) {
        return;
    }
    CHECK(version_parse(bytes_str(kv_storage_version(kv)), &have_major, &have_minor), "storage version %s",
          versions->storage);
    if (have_major == major && have_minor == minor) {
        return;
    }
    if (major == 3 && minor < 6) {
        versions->storage[0] = 0;
        batch_delete(kv, BACKEND_META, bytes_str("storageVersion"));
        return;
    }
    snprintf(versions->storage, sizeof versions->storage, "%u.%u.0", major, minor);
    batch_put(kv, BACKEND_META, bytes_str("storageVersion"), bytes_str(versions->storage));
}
