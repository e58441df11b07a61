/* Manual pages: man(7)'s macros, written safely (a text never becomes a request or an escape). */
#ifndef CMD_ROFF_H
#define CMD_ROFF_H

#include "base/bytes.h"

/* The page's head and its NAME: "kedgectl", "client for kedge and etcd" (no full stop). */
void roff_begin(struct buffer *out, const char *name, const char *brief);
void roff_section(struct buffer *out, const char *title);    /* .SH */
void roff_subsection(struct buffer *out, const char *title); /* .SS */
/* Paragraphs, parted by empty lines; lines that begin with a space stay as they are, as examples. */
void roff_text(struct buffer *out, const char *text);
/* An entry of a list: the bold term, its value in italics (NULL = none), then the text. */
void roff_entry(struct buffer *out, const char *term, const char *value, const char *text);
/* "kedge(1), kedgeutl(1)": all programs' pages but this one's. */
void roff_see_also(struct buffer *out, const char *name);

#endif
