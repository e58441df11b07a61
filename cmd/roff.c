#include "cmd/roff.h"
#include "cmd/version.h"
#include <ctype.h>
#include <stdbool.h>

/* A dash is written so that it can be searched for and copied. */
static void put(struct buffer *out, const char *text, size_t len)
{
    if (len > 0 && (*text == '.' || *text == '\'')) {
        buffer_printf(out, "\\&");
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '-') {
            buffer_printf(out, "\\-");
        } else if (text[i] == '\\') {
            buffer_printf(out, "\\e");
        } else {
            buffer_append(out, &text[i], 1);
        }
    }
}

static void put_text(struct buffer *out, const char *text)
{
    put(out, text, strlen(text));
}

static void put_upper(struct buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        char upper = (char)toupper((unsigned char)*text);
        buffer_append(out, &upper, 1);
    }
}

void roff_begin(struct buffer *out, const char *name, const char *brief)
{
    buffer_printf(out, ".TH ");
    put_upper(out, name);
    buffer_printf(out, " 1 \"\" \"kedge %s\" \"User Commands\"\n.nh\n.ad l\n.SH NAME\n%s \\- ", VERSION_KEDGE, name);
    put_text(out, brief);
    buffer_printf(out, "\n");
}

void roff_section(struct buffer *out, const char *title)
{
    buffer_printf(out, ".SH ");
    put_upper(out, title);
    buffer_printf(out, "\n");
}

void roff_subsection(struct buffer *out, const char *title)
{
    buffer_printf(out, ".SS ");
    put_text(out, title);
    buffer_printf(out, "\n");
}

void roff_text(struct buffer *out, const char *text)
{
    bool example = false, gap = false;
    for (size_t len; *text != '\0'; text += len + (text[len] == '\n')) {
        len = strcspn(text, "\n");
        bool now = *text == ' ';
        if (len == 0) {
            gap = true;
            continue;
        }
        if (example != now) {
            buffer_printf(out, now ? ".PP\n.nf\n" : ".fi\n.PP\n");
        } else if (gap) {
            buffer_printf(out, now ? "\n" : ".PP\n");
        }
        example = now;
        gap = false;
        put(out, text, len);
        buffer_printf(out, "\n");
    }
    if (example) {
        buffer_printf(out, ".fi\n");
    }
}

void roff_entry(struct buffer *out, const char *term, const char *value, const char *text)
{
    buffer_printf(out, ".TP\n\\fB");
    put_text(out, term);
    buffer_printf(out, "\\fR");
    if (value != NULL) {
        buffer_printf(out, " \\fI");
        put_text(out, value);
        buffer_printf(out, "\\fR");
    }
    buffer_printf(out, "\n");
    put_text(out, text);
    buffer_printf(out, "\n");
}

void roff_see_also(struct buffer *out, const char *name)
{
    static const char *const pages[] = {"kedge", "kedgectl", "kedgeutl"};
    const char *comma = "";
    roff_section(out, "see also");
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(pages[i], name) != 0) {
            buffer_printf(out, "%s\\fB%s\\fR(1)", comma, pages[i]);
            comma = ", ";
        }
    }
    buffer_printf(out, "\n");
}
