/* Media types, as Content-Type and datacontenttype hold them (RFC 9110, section 8.3). Pure.
 */
#ifndef TIDINGS_MEDIA_TYPE_H
#define TIDINGS_MEDIA_TYPE_H

#include "common/buf.h"

/* type/subtype without its parameters and the blanks around it. */
struct view media_type_essence(struct view media_type);

/* type "/" subtype, both tokens; behind a semicolon anything in printable ASCII. No blanks around
 * it. */
bool media_type_is_well_formed(struct view media_type);

/* Whether values of the type are JSON: its subtype is json or ends in +json (CloudEvents JSON event
 * format 1.0.2, section 3.1). */
bool media_type_is_json(struct view media_type);

/* The next parameter, its value without quotes; *rest begins as what follows the essence:
 * media_type_parameters. False: there are no more. */
struct media_type_parameter {
    struct view name, value;
};
struct view media_type_parameters(struct view media_type);
bool media_type_next_parameter(struct view *rest, struct media_type_parameter *ret);

#endif
