/* What is made from the tables of kedgectl, kedgeutl and kedge: usage in 80 columns, documentation, manual pages,
 * completion; and that the tables have every command and flag of etcd's tools (tests/data/etcd/etcdctl.tsv,
 * etcdutl.tsv), with the same shorthand, type and default. */
#include "cmd/cli.h"
#include "cmd/cli_list.h"
#include "cmd/kedge/flags.h"
#include "cmd/kedgectl/verbs.h"
#include "cmd/kedgeutl/commands.h"
#include "cmd/wrap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct cli_program *const programs[] = {&kedgectl, &kedgeutl};

enum { PROGRAMS = sizeof programs / sizeof programs[0] };

static bool contains(const struct buffer *text, const char *part)
{
    return memmem(text->data, text->len, part, strlen(part)) != NULL;
}

static void expect_contains(const struct buffer *text, const char *part)
{
    if (!contains(text, part)) {
        fail_msg("expected \"%s\" in:\n%.*s", part, (int)text->len, (const char *)text->data);
    }
}

/* --- usage and help ----------------------------------------------------------------------------------------------- */

static void expect_columns(const struct buffer *text)
{
    const char *line = (const char *)text->data, *end = line + text->len;
    while (line < end) {
        const char *feed = memchr(line, '\n', (size_t)(end - line));
        assert_non_null(feed);
        if (feed - line > WRAP_COLUMNS || (feed > line && feed[-1] == ' ')) {
            fail_msg("longer than %d columns, or with a space at its end: \"%.*s\"", WRAP_COLUMNS, (int)(feed - line),
                     line);
        }
        line = feed + 1;
    }
}

static void test_help_fits_80_columns(void **state)
{
    (void)state;
    for (size_t p = 0; p < PROGRAMS; p++) {
        const struct cli_program *program = programs[p];
        struct buffer text = {0};
        cli_print_help(program, NULL, &text);
        cli_print_globals(program, &text);
        for (size_t i = 0; i < program->command_count; i++) {
            const struct cli_command *command = &program->commands[i];
            cli_print_help(program, command, &text);
        }
        expect_columns(&text);
        buffer_free(&text);
    }
}

/* The server's table has long defaults and long names, alone on their lines: only what is filled is looked at. */
static void test_the_server_s_help_fits_80_columns(void **state)
{
    (void)state;
    struct buffer text = {0};
    flags_print_help(&text);
    for (char *line = strtok((char *)text.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (strncmp(line, "    ", 4) == 0 && strlen(line) > WRAP_COLUMNS) {
            fail_msg("longer than %d columns: \"%s\"", WRAP_COLUMNS, line);
        }
    }
    buffer_free(&text);
}

static void expect_filled(const char *text, const char *filled)
{
    struct buffer out = {0};
    wrap_text(&out, text);
    buffer_append(&out, "", 1);
    assert_string_equal((const char *)out.data, filled);
    buffer_free(&out);
}

static void test_paragraphs_are_filled_and_examples_are_kept(void **state)
{
    (void)state;
    expect_filled("one\ntwo\n\n    an   example\n    of two lines\n\nthree",
                  "one two\n\n    an   example\n    of two lines\n\nthree\n");
    expect_filled("a word of 80 characters is not cut: "
                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa end",
                  "a word of 80 characters is not cut:\n"
                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nend\n");
}

/* Two lines; a terminal may give them out one by one. */
static void read_from_terminal(int master, char *got, size_t cap)
{
    size_t len = 0, lines = 0;
    while (lines < 2 && len + 1 < cap && read(master, got + len, 1) == 1) {
        lines += got[len++] == '\n';
    }
    got[len] = '\0';
}

static void test_only_a_terminal_gets_colours_and_none_with_no_color(void **state)
{
    (void)state;
    int master, slave;
    struct buffer text = {0};
    char got[256];
    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    FILE *terminal = fdopen(slave, "w"), *file = tmpfile();
    buffer_printf(&text, "Flags:\n  --x: a flag\n");
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    assert_true(wrap_coloured(terminal));
    assert_false(wrap_coloured(file));
    wrap_put(terminal, &text);
    fflush(terminal);
    read_from_terminal(master, got, sizeof got);
    assert_string_equal(got, "\033[1mFlags:\033[0m\r\n  --x: a flag\r\n");
    setenv("TERM", "dumb", 1);
    assert_false(wrap_coloured(terminal));
    setenv("TERM", "xterm", 1);
    setenv("NO_COLOR", "1", 1);
    assert_false(wrap_coloured(terminal));
    buffer_free(&text);
    fclose(file);
    fclose(terminal);
    close(master);
}

/* --- etcd's tables ------------------------------------------------------------------------------------------------ */

enum { COL_COMMAND, COL_KIND, COL_NAME, COL_SHORTHAND, COL_TYPE, COL_DEFAULT, COL_COUNT };

static void split_row(char *row, char *columns[COL_COUNT])
{
    for (int i = 0; i < COL_COUNT; i++) {
        columns[i] = row == NULL ? (char *)(uintptr_t) "" : strsep(&row, "\t\n");
    }
}

/* "etcdctl lease grant" -> "lease grant"; "" for the program itself. */
static const char *path_of(const char *command)
{
    const char *space = strchr(command, ' ');
    return space == NULL ? "" : space + 1;
}

static const struct cli_flag *find_flag(const struct cli_flag *flags, const char *name)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        if (strcmp(flags->name, name) == 0) {
            return flags;
        }
    }
    return NULL;
}

