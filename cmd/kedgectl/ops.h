/* Requests from arguments: what put, get and del mean, on the command line and in the lines of a transaction. */
#ifndef CMD_KEDGECTL_OPS_H
#define CMD_KEDGECTL_OPS_H

#include "cmd/cli.h"
#include "kv/rpc.pb-c.h"
#include <stdio.h>

/* Each fills the request (in the call's arena) from the call's flags and arguments. 0, or the exit status after a
 * message. */
int ops_get(struct cli_call *call, Etcdserverpb__RangeRequest *out);
/* A value that is not given is read from `input`; NULL = that is an error. */
int ops_put(struct cli_call *call, FILE *input, Etcdserverpb__PutRequest *out);
int ops_delete(struct cli_call *call, Etcdserverpb__DeleteRangeRequest *out);

/* --consistency: "l" or "s". 0, or the exit status after a message. */
int ops_consistency(const struct cli_call *call, bool *serializable);

/* The end of the range of all keys that begin with the prefix: "\0" when there is none. */
ProtobufCBinaryData ops_prefix_end(struct arena *arena, ProtobufCBinaryData prefix);

/* The words of a line. texts: as C strings, of which those with zeros inside end too early; bytes: all of each. */
struct ops_words {
    char **texts; /* NULL-terminated */
    struct bytes *bytes;
    int count;
};

/* Splits a line into words: "double quoted" with Go's escapes, 'single quoted', or up to the next space. False when a
 * double quoted word is malformed. */
bool ops_split(struct arena *arena, const char *line, struct ops_words *out);
/* Go's strconv.Unquote of a text in double quotes or backquotes at *cursor, which moves behind it. */
bool ops_unquote(struct arena *arena, const char **cursor, struct bytes *out);

/* One line of the list of compares: mod("key") > "0". 0, or an exit status after a message. */
int ops_compare(struct arena *arena, const char *line, Etcdserverpb__Compare *out);
/* One line of the lists of operations: put, get or del with their flags. */
int ops_request(struct cli_call *call, const char *line, Etcdserverpb__RequestOp *out);

#endif
