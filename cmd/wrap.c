#include "cmd/wrap.h"
#include <stdlib.h>
#include <unistd.h>

static int columns_of(const char *word, size_t len)
{
    int columns = 0;
    for (size_t i = 0; i < len; i++) {
        columns += ((unsigned char)word[i] & 0xc0) != 0x80;
    }
    return columns;
}

void wrap_words(struct buffer *out, const char *text, int at, int indent)
{
    bool first = true;
    for (;;) {
        text += strspn(text, " \n");
        size_t len = strcspn(text, " \n");
        if (len == 0) {
            return;
        }
        int width = columns_of(text, len);
        if (!first && at + 1 + width > WRAP_COLUMNS) {
            buffer_printf(out, "\n%*s", indent, "");
            at = indent;
        } else if (!first) {
            buffer_append(out, " ", 1);
            at++;
        }
        buffer_append(out, text, len);
        at += width;
        text += len;
        first = false;
    }
}

/* The length of what is filled as one: up to an empty line, or one that is kept as it is. */
static size_t paragraph(const char *text)
{
    const char *p = text;
    while (*p != '\0' && *p != '\n' && *p != ' ') {
        p += strcspn(p, "\n");
        p += *p == '\n';
    }
    return (size_t)(p - text);
}

void wrap_text(struct buffer *out, const char *text)
{
    while (*text != '\0') {
        size_t len = paragraph(text);
        if (len > 0) {
            char *words = mem_printf("%.*s", (int)len, text);
            wrap_words(out, words, 0, 0);
            free(words);
            text += len;
        } else {
            len = strcspn(text, "\n");
            buffer_append(out, text, len);
            text += len + (text[len] == '\n');
        }
        buffer_append(out, "\n", 1);
    }
}

bool wrap_coloured(FILE *to)
{
    const char *never = getenv("NO_COLOR"), *term = getenv("TERM");
    return (never == NULL || *never == '\0') && term != NULL && strcmp(term, "dumb") != 0 && isatty(fileno(to));
}

static bool is_heading(const char *line, size_t len)
{
    return len > 1 && line[0] != ' ' && line[len - 1] == ':';
}

void wrap_put(FILE *to, const struct buffer *text)
{
    if (!wrap_coloured(to)) {
        fwrite(text->data, 1, text->len, to);
        return;
    }
    const char *line = (const char *)text->data, *end = line + text->len;
    while (line < end) {
        const char *feed = memchr(line, '\n', (size_t)(end - line));
        size_t len = (size_t)((feed == NULL ? end : feed) - line);
        fprintf(to, is_heading(line, len) ? "\033[1m%.*s\033[0m" : "%.*s", (int)len, line);
        line += len;
        if (line < end) {
            fputc('\n', to);
            line++;
        }
    }
}
