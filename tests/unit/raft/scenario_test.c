/* The dialogues of tests/data/raft: commands, then what the members did about them. REWRITE=1 writes down what they do
 * now (read the difference before it is committed). */
#include "tests/support/raft_dialogue.h"
#include "tests/support/test_file.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define FOLDER "tests/data/raft"

enum { FILES_MAX = 64 };

/* With a NUL behind it. */
static struct buffer read_text(const char *path)
{
    struct buffer all = test_file_read(path);
    buffer_append(&all, "", 1);
    return all;
}

static char *next_line(char **rest)
{
    char *line = *rest;
    if (line == NULL || *line == '\0') {
        return NULL;
    }
    char *end = strchr(line, '\n');
    *rest = end == NULL ? line + strlen(line) : end + 1;
    if (end != NULL) {
        *end = '\0';
    }
    return line;
}

/* A block: lines of commands, "----", what happened, an empty line. All else is commentary and stays as it is. */
static void play(char *text, struct buffer *now)
{
    struct raft_dialogue d = {0};
    struct buffer happened = {0};
    char *rest = text, *line;
    while ((line = next_line(&rest)) != NULL) {
        buffer_printf(now, "%s\n", line);
        if (line[0] == '#' || line[0] == '\0') {
            continue;
        }
        if (strcmp(line, "----") != 0) {
            if (!raft_dialogue_command(&d, line, &happened)) {
                buffer_printf(&happened, "there is no such command\n");
            }
            continue;
        }
        buffer_append(now, happened.data, happened.len);
        buffer_printf(now, "\n");
        happened.len = 0;
        while ((line = next_line(&rest)) != NULL && line[0] != '\0') {
        }
    }
    buffer_append(now, "", 1);
    buffer_free(&happened);
    raft_dialogue_end(&d);
}

static void write_file(const char *path, const struct buffer *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text->data, 1, text->len - 1, file), text->len - 1);
    fclose(file);
}

/* The first line that differs, with the ones before it. */
static void point_out(const char *path, const char *was, const char *is)
{
    size_t at = 0, line = 1;
    while (was[at] == is[at] && was[at] != '\0') {
        line += was[at++] == '\n';
    }
    while (at > 0 && was[at - 1] != '\n') {
        at--;
    }
    print_error("%s:%zu\nexpected: %.*s\n     got: %.*s\n", path, line, (int)strcspn(was + at, "\n"), was + at,
                (int)strcspn(is + at, "\n"), is + at);
}

static void test_dialogue(void **state)
{
    const char *path = *state;
    struct buffer was = read_text(path), now = {0};
    char *copy = mem_strdup((char *)was.data);
    play(copy, &now);
    free(copy);
    bool same = was.len == now.len && memcmp(was.data, now.data, was.len) == 0;
    if (!same && getenv("REWRITE") != NULL) {
        write_file(path, &now);
    } else if (!same) {
        point_out(path, (char *)was.data, (char *)now.data);
        fail();
    }
    buffer_free(&was);
    buffer_free(&now);
}

/* Each rule has a dialogue that bears its number: the paper's figure 2, and the thesis' sections. */
static void test_every_rule_has_a_dialogue(void **state)
{
    static const char *const rules[] = {
        "figure 2, AppendEntries receiver 1",
        "figure 2, AppendEntries receiver 2",
        "figure 2, AppendEntries receiver 3",
        "figure 2, AppendEntries receiver 4",
        "figure 2, AppendEntries receiver 5",
        "figure 2, RequestVote receiver 1",
        "figure 2, RequestVote\n# receiver 2",
        "all servers 1",
        "all servers 2",
        "followers 1",
        "followers 2",
        "candidates 1",
        "candidates 2",
        "candidates 3",
        "candidates 4",
        "leaders 1",
        "leaders 2",
        "leaders 3",
        "leaders 4",
        "3.3 (",
        "3.4 (",
        "3.5 (",
        "3.6.1 (5.4.1)",
        "3.6.2 (5.4.2)",
        "3.7 (5.5)",
        "3.8:",
        "3.10:",
        "4.1:",
        "4.2.1:",
        "4.2.2:",
        "4.2.3:",
        "4.3:",
        "4.4:",
        "5.1:",
        "Figure 5.3",
        "6.2:",
        "6.4:",
        "6.4, step 1",
        "9.6:",
        "10.2.1:",
    };
    const struct buffer *all = *state;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (strstr((const char *)all->data, rules[i]) == NULL) {
            print_error("no dialogue for %s\n", rules[i]);
            fail();
        }
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(void)
{
    char *paths[FILES_MAX];
    size_t count = 0;
    DIR *dir = opendir(FOLDER);
    for (struct dirent *e = NULL; dir != NULL && count < FILES_MAX && (e = readdir(dir)) != NULL;) {
        size_t len = strlen(e->d_name);
        if (len > 4 && strcmp(e->d_name + len - 4, ".txt") == 0) {
            paths[count++] = mem_printf(FOLDER "/%s", e->d_name);
        }
    }
    closedir(dir);
    qsort(paths, count, sizeof paths[0], by_name);
    struct CMUnitTest tests[FILES_MAX + 1] = {0};
    struct buffer all = {0};
    for (size_t i = 0; i < count; i++) {
        tests[i] = (struct CMUnitTest){.name = paths[i], .test_func = test_dialogue, .initial_state = paths[i]};
        struct buffer one = read_text(paths[i]);
        buffer_append(&all, one.data, one.len - 1);
        buffer_free(&one);
    }
    buffer_append(&all, "", 1);
    tests[count] = (struct CMUnitTest)cmocka_unit_test_prestate(test_every_rule_has_a_dialogue, &all);
    int failed = _cmocka_run_group_tests("dialogues", tests, count + 1, NULL, NULL);
    buffer_free(&all);
    for (size_t i = 0; i < count; i++) {
        free(paths[i]);
    }
    return failed;
}
