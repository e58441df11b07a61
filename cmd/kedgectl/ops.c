#include "cmd/kedgectl/ops.h"
#include "base/gotext.h"
#include "cmd/kedgectl/session.h"
#include <unistd.h>

static const ProtobufCBinaryData everything = {.len = 1, .data = (uint8_t *)(uintptr_t) "\0"};

ProtobufCBinaryData ops_prefix_end(struct arena *arena, ProtobufCBinaryData prefix)
{
    struct bytes copy = arena_copy(arena, bytes_of(prefix.data, prefix.len));
    uint8_t *end = (uint8_t *)(uintptr_t)copy.data;
    for (size_t i = copy.len; i-- > 0;) {
        if (end[i] < 0xff) {
            end[i]++;
            return (ProtobufCBinaryData){.data = end, .len = i + 1};
        }
    }
    return everything;
}

int ops_consistency(const struct cli_call *call, bool *serializable)
{
    const char *text = cli_string(call, "consistency");
    *serializable = strcmp(text, "s") == 0;
    if (!*serializable && strcmp(text, "l") != 0) {
        return cli_fail(CLI_BAD_FEATURE, "unknown consistency flag \"%s\"", text);
    }
    return 0;
}

/* Key and end of the range from the arguments and --prefix or --from-key. */
static int fill_range(struct cli_call *call, ProtobufCBinaryData *key, ProtobufCBinaryData *end)
{
    bool prefix = cli_bool(call, "prefix"), from_key = cli_bool(call, "from-key");
    *key = session_arg(call, 0);
    if (call->arg_count > 1) {
        if (prefix || from_key) {
            return cli_fail(CLI_BAD_ARGS, "too many arguments, only accept one argument when `--prefix` or "
                                          "`--from-key` is set");
        }
        *end = session_arg(call, 1);
    }
    if (prefix && key->len > 0) {
        *end = ops_prefix_end(&call->arena, *key);
    } else if (prefix || from_key) {
        *end = everything;
        *key = key->len == 0 ? everything : *key;
    }
    return 0;
}

static int check_prefix_flags(const struct cli_call *call)
{
    if (cli_bool(call, "prefix") && cli_bool(call, "from-key")) {
        return cli_fail(CLI_BAD_ARGS, "`--prefix` and `--from-key` cannot be set at the same time, choose one");
    }
    return 0;
}

/* --- get ---------------------------------------------------------------------------------------------------------- */

