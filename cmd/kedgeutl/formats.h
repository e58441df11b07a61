/* What the commands of kedgeutl share: formats, and a store that nobody may be using. */
#ifndef CMD_KEDGEUTL_FORMATS_H
#define CMD_KEDGEUTL_FORMATS_H

#include "cmd/cli.h"
#include "cmd/kedgectl/printer.h"
#include "cmd/kedgectl/table.h"

/* --write-out, for a command that has all formats but protobuf. CLI_OK, or the exit status after a message. */
int formats_find(struct cli_call *call, enum print_format *format);
/* "no such file or directory": the system's words as Go has them. In the call's arena. */
const char *formats_errno(struct cli_call *call, int error_number);
/* A table on stdout, in format simple or table. */
void formats_print(const struct table *table, enum print_format format);

#endif
