/* Bytes that came from outside, made safe: UTF-8 and the escapes of JSON strings. Pure, nothing is
 * allocated.
 */
#ifndef TIDINGS_TEXT_H
#define TIDINGS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Length (1 to 4) of the well-formed UTF-8 sequence at the start of `bytes`, by RFC 3629; 0:
 * there is none. */
size_t text_utf8_length(const char *bytes, size_t len);

/* Whether the sequence of that length is a control character: C0, DEL or C1. */
bool text_is_control(const char *bytes, size_t length);

/* The value of a hexadecimal digit, in upper or lower case; -1: it is none. */
int text_hex_value(char c);

/* How many bytes at the start of `bytes` can stand in a JSON string as they are, none of them
 * being a control character: a run of printable ASCII but for quote and backslash. */
size_t text_json_plain(const char *bytes, size_t len);

/* Writes the first character of `bytes` (len > 0) as it stands in a JSON string, to `ret` (at
 * most 6 bytes, no NUL), its length to *ret_len, and returns how many bytes were consumed. A
 * byte that belongs to no well-formed sequence becomes U+FFFD. Control characters are escaped,
 * also those that JSON allows bare. */
#define TEXT_JSON_MAX 6
size_t text_json_char(const char *bytes, size_t len, char ret[TEXT_JSON_MAX], size_t *ret_len);

#endif
