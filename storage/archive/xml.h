/* Reading the XML that S3 writes, and no more of XML than that: elements, attributes (skipped),
 * text with the five named entities and numbers. Comments, CDATA, document types and processing
 * instructions other than the first line are refused. Pure. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_XML_H
#define HOLDFAST_STORAGE_ARCHIVE_XML_H

#include "daemon/base/buffer.h"

#define XML_MAX_DEPTH 8u

enum xml_event {
    XML_BEGIN, /* Of an element: its name is on top. */
    XML_END,   /* Of the element on top; text is what stood in it, if it has no elements. */
    XML_DONE,  /* The document ended where it should. */
    XML_BAD
};

struct xml {
    size_t depth; /* Of elements that are open; the names of the outer ones come first. */
    struct slice names[XML_MAX_DEPTH];
    struct buffer text;
    /* Private. */
    struct slice rest;
    bool has_root;
    bool was_empty; /* <x/> is a beginning and an end. */
    bool has_ended; /* The element on top was left by the last event. */
};

/* @document is borrowed until xml_close(). */
void xml_open(struct xml *xml, struct slice document);

/* The next event. At XML_END the element is still on top, and is left with the next call. Behind
 * XML_DONE and XML_BAD comes the same again. */
enum xml_event xml_next(struct xml *xml);

/* The open elements are exactly these; @path is "A/B/C". */
bool xml_is_at(const struct xml *xml, const char *path);

void xml_close(struct xml *xml);

#endif
