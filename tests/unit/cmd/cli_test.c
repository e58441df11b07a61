/* The command line's syntax, with a small table of its own. What is made from the tables of the real programs:
 * cli_text_test.c. */
#include "cmd/cli.h"
#include "cmd/kedgectl/verbs.h"
#include "cmd/kedgectl/watch_args.h"
#include "tests/support/captured.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

/* --- a program to try it with ------------------------------------------------------------------------------------- */

static struct {
    bool ran;
    bool flag;
    int64_t number;
    char text[64], args[256], list[256];
} seen;

static void append(char *list, size_t size, const char *item)
{
    size_t len = strlen(list);
    snprintf(list + len, size - len, "%s;", item);
}

static int run_do(struct cli_call *call)
{
    seen.ran = true;
    if (!cli_take_variables(call, NULL) || !cli_check_later(call)) {
        return CLI_ERROR;
    }
    seen.flag = cli_bool(call, "flag");
    seen.number = cli_number(call, "number");
    snprintf(seen.text, sizeof seen.text, "%s", cli_string(call, "text"));
    for (const char *const *item = cli_strings(call, "list"); *item != NULL; item++) {
        append(seen.list, sizeof seen.list, *item);
    }
    for (int i = 0; i < call->arg_count; i++) {
        append(seen.args, sizeof seen.args, call->args[i]);
    }
    return CLI_OK;
}

static int run_need(struct cli_call *call)
{
    int status = cli_require(call, (const char *const[]){"number", NULL});
    return status != 0 ? status : cli_expect_args(call, 1);
}

static const struct cli_flag globals[] = {
    {"text", 't', CLI_STRING, "none", NULL, false, "a text"},
    {"list", 0, CLI_STRINGS, "a,b", NULL, false, "texts"},
    {"future", 0, CLI_STRING, "", NULL, true, "not yet"},
    {0},
};
static const struct cli_flag do_flags[] = {
    {"flag", 'f', CLI_BOOL, "false", NULL, false, "a switch"},
    {"number", 'n', CLI_INT64, "7", "1|2|3", false, "a number"},
    {0},
};
static const struct cli_command commands[] = {
    {"do", "Group", "<what>", "Does it", NULL, do_flags, false, false, false, run_do},
    {"dash", "Group", "", "Runs", NULL, do_flags, false, false, false, run_do},
    {"sub", "Group", "", "A group", NULL, NULL, false, false, false, NULL},
    {"sub do", NULL, "", "Does it too", NULL, do_flags, false, false, false, run_do},
    {"need", "Group", "", "Needs things", NULL, do_flags, false, false, false, run_need},
    {"later", "Group", "", "Will do it", "It comes with the rest.", do_flags, false, false, true, NULL},
};
static const struct cli_program program = {"prog", "etcdprog", "A program.", "PROG", globals, commands, 6, false};
static const struct cli_program *current = &program;

static char output[65536];

static int run_env(char **argv, char **env)
{
    int argc = 0;
    struct captured captured;
    while (argv[argc] != NULL) {
        argc++;
    }
    captured_begin(&captured);
    memset(&seen, 0, sizeof seen);
    int status = cli_main(current, argc, argv, env);
    captured_end(&captured, output, sizeof output);
    return status;
}

#define RUN(...) run_env((char *[]){"prog", __VA_ARGS__, NULL}, (char *[]){NULL})

static void expect_output(const char *text)
{
    if (strstr(output, text) == NULL) {
        fail_msg("expected \"%s\" in:\n%s", text, output);
    }
}

static void test_flags_may_stand_anywhere_and_in_all_forms(void **state)
{
    (void)state;
    assert_int_equal(RUN("--text", "x", "do", "one", "-f", "two", "--number=-0x10", "--", "-n", "--"), 0);
    assert_string_equal(seen.text, "x");
    assert_true(seen.flag);
    assert_int_equal(seen.number, -16);
    assert_string_equal(seen.args, "one;two;-n;--;");
    assert_string_equal(seen.list, "a;b;");
    assert_int_equal(RUN("do", "-fn3", "-t=y", "--flag=false", "--list=c", "--list", "d,e", "-"), 0);
    assert_false(seen.flag);
    assert_int_equal(seen.number, 3);
    assert_string_equal(seen.text, "y");
    assert_string_equal(seen.list, "c;d;e;");
    assert_string_equal(seen.args, "-;");
    assert_int_equal(RUN("do", "--list=\"c\",\"d,e\",\"f\"\"g\",\"\",h", "--list="), 0);
    assert_string_equal(seen.list, "c;d,e;f\"g;;h;");
    assert_int_equal(RUN("do", "--list="), 0);
    assert_string_equal(seen.list, "");
    assert_int_equal(RUN("do", "--list=,c,\nd"), 0);
    assert_string_equal(seen.list, ";c;;");
    assert_int_equal(RUN("-t", "do", "do"), 0);
    assert_string_equal(seen.text, "do");
}

