/* Command line tools as data: one table of commands and flags from which parsing, usage, shell completion and
 * documentation come. The syntax is that of etcdctl (pflag and cobra): "--name value", "--name=value", "-n value",
 * flags anywhere, "--" ends them, a unique beginning of a command's name is enough.
 *
 * A command or flag that the program knows from etcd but does not have yet is refused by its name. */
#ifndef CMD_CLI_H
#define CMD_CLI_H

#include "base/arena.h"
#include "base/bytes.h"

/* etcd's exit statuses (pkg/cobrautl). */
enum cli_exit {
    CLI_OK = 0,
    CLI_ERROR = 1,
    CLI_BAD_CONNECTION = 2,
    CLI_INVALID_INPUT = 3,
    CLI_BAD_FEATURE = 4,
    CLI_INTERRUPTED = 5,
    CLI_BAD_ARGS = 128,
};

enum cli_type { CLI_BOOL, CLI_STRING, CLI_STRINGS, CLI_INT, CLI_INT64, CLI_UINT, CLI_UINT64, CLI_DURATION };

struct cli_flag {
    const char *name; /* NULL ends a list */
    char shorthand;   /* 0 = none */
    enum cli_type type;
    const char *preset;
    const char *allowed; /* "a|b", for completion and documentation; NULL = anything */
    bool later;          /* only the default is accepted so far */
    const char *help;
};

struct cli_call;
typedef int cli_run(struct cli_call *call); /* returns the exit status */

/* A command that is not there yet (`later`) tells in `about` when it comes. */
struct cli_command {
    const char *path;  /* "lease grant" */
    const char *group; /* heading of commands without a parent */
    const char *args;  /* "<key> [range_end]", "" = none */
    const char *brief;
    const char *about;            /* more, or NULL */
    const struct cli_flag *flags; /* or NULL */
    bool pass_flags;              /* the flags also belong to the commands below */
    bool hidden;
    bool later;   /* known from etcd, refused by its name so far */
    cli_run *run; /* NULL: a group of commands, or not there yet */
};

struct cli_program {
    const char *name;
    const char *other_name; /* etcd's: used in all texts when the program is called by it */
    const char *brief;
    const char *variables; /* prefix of the variables of flags: "ETCDCTL"; NULL = none */
    const struct cli_flag *globals;
    const struct cli_command *commands;
    size_t command_count;
    bool repeats_errors; /* what is wrong with the command line is told once more at the end, as etcdutl does */
};

struct cli_value {
    const struct cli_flag *flag;
    bool inherited; /* a global flag, or one of a command above: may come from a variable */
    bool given;     /* on the command line */
    const char *text;
    bool truth;
    int64_t number; /* also nanoseconds */
    uint64_t natural;
    const char **items; /* NULL-terminated */
    size_t item_count;
};

struct cli_call {
    struct arena arena; /* for everything that lives as long as the program's one command */
    const struct cli_program *program;
    const struct cli_command *command;
    struct cli_value *values;
    size_t value_count;
    char **args; /* what is no flag, after the command's name; NULL-terminated */
    int arg_count;
    const struct bytes *words; /* what args point into, if some of it may have zeros inside; else NULL */
    int word_count;
    int all_count; /* the program's own argc and argv */
    char **all;
    char **env;
};

/* The whole program: finds the command, parses its flags, runs it. Returns the exit status. */
int cli_main(const struct cli_program *program, int argc, char **argv, char **env);

/* Flags of the running command; the name must be one of its own or inherited ones. */
bool cli_bool(const struct cli_call *call, const char *name);
const char *cli_string(const struct cli_call *call, const char *name);
bool cli_given(const struct cli_call *call, const char *name);     /* on the command line */
int64_t cli_number(const struct cli_call *call, const char *name); /* numbers, nanoseconds of durations */
const char *const *cli_strings(const struct cli_call *call, const char *name);
/* args[place], with all its bytes. */
struct bytes cli_arg(const struct cli_call *call, int place);

/* Takes inherited flags that were not given from their variables (ETCDCTL_WRITE_OUT=json), warns of unknown ones but
 * `known` (NULL-terminated, may be NULL). False after a message when a variable is shadowed by a flag. */
bool cli_take_variables(struct cli_call *call, const char *const *known);
/* Refuses, by name, inherited flags that the program does not have yet. False after a message. */
bool cli_check_later(const struct cli_call *call);

/* Parses the arguments of one command outside of the program's own (a line of txn or watch). On failure *error has
 * cobra's text. argv begins with the first argument after the command's name. */
bool cli_parse(struct cli_call *call, const struct cli_command *command, int argc, char **argv, const char **error);
const struct cli_command *cli_find(const struct cli_program *program, const char *path);

/* "Error: ..." on stderr; returns the status. */
int cli_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a command line that is wrong, in cobra's form: with the command's usage behind it. Returns CLI_ERROR. */
int cli_fail_usage(const struct cli_call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Were these flags given (names in the order of the alphabet, NULL-terminated)? 0, or the exit status after a message.
 */
int cli_require(const struct cli_call *call, const char *const *names);
/* Has the command so many arguments? 0, or the exit status after cobra's message. */
int cli_expect_args(const struct cli_call *call, int count);

/* --- what else comes from the table ------------------------------------------------------------------------------- */

void cli_print_usage(const struct cli_program *program, const struct cli_command *command, struct buffer *out);
void cli_print_help(const struct cli_program *program, const struct cli_command *command, struct buffer *out);
void cli_print_globals(const struct cli_program *program, struct buffer *out); /* "options" */
void cli_print_markdown(const struct cli_program *program, struct buffer *out);
void cli_print_man(const struct cli_program *program, struct buffer *out);
/* The script that completes command lines in "bash", "zsh", "fish" or "powershell". False = no such shell. */
bool cli_print_completion(const struct cli_program *program, const char *shell, struct buffer *out);

/* Candidates for the last word, one a line (with a tab and what it is, if asked for), then ":" and cobra's directive:
 */
enum cli_directive {
    CLI_COMPLETE_FILES = 0,    /* file names, if there are no candidates */
    CLI_COMPLETE_NO_FILES = 4, /* never */
};
void cli_complete(const struct cli_program *program, int count, char **words, bool described, struct buffer *out);

/* The commands that every program has: help, options, completion, __complete, __completeNoDesc, __markdown. */
cli_run cli_run_help, cli_run_options, cli_run_completion, cli_run_complete, cli_run_markdown;

/* For the files of cmd/cli_*.c: the command's parent ("lease" of "lease grant"), NULL for those without; the last word
 * of its path; is b's path directly below a's (a NULL = the program itself)? */
const struct cli_command *cli_child(const struct cli_program *program, const struct cli_command *parent,
                                    const char *word); /* by its name, or a beginning that no other has; or NULL */
const struct cli_command *cli_parent(const struct cli_program *program, const struct cli_command *command);
const char *cli_name(const struct cli_command *command);
bool cli_is_child(const struct cli_command *a, const struct cli_command *b);
/* Tells that there is no such command, and what may have been meant. Returns the exit status. */
int cli_fail_unknown(const struct cli_program *program, const char *word);
/* Gives a flag's value its text, parsed. NULL, or Go's text of what is wrong with it. */
const char *cli_assign(struct arena *arena, struct cli_value *value, const char *text);

#endif
