/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xml.h - decides whether a text is well-formed XML, of the kind malloc_info writes: elements,
 * attributes and text; no comments, no declarations, no entities. */
#ifndef BREAKWATER_TESTS_CONTRACT_XML_H
#define BREAKWATER_TESTS_CONTRACT_XML_H

#include <stdbool.h>

/* True if `text` is one element named `root`, with nothing but blanks around it, whose tags nest
 * and whose attribute values are quoted. */
bool xml_is_well_formed(const char *text, const char *root);

#endif /* BREAKWATER_TESTS_CONTRACT_XML_H */
