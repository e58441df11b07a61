/* Values as Go's standard library reads and writes them: what etcd's flags and tools accept and print is defined by it.
 *
 * The parsers return NULL, or Go's error text for this input: allocated in the arena, and valid as long as that is. */
#ifndef BASE_GOTEXT_H
#define BASE_GOTEXT_H

#include "base/arena.h"
#include "base/bytes.h"

/* strconv.ParseInt and ParseUint. base 0 takes the prefixes 0x, 0o, 0b and 0; bits is 32 or 64. */
const char *gotext_int(struct arena *arena, const char *text, int base, int bits, int64_t *out);
const char *gotext_uint(struct arena *arena, const char *text, int base, int bits, uint64_t *out);
/* strconv.ParseBool: 1 t T true TRUE True 0 f F false FALSE False. */
const char *gotext_bool(struct arena *arena, const char *text, bool *out);
/* time.ParseDuration: "1h2m3.5s", "-10ms", "0". Nanoseconds. */
const char *gotext_duration(struct arena *arena, const char *text, int64_t *out_ns);

/* Was this error "value out of range"? (Package flag words it differently from the others.) */
bool gotext_is_range_error(const char *error);

/* strconv.Quote, which is also %q: "a\x01\"b\"". Bytes that are not UTF-8 become \x escapes. */
void gotext_quote(struct buffer *out, struct bytes text);
const char *gotext_quoted(struct arena *arena, const char *text);
/* time.Duration.String: "1m0s", "1.5ms", "0s". */
void gotext_print_duration(struct buffer *out, int64_t ns);

/* unicode.IsPrint, roughly that of strconv.Quote: letters, marks, numbers, punctuation, symbols and the ASCII space. */
bool gotext_is_print(uint32_t rune);
/* `named`: pairs of a character and the letter that stands for it behind a backslash. False = it is not among them. */
bool gotext_escape_named(struct buffer *out, uint32_t rune, const char *named);
/* The first code point of valid or broken UTF-8: its length in bytes, or 0 when the first byte begins no valid one. */
size_t gotext_decode_rune(struct bytes text, uint32_t *rune);

#endif
