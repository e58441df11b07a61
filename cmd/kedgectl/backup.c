/* backup list, now, verify, status: kedge's own commands over kedgepb.Backup. */
#include "base/gojson.h"
#include "base/gotext.h"
#include "base/pb.h"
#include "cmd/kedgectl/json.h"
#include "cmd/kedgectl/session.h"
#include "cmd/kedgectl/table.h"
#include "cmd/kedgectl/verbs.h"
#include "grpc/backup.pb-c.h"
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define BACKUP_LIST "/kedgepb.Backup/List"
#define BACKUP_NOW "/kedgepb.Backup/Now"
#define BACKUP_VERIFY "/kedgepb.Backup/Verify"
#define BACKUP_STATUS "/kedgepb.Backup/Status"

static const char *moment(struct arena *arena, int64_t time_s)
{
    time_t at = (time_t)time_s;
    struct tm tm;
    char text[32];
    if (time_s == 0 || gmtime_r(&at, &tm) == NULL) {
        return "";
    }
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return arena_printf(arena, "%s", text);
}

/* --- backups as rows --- */

static struct table note_table(struct arena *arena)
{
    static const char *const headings[] = {"name",        "time",    "revision", "hash", "size",
                                           "stored size", "version", "member",   "state"};
    return (struct table){.columns = 9, .headings = headings, .arena = arena};
}

static void note_row(struct table *table, const Kedgepb__BackupNote *note)
{
    const char **row = table_row(table);
    row[0] = note->name;
    row[1] = moment(table->arena, note->time);
    row[2] = arena_printf(table->arena, "%" PRId64, note->revision);
    row[3] = arena_printf(table->arena, "%x", note->hash);
    row[4] = printer_bytes(table->arena, note->size);
    row[5] = printer_bytes(table->arena, note->stored_size);
    row[6] = note->version;
    row[7] = note->member;
    row[8] = *note->damage == '\0' ? "good" : note->damage;
}

static void print_rows(struct printer *p, const struct table *table)
{
    if (p->format == PRINT_TABLE) {
        table_print(table, &p->out);
    } else {
        table_print_plain(table, &p->out);
    }
}

/* --- as fields --- */

static void field_text(struct printer *p, const char *name, const char *text)
{
    buffer_printf(&p->out, "\"%s\" : %s\n", name, gotext_quoted(p->arena, text));
}

static void fields_header(struct printer *p, const Etcdserverpb__ResponseHeader *h)
{
    if (h != NULL) {
        buffer_printf(&p->out, "\"ClusterID\" : %" PRIu64 "\n\"MemberID\" : %" PRIu64 "\n", h->cluster_id,
                      h->member_id);
        buffer_printf(&p->out, "\"Revision\" : %" PRId64 "\n\"RaftTerm\" : %" PRIu64 "\n", h->revision, h->raft_term);
    }
}

static void fields_note(struct printer *p, const Kedgepb__BackupNote *note)
{
    field_text(p, "Name", note->name);
    buffer_printf(&p->out, "\"Time\" : %" PRId64 "\n\"Slot\" : %" PRId64 "\n", note->time, note->slot);
    buffer_printf(&p->out, "\"Revision\" : %" PRId64 "\n\"Hash\" : %" PRIu32 "\n", note->revision, note->hash);
    buffer_printf(&p->out, "\"Size\" : %" PRIu64 "\n\"StoredSize\" : %" PRIu64 "\n", note->size, note->stored_size);
    field_text(p, "Version", note->version);
    field_text(p, "Compress", note->compress);
    field_text(p, "Member", note->member);
    buffer_printf(&p->out, "\"MemberID\" : %" PRIu64 "\n\"ClusterID\" : %" PRIu64 "\n", note->member_id,
                  note->cluster_id);
    buffer_printf(&p->out, "\"DurationMs\" : %" PRIu64 "\n", note->duration_ms);
    field_text(p, "Damage", note->damage);
}

static void print_json(struct printer *p, const ProtobufCMessage *message)
{
    json_message(&p->out, message);
    buffer_append(&p->out, "\n", 1);
}

/* --- list --- */

static int print_list(struct printer *p, const Kedgepb__BackupListResponse *r)
{
    struct table table = note_table(p->arena);
    switch (p->format) {
    case PRINT_JSON:
        print_json(p, &r->base);
        return CLI_OK;
    case PRINT_PROTOBUF:
        pb_append(&p->out, &r->base);
        return CLI_OK;
    case PRINT_FIELDS:
        fields_header(p, r->header);
        for (size_t i = 0; i < r->n_backups; i++) {
            fields_note(p, r->backups[i]);
        }
        return CLI_OK;
    default:
        for (size_t i = 0; i < r->n_backups; i++) {
            note_row(&table, r->backups[i]);
        }
        print_rows(p, &table);
        return CLI_OK;
    }
}

