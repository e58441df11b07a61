/* --initial-cluster and what etcd demands of it before a member begins without data (etcd 3.7.1, config.ServerConfig:
 * VerifyBootstrap, VerifyJoinExisting; pkg/netutil: URLStringsEqual). */
#include "base/gotext.h"
#include "base/net/address.h"
#include "cmd/kedge/config.h"
#include "cmd/kedge/flags.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#define RESOLVE_TIMEOUT_S 30

#define refuse(c, ...) arena_printf(&(c)->arena, __VA_ARGS__)

/* --- the text --- */

static struct config_member *find_member(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->initial_member_count; i++) {
        if (strcmp(c->initial_members[i].name, name) == 0) {
            return &c->initial_members[i];
        }
    }
    return NULL;
}

static int compare_members(const void *a, const void *b)
{
    return strcmp(((const struct config_member *)a)->name, ((const struct config_member *)b)->name);
}

/* One "name=url"; a name that comes again adds to its URLs. */
static const char *add_member(struct config *c, const char *text, size_t len)
{
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals == NULL ? len : (size_t)(equals - text);
    const char *name = arena_printf(&c->arena, "%.*s", (int)name_len, text);
    const char *url = equals == NULL ? "" : arena_printf(&c->arena, "%.*s", (int)(len - name_len - 1), equals + 1);
    struct config_member *member = find_member(c, name);
    if (member == NULL) {
        member = &c->initial_members[c->initial_member_count++];
        *member = (struct config_member){.name = name};
    }
    size_t count = member->peer_urls.count;
    char **texts = arena_alloc(&c->arena, (count + 1) * sizeof *texts);
    for (size_t i = 0; i < count; i++) {
        texts[i] = (char *)member->peer_urls.items[i].text;
    }
    texts[count] = (char *)url;
    return url_list_of(&c->arena, texts, count + 1, &member->peer_urls);
}

const char *config_parse_members(struct config *c)
{
    size_t room = 1;
    for (const char *p = c->initial_cluster; *p != '\0'; p++) {
        room += *p == ',';
    }
    c->initial_members = arena_zalloc(&c->arena, room * sizeof *c->initial_members);
    c->initial_member_count = 0;
    for (const char *p = c->initial_cluster; *p != '\0'; p += *p == ',') {
        size_t len = strcspn(p, ",");
        const char *error = len == 0 ? NULL : add_member(c, p, len);
        if (error != NULL) {
            return refuse(c, "error setting up initial cluster: %s", error);
        }
        p += len;
    }
    qsort(c->initial_members, c->initial_member_count, sizeof *c->initial_members, compare_members);
    return NULL;
}

static const char *member_text(struct arena *arena, const char *before, const char *name, const struct url_list *urls)
{
    for (size_t i = 0; i < urls->count; i++) {
        before = arena_printf(arena, "%s%s%s=%s", before, *before == '\0' ? "" : ",", name, urls->items[i].text);
    }
    return before;
}

const char *config_members_text(struct arena *arena, const struct config_member *members, size_t count)
{
    const char *text = "";
    for (size_t i = 0; i < count; i++) {
        text = member_text(arena, text, members[i].name, &members[i].peer_urls);
    }
    return text;
}

const struct config_member *config_self(const struct config *c)
{
    return find_member(c, c->name);
}

/* --- are these the same URLs? --- */

/* ["a" "b"], as Go prints a list of strings. */
static const char *quoted_list(struct arena *arena, const struct url_list *urls)
{
    const char *text = "[";
    for (size_t i = 0; i < urls->count; i++) {
        text = arena_printf(arena, "%s%s%s", text, i == 0 ? "" : " ", gotext_quoted(arena, urls->items[i].text));
    }
    return arena_printf(arena, "%s]", text);
}

static bool is_name(const struct url *url)
{
    unsigned char address[sizeof(struct in6_addr)];
    return (url->scheme == URL_HTTP || url->scheme == URL_HTTPS) && strcmp(url->host, "localhost") != 0 &&
           inet_pton(AF_INET, url->host, address) != 1 && inet_pton(AF_INET6, url->host, address) != 1;
}

/* With an address in the place of a host's name. NULL, or the resolver's error. */
static const char *resolve(struct arena *arena, const struct url *url, struct url *out)
{
    struct address address;
    char text[160];
    *out = *url;
    if (!is_name(url)) {
        return NULL;
    }
    int error = address_resolve(url->host, url->port, false, &address);
    if (error != 0) {
        return arena_printf(arena, "failed to resolve %s (%s)", url->host, gai_strerror(error));
    }
    address_format(&address, text, sizeof text);
    out->text = arena_printf(arena, "%s://%s", url->scheme == URL_HTTP ? "http" : "https", text);
    return NULL;
}

