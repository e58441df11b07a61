/* snapshot save: a backup of one member's store. It is written under another name (FILE.part), compared with the
 * checksum that the server sends last, synced, and gets its name only then: a file of that name is always whole. */
#include "base/gotext.h"
#include "base/log.h"
#include "cmd/kedgectl/session.h"
#include "cmd/kedgectl/verbs.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CHECKSUM = 32, WRITE_BYTES = 1 << 20 };

struct save {
    struct session *session;
    const char *path, *part;
    int file;
    EVP_MD_CTX *digest; /* of all but the last CHECKSUM bytes */
    /* What was received and is not written yet. Its last CHECKSUM bytes may be the checksum. */
    struct buffer waiting;
    size_t digested; /* of `waiting` */
    uint64_t bytes;  /* received in all */
    char version[32];
    const char *error; /* NULL = none */
    bool done;
};

/* The system's words as Go has them. */
static const char *words(struct save *s, int error_number)
{
    char *text = arena_printf(&s->session->call->arena, "%s", strerror(error_number));
    text[0] = (char)(text[0] | 0x20);
    return text;
}

static void save_failed(struct save *s, const char *what, int error_number)
{
    if (s->error == NULL) {
        s->error = arena_printf(&s->session->call->arena, "%s (%s)", what, words(s, error_number));
    }
}

/* --- what is received --- */

static void write_out(struct save *s, size_t len)
{
    size_t done = 0;
    while (done < len && s->error == NULL) {
        ssize_t n = write(s->file, s->waiting.data + done, len - done);
        if (n < 0 && errno != EINTR) {
            save_failed(s, "could not write snapshot", errno);
        }
        done += n > 0 ? (size_t)n : 0;
    }
    buffer_consume(&s->waiting, len);
    s->digested -= len;
    /* The disk begins with it at once, and has less to do when all has come. */
    sync_file_range(s->file, 0, 0, SYNC_FILE_RANGE_WRITE);
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

/* SnapshotResponse: 3 blob, 4 version. By hand: unpacking would copy each blob once more. */
static bool take_fields(struct save *s, struct bytes message)
{
    enum { VARINT = 0, LENGTH = 2, BLOB = 3, VERSION = 4 };
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
    return true;
}

static void on_headers(struct client_call *call)
{
    struct save *s = client_call_state(call);
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
    if (code != GRPC_OK && s->error == NULL) {
        bool timed = cli_given(s->session->call, "command-timeout");
        s->error = session_error(&s->session->call->arena, code, text, timed);
    }
}

/* --- the file --- */

static void check_checksum(struct save *s)
{
    uint8_t is[EVP_MAX_MD_SIZE];
    if (s->error != NULL) {
        return;
    }
    log_info("completed snapshot read; closing", log_str("logger", "client"));
    EVP_DigestFinal_ex(s->digest, is, NULL);
    if (s->bytes % 512 != CHECKSUM || s->waiting.len < CHECKSUM) {
        s->error = arena_printf(&s->session->call->arena, "sha256 checksum not found [bytes: %llu]",
                                (unsigned long long)s->bytes);
    } else if (memcmp(is, s->waiting.data + s->waiting.len - CHECKSUM, CHECKSUM) != 0) {
        s->error = "the snapshot's sha256 checksum is wrong: it was damaged on its way";
    }
}

static void sync_folder(struct save *s)
{
    char *folder = strdup(s->path), *slash = strrchr(folder, '/');
    if (slash != NULL) {
        slash[slash == folder] = '\0';
    }
    int fd = open(slash == NULL ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        save_failed(s, "could not sync the snapshot's folder", errno);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(folder);
}

static void finish_file(struct save *s)
{
    if (s->error == NULL) {
        write_out(s, s->waiting.len);
    }
    if (s->error == NULL && fsync(s->file) != 0) {
        save_failed(s, "could not sync snapshot", errno);
    }
    if (close(s->file) != 0) {
        save_failed(s, "could not close snapshot", errno);
    }
    if (s->error == NULL && rename(s->part, s->path) != 0) {
        s->error =
            arena_printf(&s->session->call->arena, "could not rename %s to %s (%s)", s->part, s->path, strerror(errno));
    }
    if (s->error != NULL) {
        unlink(s->part);
        return;
    }
    sync_folder(s);
}

static void fetch(struct save *s)
{
    static const struct client_handler handler = {.on_headers = on_headers, .on_message = on_message, .on_end = on_end};
    const struct session *session = s->session;
    /* Without --command-timeout on the command line a backup takes the time that it takes. */
    const struct client_call_options options = {
        .state = s, .timeout_ms = cli_given(session->call, "command-timeout") ? session->timeout_ms : 0};
    struct client_call *call = client_open(session->client, MAINTENANCE_SNAPSHOT, &handler, &options);
    client_send(call, bytes_of("", 0));
    client_half_close(call);
    while (!s->done) {
        loop_step(client_loop(session->client), -1);
    }
}

static const char *save(struct save *s)
{
    struct arena *arena = &s->session->call->arena;
    s->part = arena_printf(arena, "%s.part", s->path);
    unlink(s->part);
    s->file = open(s->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (s->file < 0) {
        return arena_printf(arena, "could not open %s (open %s: %s)", s->part, s->part, words(s, errno));
    }
    log_info("created temporary db file", log_str("path", s->part));
    uint64_t begun_ns = loop_clock_ns();
    s->digest = EVP_MD_CTX_new();
    EVP_DigestInit_ex(s->digest, EVP_sha256(), NULL);
    fetch(s);
    check_checksum(s);
    uint64_t bytes = s->bytes;
    finish_file(s);
    EVP_MD_CTX_free(s->digest);
    buffer_free(&s->waiting);
    if (s->error == NULL) {
        log_info("fetched snapshot", log_str("endpoint", s->session->endpoints[0]),
                 log_str("size", printer_bytes(arena, bytes)), log_duration("took", loop_clock_ns() - begun_ns),
                 log_str("etcd-version", s->version));
        log_info("saved", log_str("path", s->path));
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
    struct save s = {.session = &session, .path = call->args[0]};
    const char *error = save(&s);
    if (error != NULL) {
        return session_end(&session, cli_fail(CLI_INTERRUPTED, "%s", error));
    }
    printf("Snapshot saved at %s\n", s.path);
    if (s.version[0] != '\0') {
        printf("Server version %s\n", s.version);
    }
    return session_end(&session, CLI_OK);
}