static const char *go_type(enum cli_type type)
{
    static const char *const names[] = {
        [CLI_BOOL] = "bool",   [CLI_STRING] = "string", [CLI_STRINGS] = "stringSlice", [CLI_INT] = "int",
        [CLI_INT64] = "int64", [CLI_UINT] = "uint",     [CLI_UINT64] = "uint64",       [CLI_DURATION] = "duration",
    };
    return names[type];
}

/* --bump-revision also takes "auto" here. */
static bool may_be_a_text(const char *flag)
{
    return strcmp(flag, "bump-revision") == 0;
}

/* Does the usage tell the default, and the flag with its shorthand? */
static void expect_shown(const struct cli_program *program, const struct cli_command *command,
                         const struct cli_flag *flag)
{
    struct buffer usage = {0};
    char line[128];
    if (command == NULL) {
        cli_print_globals(program, &usage);
    } else {
        cli_print_usage(program, command, &usage);
    }
    if (flag->shorthand == 0) {
        snprintf(line, sizeof line, "      --%s ", flag->name);
    } else {
        snprintf(line, sizeof line, "  -%c, --%s ", flag->shorthand, flag->name);
    }
    expect_contains(&usage, line);
    bool none = *flag->preset == '\0' || strcmp(flag->preset, "0") == 0 || strcmp(flag->preset, "false") == 0;
    if (!none) {
        snprintf(line, sizeof line, flag->type == CLI_STRING ? "\"%s\"" : "%s", flag->preset);
        expect_contains(&usage, line);
    }
    buffer_free(&usage);
}

static void expect_flag(const struct cli_program *program, char *const row[COL_COUNT])
{
    const char *path = path_of(row[COL_COMMAND]);
    const struct cli_command *command = *path == '\0' ? NULL : cli_find(program, path);
    const struct cli_flag *flag = find_flag(command == NULL ? program->globals : command->flags, row[COL_NAME]);
    if (flag == NULL) {
        fail_msg("%s: no flag --%s", row[COL_COMMAND], row[COL_NAME]);
        return;
    }
    char shorthand[2] = {flag->shorthand, '\0'};
    bool same_type = strcmp(go_type(flag->type), row[COL_TYPE]) == 0 || may_be_a_text(flag->name);
    if (!same_type || strcmp(flag->preset, row[COL_DEFAULT]) != 0 || strcmp(shorthand, row[COL_SHORTHAND]) != 0) {
        fail_msg("%s --%s: expected -%s %s \"%s\", got -%s %s \"%s\"", row[COL_COMMAND], flag->name, row[COL_SHORTHAND],
                 row[COL_TYPE], row[COL_DEFAULT], shorthand, go_type(flag->type), flag->preset);
    }
    expect_shown(program, command, flag);
}

static void expect_table(const struct cli_program *program, const char *path)
{
    char row[1024], *columns[COL_COUNT];
    size_t commands = 0, flags = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(row, sizeof row, file)); /* the head */
    while (fgets(row, sizeof row, file) != NULL) {
        split_row(row, columns);
        bool is_command = strcmp(columns[COL_KIND], "command") == 0 || strcmp(columns[COL_KIND], "group") == 0;
        bool is_flag = strstr(columns[COL_KIND], "flag") != NULL && strcmp(columns[COL_NAME], "help") != 0;
        if (is_command && cli_find(program, path_of(columns[COL_COMMAND])) == NULL) {
            fail_msg("no command %s", columns[COL_COMMAND]);
        }
        if (is_flag) {
            expect_flag(program, columns);
        }
        commands += is_command;
        flags += is_flag;
    }
    fclose(file);
    assert_true(commands > 10);
    assert_true(flags > 10);
}