static const char *resolve_all(struct arena *arena, const struct url_list *urls, unsigned *seconds, char ***out)
{
    *out = arena_alloc(arena, (urls->count + 1) * sizeof **out);
    for (size_t i = 0; i < urls->count; i++) {
        struct url url;
        const char *error;
        while ((error = resolve(arena, &urls->items[i], &url)) != NULL && *seconds > 0) {
            --*seconds;
            sleep(1);
        }
        if (error != NULL) {
            return error;
        }
        (*out)[i] = (char *)url.text;
    }
    return NULL;
}

const char *config_same_urls(struct arena *arena, const struct url_list *a, const struct url_list *b,
                             unsigned timeout_s)
{
    if (a->count != b->count) {
        return arena_printf(arena, "len(%s) != len(%s)", quoted_list(arena, a), quoted_list(arena, b));
    }
    if (url_list_equal(a, b)) {
        return NULL;
    }
    char **texts[2];
    struct url_list resolved[2];
    const char *error = resolve_all(arena, a, &timeout_s, &texts[0]);
    error = error != NULL ? error : resolve_all(arena, b, &timeout_s, &texts[1]);
    error = error != NULL ? error : url_list_of(arena, texts[0], a->count, &resolved[0]);
    error = error != NULL ? error : url_list_of(arena, texts[1], b->count, &resolved[1]);
    for (size_t i = 0; error == NULL && i < a->count; i++) {
        const char *x = resolved[0].items[i].text, *y = resolved[1].items[i].text;
        if (strcmp(x, y) != 0) {
            error = arena_printf(arena, "resolved urls: %s != %s", gotext_quoted(arena, x), gotext_quoted(arena, y));
        }
    }
    return error;
}

/* --- checks --- */

/* Those of a that b has not, as the list of texts with `prefix` before each; NULL = none. */
static const char *missing(struct arena *arena, const char *prefix, const struct url_list *a, const struct url_list *b)
{
    const char *text = NULL;
    for (size_t i = 0; i < a->count; i++) {
        if (!url_list_has(b, a->items[i].text)) {
            text = arena_printf(arena, "%s%s%s%s", text == NULL ? "" : text, text == NULL ? "" : ",", prefix,
                                a->items[i].text);
        }
    }
    return text;
}

static const char *check_advertised(struct config *c, const struct config_member *self)
{
    const struct url_list *own = &self->peer_urls, *told = &c->initial_advertise_peer_urls;
    const char *why = config_same_urls(&c->arena, told, own, RESOLVE_TIMEOUT_S);
    if (why == NULL) {
        return NULL;
    }
    const char *told_text = url_list_text(&c->arena, told), *list;
    if ((list = missing(&c->arena, arena_printf(&c->arena, "%s=", c->name), own, told)) != NULL) {
        return refuse(c, "--initial-cluster has %s but missing from --initial-advertise-peer-urls=%s (%s)", list,
                      told_text, why);
    }
    const char *self_text = member_text(&c->arena, "", c->name, told);
    if ((list = missing(&c->arena, "", told, own)) != NULL) {
        return refuse(c, "--initial-advertise-peer-urls has %s but missing from --initial-cluster=%s", list, self_text);
    }
    return refuse(c, "failed to resolve %s to match --initial-cluster=%s (%s)", told_text, self_text, why);
}

static bool url_twice(const struct config *c)
{
    for (size_t i = 0; i < c->initial_member_count; i++) {
        const struct url_list *urls = &c->initial_members[i].peer_urls;
        for (size_t j = 0; j < urls->count; j++) {
            if (j > 0 && strcmp(urls->items[j].text, urls->items[j - 1].text) == 0) {
                return true;
            }
            for (size_t k = 0; k < i; k++) {
                if (url_list_has(&c->initial_members[k].peer_urls, urls->items[j].text)) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* There is no TLS yet, neither here nor towards others. */
static const char *check_schemes(struct config *c)
{
    for (size_t i = 0; i < c->initial_member_count; i++) {
        const struct url_list *urls = &c->initial_members[i].peer_urls;
        for (size_t j = 0; j < urls->count; j++) {
            if (urls->items[j].scheme == URL_HTTPS || urls->items[j].scheme == URL_UNIXS) {
                return refuse(c, "--initial-cluster %s=%s: %s", c->initial_members[i].name, urls->items[j].text,
                              FLAG_UNSUPPORTED);
            }
        }
    }
    return NULL;
}

const char *config_check_bootstrap(struct config *c)
{
    const struct config_member *self = config_self(c);
    if (self == NULL) {
        return refuse(c, "couldn't find local name %s in the initial cluster configuration",
                      gotext_quoted(&c->arena, c->name));
    }
    const char *error = strcmp(c->initial_cluster_state, "new") == 0 ? check_advertised(c, self) : NULL;
    if (error == NULL && url_twice(c)) {
        error = refuse(c, "initial cluster %s has duplicate url",
                       config_members_text(&c->arena, c->initial_members, c->initial_member_count));
    }
    return error != NULL ? error : check_schemes(c);
}
