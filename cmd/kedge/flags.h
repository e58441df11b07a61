/* The flags of the server as data: one table from which parsing, variables and the usage text come.
 *
 * The table has every flag of etcd 3.7.1. One that kedge does not have yet is refused by its name, unless it is given
 * the value that it has anyway: a flag is never ignored, except those that etcd ignores itself. */
#ifndef CMD_KEDGE_FLAGS_H
#define CMD_KEDGE_FLAGS_H

#include "cmd/kedge/config.h"

enum flag_type {
    FLAG_STRING,
    FLAG_BOOL,
    FLAG_INT, /* 64 bits, as in Go */
    FLAG_UINT,
    FLAG_UINT32,
    FLAG_DURATION,
    FLAG_URLS,    /* URLs separated by commas; empty = none */
    FLAG_ORIGINS, /* the same, "*" allowed */
    FLAG_STRINGS, /* texts separated by commas */
    FLAG_ENUM,    /* one of `allowed` */
    FLAG_ENUMS,   /* some of `allowed` */
    FLAG_GATES,   /* Name=bool,... */
    FLAG_IGNORED, /* takes anything, like a bool without meaning */
};

enum flag_state {
    FLAG_WORKS,
    FLAG_LATER, /* known, but only its default is accepted */
    FLAG_MUTE,  /* accepted without effect, as in etcd */
    FLAG_OWN,   /* not etcd's: its variable begins with KEDGE_ */
};

struct flag_info {
    const char *name;
    enum flag_type type;
    enum flag_state state;
    const char *preset;  /* the default as text */
    const char *allowed; /* "a|b" for enums */
    size_t field;        /* offset in struct config; FLAG_NO_FIELD where nothing is stored */
    const char *section; /* heading in the usage text; NULL = not shown */
    const char *help;
};
#define FLAG_NO_FIELD ((size_t)-1)

extern const struct flag_info flag_table[];
extern const size_t flag_count;

const struct flag_info *flags_find(const char *name, size_t len);
/* "ETCD_LISTEN_CLIENT_URLS" */
const char *flags_variable(struct arena *arena, const struct flag_info *flag);

/* Stores the flag's value in the config. NULL, or what is wrong with it (package flag's or etcd's text). A flag of
 * state FLAG_LATER answers FLAG_UNSUPPORTED to everything but its default. */
extern const char FLAG_UNSUPPORTED[];
const char *flags_set(struct config *c, const struct flag_info *flag, const char *text);
/* Gives every field its flag's default. */
void flags_set_defaults(struct config *c);

/* Which flags argv set, by their place in the table. */
struct flags_given {
    bool *set; /* flag_count long, in the config's arena */
    bool help;
};

/* Go's flag syntax: -name value, --name=value, a bool needs "=". 0; 2 after a message on stderr; 1 for an argument that
 * is no flag (message in *error). */
int flags_parse(struct config *c, int argc, char **argv, struct flags_given *given, const char **error);

/* Takes the variables of flags that argv did not set. NULL, or the error; conflicts and unknown variables are logged,
 * *conflict is set for the former. */
const char *flags_from_environment(struct config *c, char **env, struct flags_given *given, bool *conflict);

void flags_print_usage(struct buffer *out);    /* the short form, for stderr */
void flags_print_help(struct buffer *out);     /* every flag */
void flags_print_markdown(struct buffer *out); /* docs/kedge.md */
void flags_print_man(struct buffer *out);      /* the manual page */

#endif