static void test_every_command_and_flag_of_etcd_s_tools_is_there_with_the_same_default(void **state)
{
    (void)state;
    expect_table(&kedgectl, "tests/data/etcd/etcdctl.tsv");
    expect_table(&kedgeutl, "tests/data/etcd/etcdutl.tsv");
}

/* --- documentation ------------------------------------------------------------------------------------------------ */

static void expect_file(const char *path, const struct buffer *text)
{
    static char recorded[65536];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(recorded, 1, sizeof recorded, file);
    fclose(file);
    if (len != text->len || memcmp(recorded, text->data, len) != 0) {
        fail_msg("%s isn't what the table of commands gives; make it again with: build/%.8s __markdown >%s", path,
                 path + 5, path);
    }
}

static void test_the_documentation_is_what_the_tables_give(void **state)
{
    (void)state;
    struct buffer text = {0};
    cli_print_markdown(&kedgectl, &text);
    expect_file("docs/kedgectl.md", &text);
    text.len = 0;
    cli_print_markdown(&kedgeutl, &text);
    expect_file("docs/kedgeutl.md", &text);
    buffer_free(&text);
}

/* As roff has it: dashes escaped. */
static const char *escaped(const char *text)
{
    static char out[256];
    size_t len = 0;
    for (; *text != '\0'; text++) {
        if (*text == '-') {
            out[len++] = '\\';
        }
        out[len++] = *text;
    }
    out[len] = '\0';
    return out;
}

/* groff warns of whatever it does not understand; where it isn't installed nothing is checked. */
static void expect_no_warnings(const struct buffer *page)
{
    char said[512];
    char path[] = "/tmp/kedge-man.XXXXXX";
    char command[128];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, page->data, page->len), (ssize_t)page->len);
    close(fd);
    snprintf(command, sizeof command, "if command -v groff >/dev/null; then groff -man -ww -z %s 2>&1; fi", path);
    FILE *groff = popen(command, "r");
    assert_non_null(groff);
    size_t len = fread(said, 1, sizeof said - 1, groff);
    said[len] = '\0';
    pclose(groff);
    unlink(path);
    assert_string_equal(said, "");
}

static void test_manual_pages_have_every_command_and_flag(void **state)
{
    (void)state;
    for (size_t p = 0; p < PROGRAMS; p++) {
        const struct cli_program *program = programs[p];
        struct buffer page = {0};
        cli_print_man(program, &page);
        for (size_t i = 0; i < program->command_count; i++) {
            const struct cli_command *command = &program->commands[i];
            char heading[300];
            snprintf(heading, sizeof heading, "\n.SS %s", escaped(command->path));
            if (!command->hidden && (command->run != NULL || command->later)) {
                expect_contains(&page, heading);
            }
            for (const struct cli_flag *f = command->flags; f != NULL && f->name != NULL; f++) {
                expect_contains(&page, escaped(f->name));
            }
        }
        expect_no_warnings(&page);
        buffer_free(&page);
    }
    struct buffer page = {0};
    flags_print_man(&page);
    for (size_t i = 0; i < flag_count; i++) {
        if (flag_table[i].section != NULL) {
            expect_contains(&page, escaped(flag_table[i].name));
        }
    }
    expect_no_warnings(&page);
    buffer_free(&page);
}

/* --- completion --------------------------------------------------------------------------------------------------- */

static struct buffer complete(const struct cli_program *program, char **words)
{
    struct buffer out = {0};
    int count = 0;
    while (words[count] != NULL) {
        count++;
    }
    buffer_append(&out, "\n", 1);
    cli_complete(program, count, words, false, &out);
    return out;
}

static bool has_line(const struct buffer *text, const char *line)
{
    char whole[128];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    return contains(text, whole);
}

static void test_completion_offers_every_command_and_flag_of_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < kedgectl.command_count; i++) {
        const struct cli_command *command = &kedgectl.commands[i];
        const struct cli_command *parent = cli_parent(&kedgectl, command);
        char *words[] = {parent == NULL ? "" : (char *)(uintptr_t)parent->path, parent == NULL ? NULL : "", NULL};
        struct buffer out = complete(&kedgectl, words);
        assert_true(has_line(&out, cli_name(command)) == !command->hidden);
        buffer_free(&out);
        for (const struct cli_flag *f = command->flags; f != NULL && f->name != NULL; f++) {
            char flag[64], path[64];
            snprintf(flag, sizeof flag, "--%s", f->name);
            snprintf(path, sizeof path, "%s", command->path);
            char *space = strchr(path, ' ');
            char *given[] = {path, space == NULL ? "-" : space + 1, space == NULL ? NULL : "-", NULL};
            path[strcspn(path, " ")] = '\0';
            out = complete(&kedgectl, given);
            assert_true(has_line(&out, flag));
            buffer_free(&out);
        }
    }
}

