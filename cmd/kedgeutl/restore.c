/* snapshot restore: flags, refusals and log lines of etcdutl (etcdutl.tsv, output.tsv) around snapshot/restore.h. */
#include "snapshot/restore.h"
#include "base/error.h"
#include "base/gojson.h"
#include "base/gotext.h"
#include "cmd/kedge/config.h"
#include "cmd/kedgeutl/commands.h"
#include "cmd/kedgeutl/formats.h"
#include <stdio.h>
#include <stdlib.h>

enum { STEP_ROWS = 100000 };

const struct cli_flag commands_restore_flags[] = {
    {"data-dir", 0, CLI_STRING, "", NULL, false, "the data directory to make ([name].etcd if not given)"},
    {"wal-dir", 0, CLI_STRING, "", NULL, false,
     "a directory of its own for the log (DATA-DIR/member/wal if not given)"},
    {"name", 0, CLI_STRING, "default", NULL, false, "this member's name"},
    {"initial-cluster", 0, CLI_STRING, "default=http://localhost:2380", NULL, false,
     "the members of the new cluster, NAME=URL each"},
    {"initial-cluster-token", 0, CLI_STRING, "etcd-cluster", NULL, false, "what tells this cluster from others"},
    {"initial-advertise-peer-urls", 0, CLI_STRING, "http://localhost:2380", NULL, false, "this member's peer URLs"},
    {"skip-hash-check", 0, CLI_BOOL, "false", NULL, false, "take a file without a SHA-256 at its end, as a bare db is"},
    {"bump-revision", 0, CLI_STRING, "0", NULL, false,
     "how far the latest revision is moved on; auto: 1000000000, and marked compacted"},
    {"mark-compacted", 0, CLI_BOOL, "false", NULL, false, "mark all revisions up to there as compacted"},
    {"dry-run", 0, CLI_BOOL, "false", NULL, false, "read and check everything, and make nothing"},
    {"disable-auth", 0, CLI_BOOL, "false", NULL, false, "turn off authentication that is enabled in the file"},
    {"initial-memory-map-size", 0, CLI_UINT64, "10737418240", NULL, false, "taken for etcdutl's sake: of no use here"},
    {0},
};

const char commands_restore_about[] =
    "Makes a data directory for one member of a new cluster. FILE is a backup, the bare db of an etcd (with\n"
    "--skip-hash-check), or the db of a kedge. For a cluster, do it once for each member, from the same file, with "
    "its\n"
    "own --name and the same --initial-cluster.\n"
    "\n"
    "Revisions go on where the file ends. Clients that have seen later ones (watches and caches, as of Kubernetes) "
    "would\n"
    "be given the same revisions again with something else in them: --bump-revision=auto keeps that from happening.";

/* --- what was asked for --- */

/* "auto" is both flags in one. */
static int find_bump(struct cli_call *call, uint64_t *bump)
{
    const char *text = cli_string(call, "bump-revision");
    bool automatic = strcmp(text, "auto") == 0, mark = cli_bool(call, "mark-compacted");
    const char *error = automatic ? NULL : gotext_uint(&call->arena, text, 0, 64, bump);
    if (error != NULL) {
        return cli_fail(CLI_ERROR, "invalid argument %s for \"--bump-revision\" flag: %s",
                        gotext_quoted(&call->arena, text), error);
    }
    if (automatic) {
        *bump = SNAPSHOT_RESTORE_BUMP_AUTO;
    } else if (mark != (*bump > 0)) {
        return cli_fail(CLI_BAD_ARGS, "--mark-compacted required if --revision-bump > 0");
    }
    return CLI_OK;
}

/* Reads and checks the cluster as etcd does. NULL or its words. */
static const char *find_cluster(struct cli_call *call, struct config *c)
{
    static const char not_here[] = "error setting up initial cluster: ";
    c->name = cli_string(call, "name");
    c->initial_cluster = cli_string(call, "initial-cluster");
    c->initial_cluster_state = "new";
    c->initial_cluster_token = cli_string(call, "initial-cluster-token");
    const char *error =
        url_list_parse(&c->arena, cli_string(call, "initial-advertise-peer-urls"), &c->initial_advertise_peer_urls);
    error = error != NULL ? error : config_parse_members(c);
    error = error != NULL ? error : config_check_bootstrap(c);
    bool prefixed = error != NULL && strncmp(error, not_here, sizeof not_here - 1) == 0;
    return prefixed ? error + sizeof not_here - 1 : error;
}

static const struct snapshot_restore_member *members_of(struct config *c)
{
    struct snapshot_restore_member *members = arena_zalloc(&c->arena, (c->initial_member_count + 1) * sizeof *members);
    for (size_t i = 0; i < c->initial_member_count; i++) {
        const struct url_list *urls = &c->initial_members[i].peer_urls;
        const char **texts = arena_zalloc(&c->arena, (urls->count + 1) * sizeof *texts);
        for (size_t k = 0; k < urls->count; k++) {
            texts[k] = urls->items[k].text;
        }
        members[i] = (struct snapshot_restore_member){c->initial_members[i].name, texts, urls->count};
    }
    return members;
}

/* --- what is told --- */

static void log_restore(struct cli_call *call, const struct snapshot_restore_config *config, const char *message)
{
    const char *wal =
        config->wal_dir != NULL ? config->wal_dir : arena_printf(&call->arena, "%s/member/wal", config->data_dir);
    log_info(message, log_str("path", config->file), log_str("wal-dir", wal), log_str("data-dir", config->data_dir),
             log_str("snap-dir", arena_printf(&call->arena, "%s/member/snap", config->data_dir)),
             log_uint("initial-memory-map-size", cli_number(call, "initial-memory-map-size")));
}