/* One question to the first endpoint that answers; what takes long takes as long as it takes, unless --command-timeout
 * was given. */
static const char *ask(struct session *s, const char *path, bool takes_long, const ProtobufCMessage *request,
                       const ProtobufCMessageDescriptor *type, ProtobufCMessage **response)
{
    uint64_t timeout_ms = takes_long && !cli_given(s->call, "command-timeout") ? 0 : s->timeout_ms;
    struct session_call what = {path, !takes_long, timeout_ms};
    return session_unary(s, &what, request, type, response);
}

int verb_backup_list(struct cli_call *call)
{
    struct session s;
    Kedgepb__BackupListRequest request = KEDGEPB__BACKUP_LIST_REQUEST__INIT;
    ProtobufCMessage *response;
    if (call->arg_count != 0) {
        return cli_fail(CLI_BAD_ARGS, "backup list command accepts no arguments");
    }
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    const char *error =
        ask(&s, BACKUP_LIST, false, &request.base, &kedgepb__backup_list_response__descriptor, &response);
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "%s", error)
                                         : print_list(&s.printer, (const Kedgepb__BackupListResponse *)response));
}

/* --- now, verify --- */

/* Their answers are alike. done: what was done to it. */
static int print_one(struct printer *p, const char *done, const ProtobufCMessage *message)
{
    const Kedgepb__BackupNowResponse *r = (const Kedgepb__BackupNowResponse *)message;
    struct table table = note_table(p->arena);
    if (r->backup == NULL) {
        return cli_fail(CLI_ERROR, "the answer has no backup");
    }
    switch (p->format) {
    case PRINT_JSON:
        print_json(p, message);
        break;
    case PRINT_PROTOBUF:
        pb_append(&p->out, message);
        break;
    case PRINT_FIELDS:
        fields_header(p, r->header);
        fields_note(p, r->backup);
        break;
    case PRINT_TABLE:
        note_row(&table, r->backup);
        print_rows(p, &table);
        break;
    default:
        buffer_printf(&p->out, "%s %s: revision %" PRId64 ", hash %x, %s, member %s\n", done, r->backup->name,
                      r->backup->revision, r->backup->hash, printer_bytes(p->arena, r->backup->size),
                      r->backup->member);
        break;
    }
    return CLI_OK;
}

int verb_backup_now(struct cli_call *call)
{
    struct session s;
    Kedgepb__BackupNowRequest request = KEDGEPB__BACKUP_NOW_REQUEST__INIT;
    ProtobufCMessage *response;
    if (call->arg_count != 0) {
        return cli_fail(CLI_BAD_ARGS, "backup now command accepts no arguments");
    }
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    const char *error = ask(&s, BACKUP_NOW, true, &request.base, &kedgepb__backup_now_response__descriptor, &response);
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "%s", error) : print_one(&s.printer, "Took", response));
}

int verb_backup_verify(struct cli_call *call)
{
    struct session s;
    Kedgepb__BackupVerifyRequest request = KEDGEPB__BACKUP_VERIFY_REQUEST__INIT;
    ProtobufCMessage *response;
    if (call->arg_count > 1) {
        return cli_fail(CLI_BAD_ARGS, "backup verify command accepts one backup's name, or none for the newest");
    }
    if (call->arg_count == 1) {
        request.name = call->args[0];
    }
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    const char *error =
        ask(&s, BACKUP_VERIFY, true, &request.base, &kedgepb__backup_verify_response__descriptor, &response);
    return session_end(&s,
                       error != NULL ? cli_fail(CLI_ERROR, "%s", error) : print_one(&s.printer, "Verified", response));
}

/* --- status: of each endpoint --- */

struct answer {
    const char *endpoint;
    const Kedgepb__BackupStatusResponse *status;
};

static const char *state_of(const Kedgepb__BackupStatusResponse *r)
{
    if (r->running) {
        return "running";
    }
    if (r->hanging) {
        return "target hangs";
    }
    return *r->target == '\0' ? "no target" : "idle";
}