static void test_bad_flags_are_told_in_cobra_s_words(void **state)
{
    (void)state;
    static char *const cases[][3] = {
        {"--nosuch", "--", "Error: unknown flag: --nosuch\nUsage:\n"},
        {"-fx", "--", "Error: unknown shorthand flag: 'x' in -fx\n"},
        {"--number=x", "--", "Error: invalid argument \"x\" for \"-n, --number\" flag: strconv.ParseInt: parsing"},
        {"--flag=maybe", "--", "invalid argument \"maybe\" for \"-f, --flag\" flag: strconv.ParseBool: parsing"},
        {"--list=1", "--text", "Error: flag needs an argument: --text\n"},
        {"--list=1", "-fn", "Error: flag needs an argument: 'n' in -fn\n"},
        {"--=1", "--", "Error: bad flag syntax: --=1\n"},
        {"--list=a\"b", "--", "--list\" flag: parse error on line 1, column 2: bare \" in non-quoted-field\n"},
        {"--list=\"ab", "--",
         "--list\" flag: parse error on line 1, column 4: extraneous or missing \" in quoted-field\n"},
        {"--list=\"a\"b", "--", "--list\" flag: parse error on line 1, column 3: extraneous or missing \" in"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(RUN("do", cases[i][0], cases[i][1]), CLI_ERROR);
        assert_false(seen.ran);
        expect_output(cases[i][2]);
    }
}

static void test_commands_are_known_by_a_unique_beginning(void **state)
{
    (void)state;
    assert_int_equal(RUN("da"), 0);
    assert_true(seen.ran);
    assert_int_equal(RUN("s", "d"), 0);
    assert_true(seen.ran);
    assert_int_equal(RUN("d"), CLI_ERROR); /* do or dash */
    expect_output("Error: unknown command \"d\" for \"prog\"");
    assert_int_equal(RUN("dos"), CLI_ERROR);
    expect_output("Did you mean this?\n\tdo\n");
    expect_output("Run 'prog --help' for usage.");
    assert_int_equal(RUN("sub", "nosuch"), 0); /* a group explains itself */
    expect_output("prog sub [command]");
}

/* As etcdutl does it: cobra tells the error, and the program tells it again. */
static void test_a_program_may_tell_what_is_wrong_twice(void **state)
{
    (void)state;
    struct cli_program twice = program;
    twice.repeats_errors = true;
    current = &twice;
    assert_int_equal(RUN("nosuch"), CLI_ERROR);
    assert_string_equal(output, "Error: unknown command \"nosuch\" for \"prog\"\nRun 'prog --help' for usage.\n"
                                "Error: unknown command \"nosuch\" for \"prog\"\n");
    assert_int_equal(RUN("do", "--nosuch"), CLI_ERROR);
    expect_output("Error: unknown flag: --nosuch\nUsage:\n  prog do <what> [flags]\n");
    expect_output("\n\nError: unknown flag: --nosuch\n");
    current = &program;
}

static void test_flags_and_arguments_that_are_needed_are_named(void **state)
{
    (void)state;
    assert_int_equal(RUN("need", "--number=1", "x"), CLI_OK);
    assert_int_equal(RUN("need"), CLI_ERROR);
    expect_output("Error: required flag(s) \"number\" not set\nUsage:\n  prog need [flags]\n");
    assert_int_equal(RUN("need", "--number=1"), CLI_ERROR);
    expect_output("Error: accepts 1 arg(s), received 0\nUsage:\n");
}

static void test_what_is_not_there_yet_is_refused_by_name(void **state)
{
    (void)state;
    assert_int_equal(RUN("later", "--any", "thing"), CLI_BAD_FEATURE);
    expect_output("Error: prog later: not supported by kedge yet. It comes with the rest.\n");
    assert_int_equal(RUN("later", "--flag", "--help"), 0); /* but what it will be can be asked for */
    expect_output("Will do it\n\nIt comes with the rest.\n\nNot supported by kedge yet.\n\nUsage:\n");
    assert_int_equal(RUN("do", "--future=x"), CLI_ERROR);
    expect_output("Error: --future: not supported by kedge yet");
    assert_int_equal(RUN("do", "--future="), 0);
}

static void test_variables_stand_in_for_inherited_flags_only(void **state)
{
    (void)state;
    char *argv[] = {"prog", "do", NULL}, *given[] = {"prog", "do", "--text=a", NULL};
    assert_int_equal(run_env(argv, (char *[]){"PROG_TEXT=b", "PROG_NUMBER=1", "OTHER_TEXT=c", NULL}), 0);
    assert_string_equal(seen.text, "b");
    assert_int_equal(seen.number, 7);
    expect_output("\"environment-variable\":\"PROG_NUMBER=1\"");
    assert_int_equal(run_env(given, (char *[]){"PROG_TEXT=b", NULL}), CLI_ERROR);
    expect_output("conflicting environment variable is shadowed");
    assert_int_equal(run_env(argv, (char *[]){"PROG_FUTURE=b", NULL}), CLI_ERROR);
    expect_output("--future: not supported by kedge yet");
}

static void test_texts_have_the_name_that_the_program_was_called_by(void **state)
{
    (void)state;
    char *argv[] = {"/usr/bin/etcdprog", "nosuch", NULL};
    assert_int_equal(run_env(argv, (char *[]){NULL}), CLI_ERROR);
    expect_output("Error: unknown command \"nosuch\" for \"etcdprog\"");
    argv[0] = "/usr/bin/another";
    assert_int_equal(run_env(argv, (char *[]){NULL}), CLI_ERROR);
    expect_output("Error: unknown command \"nosuch\" for \"prog\"");
}

static void test_help_is_asked_for_in_two_ways(void **state)
{
    (void)state;
    assert_int_equal(RUN("do", "--help"), 0);
    assert_false(seen.ran);
    expect_output("Does it\n\nUsage:\n  prog do <what> [flags]\n\nFlags:\n  -f, --flag         a switch\n");
    assert_int_equal(RUN("-h"), 0);
    expect_output("Group:\n  do          Does it\n");
}

/* --- watch's arguments -------------------------------------------------------------------------------------------- */

static const char *watch_line(struct cli_call *call, char **words, struct watch_args *out)
{
    int count = 0;
    bool fatal;
    while (words[count] != NULL) {
        count++;
    }
    *out = (struct watch_args){0};
    return watch_args_of_line(call, count, words, out, &fatal);
}

#define LINE(...) watch_line(&call, (char *[]){"watch", __VA_ARGS__, NULL}, &args)

static void test_watch_takes_key_range_flags_and_a_command(void **state)
{
    (void)state;
    char *none[] = {NULL}, *key[] = {"ETCDCTL_WATCH_KEY=k", "ETCDCTL_WATCH_RANGE_END=z", NULL};
    struct cli_call call = {.program = &kedgectl, .env = none};
    struct watch_args args;
    assert_null(LINE("a", "b", "--rev", "5", "--prev-kv", "--", "echo", "-n"));
    assert_true(bytes_equal(args.key, bytes_str("a")));
    assert_true(bytes_equal(args.range_end, bytes_str("b")));
    assert_int_equal(args.revision, 5);
    assert_true(args.prev_kv);
    assert_string_equal(args.command[0], "echo");
    assert_string_equal(args.command[1], "-n");
    assert_string_equal(LINE("a", "--"), "bad number of arguments (found separator --, but no commands)");
    assert_string_equal(LINE("--prefix"), "bad number of arguments");
    assert_string_equal(LINE("a", "b", "--prefix"), "`range_end` and `--prefix` are mutually exclusive");
    assert_string_equal(LINE("a", "--nosuch"), "unknown flag: --nosuch");
    call.env = key;
    assert_string_equal(LINE("a"), "bad number of arguments (found conflicting environment key)");
    assert_null(LINE("--rev=1", "--", "echo"));
    assert_true(bytes_equal(args.key, bytes_str("k")));
    assert_true(bytes_equal(args.range_end, bytes_str("z")));
    assert_null(LINE("--rev=1"));
    call.env = none;
    struct bytes words[] = {bytes_str("watch"), {(const uint8_t *)"a\0b", 3}, {(const uint8_t *)"\0", 1}};
    call.words = words;
    call.word_count = 3;
    char *texts[] = {(char *)(uintptr_t)words[0].data, (char *)(uintptr_t)words[1].data,
                     (char *)(uintptr_t)words[2].data, NULL};
    assert_null(watch_line(&call, texts, &args));
    assert_true(bytes_equal(args.key, words[1]));
    assert_true(bytes_equal(args.range_end, words[2]));
    arena_free(&call.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags_may_stand_anywhere_and_in_all_forms),
        cmocka_unit_test(test_bad_flags_are_told_in_cobra_s_words),
        cmocka_unit_test(test_commands_are_known_by_a_unique_beginning),
        cmocka_unit_test(test_a_program_may_tell_what_is_wrong_twice),
        cmocka_unit_test(test_flags_and_arguments_that_are_needed_are_named),
        cmocka_unit_test(test_what_is_not_there_yet_is_refused_by_name),
        cmocka_unit_test(test_variables_stand_in_for_inherited_flags_only),
        cmocka_unit_test(test_texts_have_the_name_that_the_program_was_called_by),
        cmocka_unit_test(test_help_is_asked_for_in_two_ways),
        cmocka_unit_test(test_watch_takes_key_range_flags_and_a_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