static void expect_completion(char **words, const char *expected)
{
    struct buffer out = complete(&kedgectl, words);
    buffer_append(&out, "", 1);
    assert_string_equal((const char *)out.data + 1, expected);
    buffer_free(&out);
}

#define COMPLETES(expected, ...) expect_completion((char *[]){__VA_ARGS__, NULL}, expected)

/* As etcdctl's answers to the same words (":0" = file names may be offered, ":4" = they may not). */
static void test_completion_follows_the_words_before(void **state)
{
    (void)state;
    COMPLETES("lease\n:4\n", "le");
    COMPLETES("grant\n:4\n", "lease", "gr");
    COMPLETES(":0\n", "lease", "grant", "");
    COMPLETES(":0\n", "le", "gr", "");
    COMPLETES("--consistency\n:4\n", "get", "--con");
    COMPLETES("l\ns\n:0\n", "get", "--consistency", "");
    COMPLETES("l\ns\n:0\n", "get", "--consistency=");
    COMPLETES("json\n:0\n", "-w", "j");
    COMPLETES("json\n:0\n", "get", "--write-out=j");
    COMPLETES("put\n:4\n", "-w", "json", "pu");
    COMPLETES(":0\n", "--endpoints", "");
    COMPLETES("--prefix\n--prev-kv\n--progress-notify\n:4\n", "watch", "k", "--pr");
    COMPLETES("--prev-kv\n--progress-notify\n:4\n", "watch", "k", "--prefix", "--pr"); /* given already */
    COMPLETES("bash\nzsh\nfish\npowershell\n:4\n", "completion", "");
    COMPLETES(":0\n", "completion", "bash", "");
    COMPLETES("grant\n:4\n", "help", "lease", "g");
    COMPLETES(":4\n", "help", "nosuch", "");
    COMPLETES(":0\n", "nosuch", "");
    COMPLETES(":0\n", "watch", "a", "--", "-");
    COMPLETES(":4\n", "lease", "grant", "--help", "");
}

static void test_completion_tells_what_candidates_are_if_asked(void **state)
{
    (void)state;
    struct buffer out = {0};
    char *words[] = {"versi", NULL};
    cli_complete(&kedgectl, 1, words, true, &out);
    expect_contains(&out, "version\tPrint the version\n:4\n");
    buffer_free(&out);
}

/* The shells that are installed; bash always is. */
static void test_the_completion_scripts_are_valid(void **state)
{
    (void)state;
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        char command[128];
        struct buffer text = {0};
        assert_true(cli_print_completion(&kedgectl, shells[i], &text));
        snprintf(command, sizeof command, "command -v %s >/dev/null || exec cat >/dev/null; exec %s -n", shells[i],
                 shells[i]);
        FILE *shell = popen(command, "w");
        assert_int_equal(fwrite(text.data, 1, text.len, shell), text.len);
        assert_int_equal(pclose(shell), 0);
        buffer_free(&text);
    }
    struct buffer text = {0};
    assert_true(cli_print_completion(&kedgectl, "powershell", &text));
    assert_false(cli_print_completion(&kedgectl, "tcsh", &text));
    buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_fits_80_columns),
        cmocka_unit_test(test_the_server_s_help_fits_80_columns),
        cmocka_unit_test(test_paragraphs_are_filled_and_examples_are_kept),
        cmocka_unit_test(test_only_a_terminal_gets_colours_and_none_with_no_color),
        cmocka_unit_test(test_every_command_and_flag_of_etcd_s_tools_is_there_with_the_same_default),
        cmocka_unit_test(test_the_documentation_is_what_the_tables_give),
        cmocka_unit_test(test_manual_pages_have_every_command_and_flag),
        cmocka_unit_test(test_completion_offers_every_command_and_flag_of_the_table),
        cmocka_unit_test(test_completion_follows_the_words_before),
        cmocka_unit_test(test_completion_tells_what_candidates_are_if_asked),
        cmocka_unit_test(test_the_completion_scripts_are_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
