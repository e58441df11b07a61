/* snapshot save: a backup of one member's store, compared with the checksum that the server sends last, and read from
 * beginning to end as whoever restores it will; it gets its name only then (save_file.h), so a file of that name is
 * always whole. Standard output ("-") gets the bytes as they come: there only the checksum is compared. */
#include "base/log.h"
#include "cmd/kedgectl/progress.h"
#include "cmd/kedgectl/save_file.h"
#include "cmd/kedgectl/session.h"
#include "cmd/kedgectl/verbs.h"
#include "snapshot/reader.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

enum { CHECKSUM = 32, WRITE_BYTES = 1 << 20, CHECK_ROWS = 20000 };

struct save {
    struct session *session;
    struct arena *arena;
    struct save_file file;
    struct progress progress;
    EVP_MD_CTX *digest; /* of all but the last CHECKSUM bytes */
    /* What was received and is not written yet. Its last CHECKSUM bytes may be the checksum. */
    struct buffer waiting;
    size_t digested;     /* of `waiting` */
    uint64_t bytes, all; /* received, and expected: 0 = not known */
    char version[32];
    const char *error; /* NULL = none */
    bool opened, done;
};

/* --- what is received --- */

static void write_out(struct save *s, size_t len)
{
    if (s->error == NULL) {
        s->error = save_file_write(&s->file, bytes_of(s->waiting.data, len));
    }
    buffer_consume(&s->waiting, len);
    s->digested -= len;
}

static void take_blob(struct save *s, struct bytes blob)
{
    buffer_append(&s->waiting, blob.data, blob.len);
    s->bytes += blob.len;
    if (s->waiting.len > CHECKSUM) {
        size_t sure = s->waiting.len - CHECKSUM;
        EVP_DigestUpdate(s->digest, s->waiting.data + s->digested, sure - s->digested);
        s->digested = sure;
        if (sure >= WRITE_BYTES) {
            write_out(s, sure);
        }
    }
}

/* SnapshotResponse: 2 remaining_bytes, 3 blob, 4 version. By hand: unpacking would copy each blob once more. */
static bool take_fields(struct save *s, struct bytes message)
{
    enum { VARINT = 0, LENGTH = 2, REMAINING = 2, BLOB = 3, VERSION = 4 };
    uint64_t remaining = 0;
    while (message.len > 0) {
        uint64_t tag, n;
        size_t used = varint_get(message, &tag);
        message = bytes_of(message.data + used, message.len - used);
        size_t more = used == 0 ? 0 : varint_get(message, &n);
        if (more == 0 || ((tag & 7) != VARINT && (tag & 7) != LENGTH)) {
            return false;
        }
        message = bytes_of(message.data + more, message.len - more);
        if ((tag & 7) == VARINT) {
            remaining = tag >> 3 == REMAINING ? n : remaining;
            continue;
        }
        if (n > message.len) {
            return false;
        }
        if (tag >> 3 == BLOB) {
            take_blob(s, bytes_of(message.data, (size_t)n));
        } else if (tag >> 3 == VERSION) {
            snprintf(s->version, sizeof s->version, "%.*s", (int)n, (const char *)message.data);
        }
        message = bytes_of(message.data + n, message.len - (size_t)n);
    }
    if (remaining > 0) {
        s->all = s->bytes + remaining + CHECKSUM;
    }
    return true;
}

static void on_headers(struct client_call *call)
{
    struct save *s = client_call_state(call);
    s->opened = true;
    log_info("opened snapshot stream; downloading", log_str("logger", "client"));
    log_info("fetching snapshot", log_str("endpoint", s->session->endpoints[0]));
}

static void on_message(struct client_call *call, struct bytes message)
{
    struct save *s = client_call_state(call);
    if (!take_fields(s, message) && s->error == NULL) {
        s->error = "the server sent what is no snapshot";
    }
    if (s->error != NULL) {
        client_cancel(call);
    }
}

static void on_end(struct client_call *call, enum grpc_code code, const char *text)
{
    struct save *s = client_call_state(call);
    s->done = true;
    if (code != GRPC_OK && !s->opened) { /* what stands behind "context deadline exceeded" */
        log_error("streamer failed to create ClientStream", log_str("logger", "client"),
                  log_str("error", session_error(s->arena, code, text, false)));
    }
    if (code != GRPC_OK && s->error == NULL) {
        s->error = session_error(s->arena, code, text, cli_given(s->session->call, "command-timeout"));
    }
}

static void fetch(struct save *s)
{
    enum { DRAW_MS = 100 };
    static const struct client_handler handler = {.on_headers = on_headers, .on_message = on_message, .on_end = on_end};
    const struct session *session = s->session;
    /* Without --command-timeout on the command line a backup takes the time that it takes. */
    const struct client_call_options options = {
        .state = s, .timeout_ms = cli_given(session->call, "command-timeout") ? session->timeout_ms : 0};
    struct client_call *call = client_open(session->client, MAINTENANCE_SNAPSHOT, &handler, &options);
    client_send(call, bytes_of("", 0));
    client_half_close(call);
    while (!s->done) {
        loop_step(client_loop(session->client), progress_is_shown(&s->progress) ? DRAW_MS : -1);
        progress_set(&s->progress, s->bytes, s->all);
    }
    progress_clear(&s->progress);
}