static int fill_sort(const struct cli_call *call, Etcdserverpb__RangeRequest *out)
{
    static const struct {
        const char *name;
        Etcdserverpb__RangeRequest__SortTarget target;
    } targets[] = {
        {"", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY},
        {"KEY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY},
        {"CREATE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE},
        {"MODIFY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD},
        {"VALUE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE},
        {"VERSION", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION},
    };
    const char *order = cli_string(call, "order"), *sort_by = cli_string(call, "sort-by");
    size_t i = 0, count = sizeof targets / sizeof targets[0];
    if (strcasecmp(order, "ASCEND") == 0) {
        out->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    } else if (strcasecmp(order, "DESCEND") == 0) {
        out->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    } else if (*order != '\0') {
        return cli_fail(CLI_BAD_FEATURE, "bad sort order %s", order);
    }
    while (i < count && strcasecmp(sort_by, targets[i].name) != 0) {
        i++;
    }
    if (i == count) {
        return cli_fail(CLI_BAD_FEATURE, "bad sort target %s", sort_by);
    }
    out->sort_target = targets[i].target;
    /* Keys ascending is how they come anyway; etcd's client leaves that out too. */
    if (out->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY &&
        out->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND) {
        out->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    }
    return 0;
}

static int64_t at_least_zero(int64_t n)
{
    return n > 0 ? n : 0;
}

static int fill_bounds(const struct cli_call *call, Etcdserverpb__RangeRequest *out)
{
    int64_t min_create = cli_number(call, "min-create-rev"), max_create = cli_number(call, "max-create-rev");
    int64_t min_mod = cli_number(call, "min-mod-rev"), max_mod = cli_number(call, "max-mod-rev");
    if (max_create > 0 && min_create > max_create) {
        return cli_fail(CLI_BAD_FEATURE, "getMinCreateRev(=%lld) > getMaxCreateRev(=%lld)", (long long)min_create,
                        (long long)max_create);
    }
    if (max_mod > 0 && min_mod > max_mod) {
        return cli_fail(CLI_BAD_FEATURE, "getMinModRev(=%lld) > getMaxModRev(=%lld)", (long long)min_mod,
                        (long long)max_mod);
    }
    out->min_create_revision = at_least_zero(min_create);
    out->max_create_revision = at_least_zero(max_create);
    out->min_mod_revision = at_least_zero(min_mod);
    out->max_mod_revision = at_least_zero(max_mod);
    return 0;
}

int ops_get(struct cli_call *call, Etcdserverpb__RangeRequest *out)
{
    bool serializable = false;
    etcdserverpb__range_request__init(out);
    if (call->arg_count == 0) {
        return cli_fail(CLI_BAD_ARGS, "get command needs one argument as key and an optional argument as range_end");
    }
    int status = check_prefix_flags(call);
    if (status == 0 && cli_bool(call, "keys-only") && cli_bool(call, "count-only")) {
        status = cli_fail(CLI_BAD_ARGS, "`--keys-only` and `--count-only` cannot be set at the same time, choose one");
    }
    status = status != 0 ? status : ops_consistency(call, &serializable);
    status = status != 0 ? status : fill_range(call, &out->key, &out->range_end);
    status = status != 0 ? status : fill_sort(call, out);
    status = status != 0 ? status : fill_bounds(call, out);
    out->serializable = serializable;
    out->limit = cli_number(call, "limit");
    out->revision = at_least_zero(cli_number(call, "rev"));
    out->keys_only = cli_bool(call, "keys-only");
    out->count_only = cli_bool(call, "count-only");
    return status;
}

/* --- put ---------------------------------------------------------------------------------------------------------- */

static ProtobufCBinaryData read_all(struct arena *arena, FILE *input)
{
    struct buffer text = {0};
    size_t got;
    do {
        uint8_t *room = buffer_reserve(&text, 65536);
        got = fread(room, 1, 65536, input);
        text.len += got;
    } while (got > 0);
    struct bytes copy = arena_copy(arena, buffer_bytes(&text));
    buffer_free(&text);
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)copy.data, .len = copy.len};
}

int ops_put(struct cli_call *call, FILE *input, Etcdserverpb__PutRequest *out)
{
    static const char usage[] = "put command needs 1 argument and input from stdin or 2 arguments";
    etcdserverpb__put_request__init(out);
    out->ignore_value = cli_bool(call, "ignore-value");
    out->ignore_lease = cli_bool(call, "ignore-lease");
    out->prev_kv = cli_bool(call, "prev-kv");
    if (call->arg_count == 0) {
        return cli_fail(CLI_BAD_ARGS, usage);
    }
    out->key = session_arg(call, 0);
    if (out->ignore_value && call->arg_count > 1) {
        return cli_fail(CLI_BAD_ARGS, "put command needs only 1 argument when 'ignore-value' is set");
    }
    if (call->arg_count > 1) {
        out->value = session_arg(call, 1);
    } else if (!out->ignore_value) {
        out->value = input == NULL ? (ProtobufCBinaryData){0} : read_all(&call->arena, input);
        if (out->value.len == 0) {
            return cli_fail(CLI_BAD_ARGS, usage);
        }
    }
    const char *error = gotext_int(&call->arena, cli_string(call, "lease"), 16, 64, &out->lease);
    return error == NULL ? 0 : cli_fail(CLI_BAD_ARGS, "bad lease ID (%s), expecting ID in Hex", error);
}

/* --- del ---------------------------------------------------------------------------------------------------------- */

int ops_delete(struct cli_call *call, Etcdserverpb__DeleteRangeRequest *out)
{
    etcdserverpb__delete_range_request__init(out);
    if (call->arg_count == 0 || call->arg_count > 2) {
        return cli_fail(CLI_BAD_ARGS, "del command needs one argument as key and an optional argument as range_end");
    }
    int status = check_prefix_flags(call);
    status = status != 0 ? status : fill_range(call, &out->key, &out->range_end);
    if (status == 0 && call->arg_count == 2 && !cli_bool(call, "range")) {
        fprintf(stderr,
                "Warning: Keys between %s and %s will be deleted. Please interrupt the command within next 2 seconds "
                "to cancel. You can provide `--range` flag to avoid the delay.\n",
                gotext_quoted(&call->arena, call->args[0]), gotext_quoted(&call->arena, call->args[1]));
        sleep(2);
    }
    out->prev_kv = cli_bool(call, "prev-kv");
    return status;
}
