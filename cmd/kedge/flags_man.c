/* The manual page of the server, from the table of flags. */
#include "cmd/kedge/flags.h"
#include "cmd/roff.h"
#include <ctype.h>
#include <stdio.h>

static void print_flag(struct buffer *out, const struct flag_info *flag)
{
    struct buffer text = {0};
    char term[96];
    snprintf(term, sizeof term, "--%s", flag->name);
    if (flag->help != NULL && *flag->help != '\0') {
        buffer_printf(&text, "%c%s.", toupper((unsigned char)flag->help[0]), flag->help + 1);
    }
    if (flag->allowed != NULL) {
        buffer_printf(&text, " One of %s.", flag->allowed);
    }
    if (*flag->preset != '\0') {
        buffer_printf(&text, " Default: %s.", flag->preset);
    }
    buffer_append(&text, "", 1);
    roff_entry(out, term, NULL, (const char *)text.data);
    buffer_free(&text);
}

static void print_working(struct buffer *out)
{
    const char *section = NULL;
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag_info *flag = &flag_table[i];
        if (flag->section == NULL || flag->state == FLAG_LATER) {
            continue;
        }
        if (section == NULL || strcmp(section, flag->section) != 0) {
            section = flag->section;
            roff_subsection(out, section);
        }
        print_flag(out, flag);
    }
}

static void print_later(struct buffer *out)
{
    roff_subsection(out, "Known from etcd, not supported yet");
    roff_text(out, "These are refused by name, unless they are given their default.\n");
    for (size_t i = 0; i < flag_count; i++) {
        if (flag_table[i].state == FLAG_LATER) {
            print_flag(out, &flag_table[i]);
        }
    }
}

void flags_print_man(struct buffer *out)
{
    roff_begin(out, "kedge", "key-value store that stands in for etcd");
    roff_section(out, "synopsis");
    buffer_printf(out, "\\fBkedge\\fR [\\fIflag\\fR ...]\n");
    roff_section(out, "description");
    roff_text(out, "Runs one member of a cluster. Flags, variables, client API, peer protocol, log and backups are "
                   "etcd's, so that one can take the place of the other.\n");
    roff_section(out, "flags");
    print_working(out);
    print_later(out);
    roff_section(out, "environment");
    roff_entry(out, "ETCD_*", NULL,
               "A flag that is not given is taken from its variable: --max-wals from ETCD_MAX_WALS.");
    roff_entry(out, "KEDGE_*", NULL, "The same for kedge's own flags.");
    roff_see_also(out, "kedge");
}