/* --- is it whole? --- */

static void check_checksum(struct save *s)
{
    uint8_t is[EVP_MAX_MD_SIZE];
    EVP_DigestFinal_ex(s->digest, is, NULL);
    if (s->bytes % 512 != CHECKSUM || s->waiting.len < CHECKSUM) {
        s->error = arena_printf(s->arena, "sha256 checksum not found [bytes: %llu]", (unsigned long long)s->bytes);
    } else if (memcmp(is, s->waiting.data + s->waiting.len - CHECKSUM, CHECKSUM) != 0) {
        s->error = "the snapshot's sha256 checksum is wrong: it was damaged on its way";
    }
}

static int pass_bucket(struct snapshot_visitor *visitor, struct bytes name)
{
    (void)visitor, (void)name;
    return 0;
}

static int pass_row(struct snapshot_visitor *visitor, struct bytes key, struct bytes value)
{
    (void)visitor, (void)key, (void)value;
    return 0;
}

/* Every page and row, as it stands in the file now. */
static void check_pages(struct save *s)
{
    struct snapshot_visitor visitor = {.bucket = pass_bucket, .row = pass_row};
    struct snapshot_file file;
    if (snapshot_file_open(&file, s->file.part) != 0) {
        s->error = arena_printf(s->arena, "could not read %s again", s->file.part);
        return;
    }
    struct snapshot_reader *reader = snapshot_reader_new(&file.source, false);
    int progress;
    while ((progress = snapshot_reader_step(reader, &visitor, CHECK_ROWS)) == SNAPSHOT_MORE) {
    }
    if (progress != SNAPSHOT_DONE) {
        s->error = arena_printf(
            s->arena, "what the server sent can not be restored: %s (- in place of a name writes it as it is)",
            snapshot_reader_reason(reader));
    }
    snapshot_reader_free(reader);
    snapshot_file_close(&file);
}

static void finish(struct save *s)
{
    if (s->error == NULL) {
        log_info("completed snapshot read; closing", log_str("logger", "client"));
        check_checksum(s);
    }
    if (s->error == NULL) {
        write_out(s, s->waiting.len);
    }
    if (s->error == NULL && s->file.part != NULL) {
        save_file_sync_begin(&s->file); /* the disk writes while this reads */
        check_pages(s);
    }
    if (s->error == NULL) {
        s->error = save_file_commit(&s->file);
    } else {
        save_file_discard(&s->file);
    }
}

/* --- the command --- */

static struct progress *progress_now;

static void last_words(void)
{
    progress_clear(progress_now);
}

static void tell_saved(const struct save *s, uint64_t took_ns)
{
    log_info("fetched snapshot", log_str("endpoint", s->session->endpoints[0]),
             log_str("size", printer_bytes(s->arena, s->bytes)), log_duration("took", took_ns),
             log_str("etcd-version", s->version));
    log_info("saved", log_str("path", s->file.path));
    if (s->file.part == NULL) {
        return; /* standard output is the snapshot's */
    }
    printf("Snapshot saved at %s\n", s->file.path);
    if (s->version[0] != '\0') {
        printf("Server version %s\n", s->version);
    }
}

static const char *save(struct save *s, const char *path)
{
    s->error = save_file_open(&s->file, s->arena, path);
    if (s->error != NULL) {
        return s->error;
    }
    if (s->file.part != NULL) {
        log_info("created temporary db file", log_str("path", s->file.part));
    }
    uint64_t begun_ns = loop_clock_ns();
    progress_begin(&s->progress, STDERR_FILENO);
    progress_now = &s->progress;
    save_file_on_signal(last_words);
    s->digest = EVP_MD_CTX_new();
    EVP_DigestInit_ex(s->digest, EVP_sha256(), NULL);
    fetch(s);
    finish(s);
    save_file_on_signal(NULL);
    EVP_MD_CTX_free(s->digest);
    buffer_free(&s->waiting);
    if (s->error == NULL) {
        tell_saved(s, loop_clock_ns() - begun_ns);
    }
    return s->error;
}

static const char *endpoints_text(struct arena *arena, const char *const *endpoints)
{
    const char *text = "";
    for (; *endpoints != NULL; endpoints++) {
        text = arena_printf(arena, "%s%s%s", text, *text == '\0' ? "" : " ", *endpoints);
    }
    return text;
}

int verb_snapshot_save(struct cli_call *call)
{
    struct session session;
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "snapshot save expects one argument <filename>");
    }
    int status = session_open(&session, call);
    if (status != 0) {
        return status;
    }
    if (session.endpoints[0] == NULL || session.endpoints[1] != NULL) {
        status = cli_fail(CLI_INTERRUPTED, "snapshot must be requested to one selected node, not multiple [%s]",
                          endpoints_text(&call->arena, session.endpoints));
        return session_end(&session, status);
    }
    struct save s = {.session = &session, .arena = &call->arena};
    const char *error = save(&s, call->args[0]);
    return session_end(&session, error == NULL ? CLI_OK : cli_fail(CLI_INTERRUPTED, "%s", error));
}