static void log_result(const struct snapshot_restore_config *config, const struct snapshot_restore_result *result)
{
    if (config->bump_revision > 0) {
        log_info("bumping latest revision", log_int("latest-revision", result->status.revision),
                 log_uint("bump-amount", config->bump_revision), log_int("new-latest-revision", result->revision));
        log_info("marking revision compacted", log_int("revision", result->compact_revision));
    }
    for (size_t i = 0; i < config->member_count; i++) {
        log_info("added member", log_hex("cluster-id", result->cluster_id), log_str("name", config->members[i].name),
                 log_strs("added-peer-peer-urls", config->members[i].peer_urls));
    }
}

#define HINT                                                                                                           \
    "clients that have seen revisions after this snapshot's will be given the same revisions again with something "    \
    "else in them: restart them all, or restore with --bump-revision=auto"

static void log_hint(const struct snapshot_restore_config *config, const struct snapshot_restore_result *result)
{
    if (config->bump_revision > 0) {
        return;
    }
    if (result->kubernetes) {
        log_warn("revisions were not bumped, and this is a snapshot of Kubernetes, whose caches need it",
                 log_int("revision", result->revision), log_str("hint", HINT));
    } else {
        log_info("revisions were not bumped", log_int("revision", result->revision), log_str("hint", HINT));
    }
}

static void print_dry(struct cli_call *call, const struct snapshot_restore_config *config,
                      const struct snapshot_restore_result *r)
{
    const struct snapshot_status *s = &r->status;
    enum print_format format = PRINT_SIMPLE;
    printer_find_format(cli_string(call, "write-out"), &format);
    if (format == PRINT_JSON) {
        struct buffer out = {0};
        buffer_printf(&out, "{\"restorable\":true,\"file\":");
        gojson_string(&out, bytes_str(config->file));
        buffer_printf(&out, ",\"kind\":");
        gojson_string(&out, bytes_str(snapshot_input_kind_text(r->kind)));
        buffer_printf(&out, ",\"hashChecked\":%s,\"hash\":%u,\"revision\":%lld,\"totalKey\":%llu,\"totalSize\":%llu,",
                      r->hash_checked ? "true" : "false", s->hash, (long long)r->revision, (unsigned long long)s->keys,
                      (unsigned long long)s->size);
        buffer_printf(&out, "\"compactRevision\":%lld,\"leases\":%llu,\"users\":%llu,\"roles\":%llu,\"version\":",
                      (long long)r->compact_revision, (unsigned long long)r->leases, (unsigned long long)r->users,
                      (unsigned long long)r->roles);
        gojson_string(&out, bytes_str(s->version));
        printf("%.*s}\n", (int)out.len, (const char *)out.data);
        buffer_free(&out);
        return;
    }
    printf("%s can be restored: %s, hash %x%s, %llu keys at revision %lld, %llu leases, %llu users, %s\n", config->file,
           snapshot_input_kind_text(r->kind), s->hash, r->hash_checked ? " and SHA-256 checked" : "",
           (unsigned long long)s->keys, (long long)r->revision, (unsigned long long)r->leases,
           (unsigned long long)r->users, printer_bytes(&call->arena, s->size));
    if (config->bump_revision == 0) {
        printf("%s " HINT "\n", r->kubernetes ? "It is of Kubernetes:" : "Note:");
    }
}

/* --- doing it --- */

static int run(struct cli_call *call, const struct snapshot_restore_config *config)
{
    struct snapshot_restore *restore = snapshot_restore_new(config);
    int progress, status = CLI_OK;
    while ((progress = snapshot_restore_step(restore, STEP_ROWS)) == SNAPSHOT_MORE) {
    }
    const struct snapshot_restore_result *result = snapshot_restore_result(restore);
    if (progress != SNAPSHOT_DONE) {
        status = cli_fail(CLI_ERROR, "%s", snapshot_restore_reason(restore));
    } else if (config->dry_run) {
        print_dry(call, config, result);
    } else {
        log_result(config, result);
        log_restore(call, config, "restored snapshot");
        log_hint(config, result);
    }
    snapshot_restore_free(restore);
    return status;
}

static int restore_with(struct cli_call *call, struct config *c, uint64_t bump)
{
    const char *wal_dir = cli_string(call, "wal-dir"), *data_dir = cli_string(call, "data-dir");
    struct snapshot_restore_config config = {
        .file = call->args[0],
        .map_file = true,
        .skip_hash_check = cli_bool(call, "skip-hash-check"),
        .disable_auth = cli_bool(call, "disable-auth"),
        .bump_revision = bump,
        .dry_run = cli_bool(call, "dry-run"),
    };
    if (!config.dry_run) {
        const char *error = find_cluster(call, c);
        if (error != NULL) {
            return cli_fail(CLI_ERROR, "%s", error);
        }
        config.data_dir = *data_dir != '\0' ? data_dir : arena_printf(&call->arena, "%s.etcd", c->name);
        config.wal_dir = *wal_dir != '\0' ? wal_dir : NULL;
        config.name = c->name;
        config.members = members_of(c);
        config.member_count = c->initial_member_count;
        config.token = c->initial_cluster_token;
        log_restore(call, &config, "restoring snapshot");
    }
    return run(call, &config);
}

int commands_snapshot_restore(struct cli_call *call)
{
    struct config c = {0};
    uint64_t bump = 0;
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "snapshot restore requires exactly one argument");
    }
    int status = find_bump(call, &bump);
    if (status != CLI_OK) {
        return status;
    }
    log_configure(LOG_INFO, LOG_CONSOLE_SECONDS);
    status = restore_with(call, &c, bump);
    arena_free(&c.arena);
    return status;
}
