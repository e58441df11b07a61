#include "cmd/kedgeutl/formats.h"
#include <stdio.h>

int formats_find(struct cli_call *call, enum print_format *format)
{
    if (!printer_find_format(cli_string(call, "write-out"), format)) {
        return cli_fail(CLI_BAD_FEATURE, "unsupported output format");
    }
    if (*format == PRINT_PROTOBUF) {
        return cli_fail(CLI_BAD_FEATURE, "protobuf not supported as output format");
    }
    return CLI_OK;
}

const char *formats_errno(struct cli_call *call, int error_number)
{
    char *text = arena_printf(&call->arena, "%s", strerror(error_number));
    text[0] = (char)(text[0] | 0x20);
    return text;
}

void formats_print(const struct table *table, enum print_format format)
{
    struct buffer out = {0};
    if (format == PRINT_TABLE) {
        table_print(table, &out);
    } else {
        table_print_plain(table, &out);
    }
    fwrite(out.data, 1, out.len, stdout);
    buffer_free(&out);
}