static void status_row(struct table *table, const struct answer *answer)
{
    const Kedgepb__BackupStatusResponse *r = answer->status;
    const char **row = table_row(table);
    row[0] = answer->endpoint;
    row[1] = r->target;
    row[2] = r->schedule;
    row[3] = state_of(r);
    row[4] = moment(table->arena, r->next);
    row[5] = r->last != NULL ? moment(table->arena, r->last->time) : "";
    row[6] = r->last != NULL ? arena_printf(table->arena, "%" PRId64, r->last->revision) : "";
    row[7] = arena_printf(table->arena, "%" PRIu64, r->failures);
    row[8] = r->last_error;
}

static void status_fields(struct printer *p, const struct answer *answer)
{
    const Kedgepb__BackupStatusResponse *r = answer->status;
    fields_header(p, r->header);
    field_text(p, "Endpoint", answer->endpoint);
    field_text(p, "Target", r->target);
    field_text(p, "Schedule", r->schedule);
    field_text(p, "Keep", r->keep);
    field_text(p, "Compress", r->compress);
    field_text(p, "State", state_of(r));
    buffer_printf(&p->out, "\"Next\" : %" PRId64 "\n\"RunningSince\" : %" PRId64 "\n", r->next, r->running_since);
    buffer_printf(&p->out, "\"Successes\" : %" PRIu64 "\n\"Failures\" : %" PRIu64 "\n", r->successes, r->failures);
    buffer_printf(&p->out, "\"LastFailure\" : %" PRId64 "\n", r->last_failure);
    field_text(p, "LastError", r->last_error);
    if (r->last != NULL) {
        fields_note(p, r->last);
    }
}

static void status_json(struct printer *p, const struct answer *answers, size_t count)
{
    buffer_printf(&p->out, "[");
    for (size_t i = 0; i < count; i++) {
        buffer_printf(&p->out, "%s{\"Endpoint\":", i == 0 ? "" : ",");
        gojson_string(&p->out, bytes_str(answers[i].endpoint));
        buffer_printf(&p->out, ",\"Status\":");
        json_message(&p->out, &answers[i].status->base);
        buffer_printf(&p->out, "}");
    }
    buffer_printf(&p->out, "]\n");
}

static int print_status(struct printer *p, const struct answer *answers, size_t count)
{
    static const char *const headings[] = {"endpoint", "target",   "schedule", "state",     "next",
                                           "last",     "revision", "failures", "last error"};
    struct table table = {.columns = 9, .headings = headings, .arena = p->arena};
    switch (p->format) {
    case PRINT_JSON:
        status_json(p, answers, count);
        return CLI_OK;
    case PRINT_PROTOBUF:
        return cli_fail(CLI_BAD_FEATURE, "protobuf not supported as output format");
    case PRINT_FIELDS:
        for (size_t i = 0; i < count; i++) {
            status_fields(p, &answers[i]);
        }
        return CLI_OK;
    default:
        for (size_t i = 0; i < count; i++) {
            status_row(&table, &answers[i]);
        }
        print_rows(p, &table);
        return CLI_OK;
    }
}

static const char *ask_status(struct session *s, const char *endpoint, struct answer *out)
{
    const char *const one[] = {endpoint, NULL};
    struct client_options options = session_options(s, one);
    struct client *client = client_new(NULL, &options);
    Kedgepb__BackupStatusRequest request = KEDGEPB__BACKUP_STATUS_REQUEST__INIT;
    struct session_call what = {BACKUP_STATUS, true, s->timeout_ms};
    ProtobufCMessage *response;
    const char *error = session_unary_on(s, client, &s->call->arena, &what, &request.base,
                                         &kedgepb__backup_status_response__descriptor, &response);
    *out = (struct answer){.endpoint = endpoint, .status = (const Kedgepb__BackupStatusResponse *)response};
    client_free(client);
    return error;
}

int verb_backup_status(struct cli_call *call)
{
    struct session s;
    size_t count = 0, good = 0;
    if (call->arg_count != 0) {
        return cli_fail(CLI_BAD_ARGS, "backup status command accepts no arguments");
    }
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    while (s.endpoints[count] != NULL) {
        count++;
    }
    struct answer *answers = arena_zalloc(&call->arena, (count + 1) * sizeof *answers);
    for (size_t i = 0; i < count; i++) {
        const char *error = ask_status(&s, s.endpoints[i], &answers[good]);
        if (error == NULL) {
            good++;
        } else {
            fprintf(stderr, "Failed to get the status of endpoint %s (%s)\n", s.endpoints[i], error);
            status = CLI_ERROR;
        }
    }
    int printed = print_status(&s.printer, answers, good);
    return session_end(&s, printed != CLI_OK ? printed : status);
}
